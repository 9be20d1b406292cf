# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The entry of a run in MLflow; ``tests/mlflow`` has the tests with MLflow itself."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import contract, write_bundle
from tidegate.bundle import CONTRACT, METRICS, MODEL_CARD, REPORT, Bundle, seal
from tidegate.contract import Sensitivity
from tidegate.digest import canonical_json
from tidegate.errors import ConfigurationError, ServerError
from tidegate_training import tracking
from tidegate_training.tracking import (
    collect_artifacts,
    collect_metrics,
    collect_parameters,
    require_mlflow,
    track_run,
)

CONFIGURATION = Path("train.yaml")
DOCUMENT = {
    "test": {"f1": 0.5, "recall": None, "precision@5": 1.0},
    "rows": {"test": 30},
    "gap": {"f1": 0.25},
    "intervals": {"test": {"f1": {"low": 0.25, "high": 0.75, "method": "bootstrap"}, "recall": None}},
}


def resealed(bundle: Bundle, files: dict[str, bytes], **fields: Any) -> Bundle:
    for name, content in files.items():
        (bundle.path / name).write_bytes(content)
    return seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}) | fields)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    files = {METRICS: canonical_json(DOCUMENT), REPORT: b"<html>"}
    return resealed(write_bundle(tmp_path / "iris"), files, parameters={"C": 1.0, "steps": {"a": [1, 2]}})


def test_metrics_have_the_split_and_their_intervals(bundle: Bundle) -> None:
    assert dict(collect_metrics(bundle)) == {
        "test.f1": 0.5,
        "test.f1.low": 0.25,
        "test.f1.high": 0.75,
        "test.precision_5": 1.0,
    }


def test_parameters_are_those_of_the_manifest(bundle: Bundle) -> None:
    assert dict(collect_parameters(bundle)) == {
        "algorithm": "LogisticRegression",
        "parameters.C": "1.0",
        "parameters.steps.a": "[1, 2]",
        "seed": "1",
        "data.sha256": "0" * 64,
        "data.rows": "150",
    }


def test_artifacts_are_evaluation_and_configuration(bundle: Bundle) -> None:
    names = [bundle.path / name for name in (METRICS, REPORT, MODEL_CARD)]
    assert collect_artifacts(bundle, CONFIGURATION) == [*names, CONFIGURATION]


def test_restricted_model_has_no_artifact(bundle: Bundle) -> None:
    features = contract().features
    restricted = features[0].model_copy(update={"sensitivity": Sensitivity.RESTRICTED})
    changed = contract().model_copy(update={"features": (restricted, *features[1:])})
    sensitive = resealed(bundle, {CONTRACT: canonical_json(changed.model_dump(mode="json"))})
    assert collect_artifacts(sensitive, CONFIGURATION) == []


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(ConfigurationError, match=r"--register: expected MLflow.*install tidegate\[mlflow\]"):
        require_mlflow("--register")


def test_any_failure_of_mlflow_is_one_sentence(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("API request failed.\nwith details")

    monkeypatch.setattr(tracking, "require_mlflow", lambda _: None)
    monkeypatch.setattr(tracking, "_track", fail)
    with pytest.raises(ServerError) as raised:
        track_run(bundle, CONFIGURATION, "http://a:secret@mlflow")
    assert str(raised.value) == (
        "MLflow at http://mlflow has no complete entry of the run: API request failed; check the address, "
        "the credentials and its log. The bundle is complete."
    )
