# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of an engine, and the policy; tests.attacks has the crafted bundles."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.trained_bundles import altered, imported_by_loading
from tidegate.bundle import Bundle
from tidegate.errors import BundleError
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import LoadedModel, load
from tidegate_serving.selfcheck import verify_golden_outputs


def load_and_check(
    path: Path, digest: str | None = None, choice: EngineChoice = EngineChoice.AUTO
) -> LoadedModel:
    model = load(path, digest, Policy(), choice)
    verify_golden_outputs(model, Limits())
    return model


def copied(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def test_load_uses_onnx_for_a_bundle_proven_equal(numeric_bundle: Bundle) -> None:
    assert load_and_check(numeric_bundle.path, numeric_bundle.digest).engine.name == "onnx"


def test_load_uses_sklearn_for_a_bundle_not_proven_equal(forest_bundle: Bundle) -> None:
    assert json.loads(forest_bundle.read("parity.json"))["verdict"] != "equal"
    assert load_and_check(forest_bundle.path).engine.name == "sklearn"


@pytest.mark.parametrize("which", ["numeric", "mixed", "forest", "boosting", "regression"])
def test_load_with_sklearn_computes_every_golden_output(which: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(f"{which}_bundle")
    assert load_and_check(bundle.path, choice=EngineChoice.SKLEARN).engine.name == "sklearn"


def test_load_with_onnx_needs_a_proof_of_equality(forest_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no compiled model that is proven equal .*--engine"):
        load_and_check(forest_bundle.path, choice=EngineChoice.ONNX)


def test_load_rejects_another_digest(numeric_bundle: Bundle) -> None:
    with pytest.raises(BundleError) as caught:
        load_and_check(numeric_bundle.path, "0" * 64)
    assert "0" * 64 in str(caught.value)
    assert numeric_bundle.digest in str(caught.value)


@pytest.mark.parametrize(
    "name", ["model.skops", "model.onnx", "contract.json", "parity.json", "MODEL_CARD.md"]
)
def test_load_rejects_an_altered_file(name: str, numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_and_check(path, numeric_bundle.digest)


def test_load_checks_sklearns_version_for_sklearn_only(numeric_bundle: Bundle, tmp_path: Path) -> None:
    versions = numeric_bundle.manifest.versions | {"scikit-learn": "1.8.0"}
    bundle = altered(numeric_bundle, tmp_path / "old", lambda path: None, versions=versions)
    assert load_and_check(bundle.path).engine.name == "onnx"
    with pytest.raises(BundleError, match=r"scikit-learn 1\.8\.0"):
        load_and_check(bundle.path, choice=EngineChoice.SKLEARN)


def test_load_rejects_a_pickle_of_a_digest_not_allowed(joblib_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"model\.joblib.*--allow-joblib-digest"):
        load_and_check(joblib_bundle.path)
    policy = Policy(allowed_joblib_digests=frozenset({joblib_bundle.digest}))
    model = load(joblib_bundle.path, None, policy, EngineChoice.SKLEARN)
    assert verify_golden_outputs(model, Limits())


def test_load_opens_no_pickle_that_is_not_allowed(joblib_bundle: Bundle, tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    def plant(path: Path) -> None:
        (path / "model.joblib").write_bytes(b"cos\nmkdir\n(V" + str(trap).encode() + b"\ntR.")

    bundle = altered(joblib_bundle, tmp_path / "trapped", plant)
    with pytest.raises(BundleError, match="pickle"):
        load_and_check(bundle.path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("which", "name", "message"),
    [("forest", "model.skops", "cannot be built"), ("numeric", "model.onnx", "cannot be loaded")],
)
def test_load_rejects_a_broken_model_file(
    which: str, name: str, message: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def damage(path: Path) -> None:
        (path / name).write_bytes(b"PK")

    bundle = altered(request.getfixturevalue(f"{which}_bundle"), tmp_path / "broken", damage)
    with pytest.raises(BundleError, match=f"{re.escape(name)} {message}"):
        load_and_check(bundle.path)


def test_load_with_onnx_imports_no_scikit_learn(numeric_bundle: Bundle) -> None:
    assert imported_by_loading(numeric_bundle.path, ("sklearn", "skops", "scipy", "joblib")) == "[]"
