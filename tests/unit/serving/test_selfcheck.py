# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.trained_bundles import altered
from tidegate.bundle import Bundle
from tidegate.digest import canonical_json
from tidegate.errors import BundleError
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.loading.loader import LoadedModel, load
from tidegate_serving.selfcheck import verify_golden_outputs

LIMITS = Limits()


def loaded(bundle: Bundle) -> LoadedModel:
    return load(bundle.path, bundle.digest, Policy())


def with_golden(bundle: Bundle, folder: Path, change: Callable[[dict[str, Any]], None]) -> LoadedModel:
    """Load a copy of a bundle with other golden rows or outputs."""

    def edit(path: Path) -> None:
        contract = json.loads((path / "contract.json").read_bytes())
        change(contract["golden"])
        (path / "contract.json").write_bytes(canonical_json(contract))

    return loaded(altered(bundle, folder / "altered", edit))


@pytest.mark.parametrize("which", ["numeric", "mixed", "forest", "boosting", "regression"])
def test_verify_golden_outputs_returns_each_output(which: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(f"{which}_bundle")
    golden = bundle.contract.golden
    outputs = verify_golden_outputs(loaded(bundle), LIMITS)
    assert outputs.keys() == golden.outputs.keys()
    for name, values in outputs.items():
        assert all(map(golden.is_close, values, golden.outputs[name]))
        assert len(values) == len(golden.rows)


def test_verify_golden_outputs_rejects_another_number(numeric_bundle: Bundle, tmp_path: Path) -> None:
    def change(golden: dict[str, Any]) -> None:
        golden["outputs"]["probabilities"][2][0] += 0.001

    model = with_golden(numeric_bundle, tmp_path, change)
    with pytest.raises(BundleError, match=r"row 2: expected probabilities \[.*within .*received \["):
        verify_golden_outputs(model, LIMITS)


def test_verify_golden_outputs_rejects_another_label(numeric_bundle: Bundle, tmp_path: Path) -> None:
    def change(golden: dict[str, Any]) -> None:
        golden["outputs"]["label"][0] = "unheard-of"

    model = with_golden(numeric_bundle, tmp_path, change)
    with pytest.raises(BundleError, match=r"row 0: expected label unheard-of .*received "):
        verify_golden_outputs(model, LIMITS)


def test_verify_golden_outputs_rejects_rows_that_are_invalid(numeric_bundle: Bundle, tmp_path: Path) -> None:
    def change(golden: dict[str, Any]) -> None:
        golden["rows"][0][0] = None

    model = with_golden(numeric_bundle, tmp_path, change)
    with pytest.raises(BundleError, match=r"contract does not allow .*golden requests: inputs\[0\]"):
        verify_golden_outputs(model, LIMITS)


def test_verify_golden_outputs_applies_the_servers_limits(numeric_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="at most 1 rows"):
        verify_golden_outputs(loaded(numeric_bundle), Limits(rows=1))


def test_verify_golden_outputs_rejects_a_model_that_fails(numeric_bundle: Bundle) -> None:
    def fail(batch: Any, output_names: Any = None) -> Any:
        raise ValueError("numeric\nfailure")

    engine: Any = SimpleNamespace(run=fail)
    model = LoadedModel(numeric_bundle, engine, 0.0)
    with pytest.raises(
        BundleError, match=r"fails on its own golden requests \(ValueError: numeric failure\)"
    ):
        verify_golden_outputs(model, LIMITS)
