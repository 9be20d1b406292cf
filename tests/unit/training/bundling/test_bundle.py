# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle is built from a pipeline and rows alone: without a configuration, a file or a training run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tests.support.fitted_models import fitted_model
from tidegate.batch import Batch
from tidegate.bundle import (
    BASELINE,
    CONTRACT,
    JOBLIB,
    METRICS,
    MODEL_CARD,
    ONNX,
    PARITY,
    PROVENANCE,
    SKOPS,
    verify,
)
from tidegate.contract import MATRIX, Datatype, Sensitivity
from tidegate.errors import BundleError
from tidegate_training.bundling import compile as compile_module
from tidegate_training.bundling.bundle import (
    compile_and_compare,
    installed_versions,
    package_model,
    predict_computable_rows,
    write_bundle,
)
from tidegate_training.bundling.compile import open_session, to_onnx
from tidegate_training.bundling.contract import build_contract
from tidegate_training.bundling.converters import exact_converters, with_float64_parameters
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.parity import compare_outputs
from tidegate_training.bundling.persistence import to_skops

ROWS = np.arange(60)


@pytest.fixture(scope="module")
def model() -> FittedModel:
    return fit_model(LogisticRegression())


def fit_model(estimator: Any) -> FittedModel:
    values = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    target = np.where(values[:, 0] > 0, "yes", "no")
    pipeline = Pipeline([("scale", StandardScaler()), ("estimator", estimator)])
    pipeline = with_float64_parameters(pipeline.fit(values, target))
    datatypes = dict.fromkeys(("a", "b"), Datatype.FP32)
    features = FeatureTable({"a": values[:, 0], "b": values[:, 1]}, datatypes)
    policies = {"b": FeaturePolicy(sensitivity=Sensitivity.RESTRICTED)}
    return fitted_model(pipeline, features, target, train=ROWS, test=ROWS, policies=policies)


@pytest.mark.parametrize("joblib", [False, True])
def test_package_model_has_contract_models_parity_and_baseline(model: FittedModel, joblib: bool) -> None:
    packaged = package_model(model, to_skops(model.pipeline), n_golden_rows=4, seed=0, joblib=joblib)
    assert set(packaged.files) == {CONTRACT, SKOPS, ONNX, PARITY, BASELINE, *([JOBLIB] if joblib else [])}
    assert packaged.parity.verdict == "equal"
    assert json.loads(packaged.files[PARITY])["rows"] == packaged.parity.rows > len(ROWS)
    assert [feature.sensitivity for feature in packaged.contract.features] == ["internal", "restricted"]
    assert packaged.contract.golden.outputs["label"].count("yes") == 2


def compare_neighbors(model: FittedModel) -> list[str]:
    """Return the verdicts on data alone, and on data and probe rows."""
    contract, data = build_contract(model, 4), model.features.batch(ROWS)
    session = open_session(to_onnx(model.pipeline, "test", model.features.datatypes, model.outputs))
    on_data = compare_outputs(session, model.predict(data), data)
    return [on_data.verdict, compile_and_compare(model, contract, seed=0)[1].verdict]


def test_compare_finds_distances_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fit_model(KNeighborsClassifier())
    assert compare_neighbors(model) == ["equal", "equal"]
    own = {kind: convert for kind, convert in exact_converters().items() if kind is not KNeighborsClassifier}
    monkeypatch.setattr(compile_module, "exact_converters", lambda: own)
    assert compare_neighbors(model) == ["equal", "different"]


def predict_small_numbers(batch: Batch) -> dict[str, np.ndarray]:
    """Raise an exception for 7 and for 11, and overflow for numbers above 100."""
    values = batch.arrays[MATRIX][:, 0]
    if np.isin(values, (7, 11)).any():
        raise ValueError("Input contains infinity")
    return {"prediction": np.where(values > 100, np.float32(np.inf), values)}


def test_predict_computable_rows_leaves_out_errors_and_overflow() -> None:
    values = np.array([1, 7, 2, 101, 3, 11, 4], np.float32).reshape(-1, 1)
    batch, computed = predict_computable_rows(predict_small_numbers, Batch({MATRIX: values}))
    assert batch.arrays[MATRIX].ravel().tolist() == computed["prediction"].tolist() == [1, 2, 3, 4]


def test_write_bundle_seals_model_and_evidence(model: FittedModel, tmp_path: Path) -> None:
    packaged = package_model(model, to_skops(model.pipeline), n_golden_rows=4, seed=0)
    evidence = {METRICS: b"{}", MODEL_CARD: b"# test\n", "plots/roc.png": b"a picture"}
    bundle = write_bundle(
        tmp_path / "bundle",
        packaged,
        evidence,
        {"host": "here"},
        algorithm="LogisticRegression",
        parameters={},
        seed=0,
        data={"sha256": "0" * 64, "rows": 60},
        versions=installed_versions(),
    )
    assert verify(tmp_path / "bundle", bundle.digest).contract == packaged.contract
    assert bundle.read("plots/roc.png") == b"a picture"
    provenance = bundle.read_excluded(PROVENANCE)
    assert provenance is not None
    assert json.loads(provenance) == {"host": "here"}


def test_write_bundle_without_required_evidence_leaves_nothing(model: FittedModel, tmp_path: Path) -> None:
    packaged = package_model(model, to_skops(model.pipeline), n_golden_rows=4, seed=0)
    with pytest.raises(BundleError, match=MODEL_CARD):
        write_bundle(tmp_path / "bundle", packaged, {METRICS: b"{}"}, {})
    assert list(tmp_path.iterdir()) == []
