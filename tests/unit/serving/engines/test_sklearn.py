# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.support.contracts import MATRIX, contract
from tests.support.fitted_models import sklearn_rows
from tidegate.batch import Batch
from tidegate.contract import MATRIX as MATRIX_NAME
from tidegate.errors import BundleError
from tidegate_serving.engines.base import Engine
from tidegate_serving.engines.sklearn import SklearnEngine

ROWS = Batch({MATRIX_NAME: np.array([[1, 2], [3, 4]], dtype=np.float32)})


class FakePipeline:
    """A pipeline that records the methods that are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def predict(self, rows: Any) -> Any:
        self.calls.append("predict")
        return np.array([1, 0])

    def predict_proba(self, rows: Any) -> Any:
        self.calls.append("predict_proba")
        return np.array([[0.25, 0.75], [0.5, 0.5]])


@pytest.fixture
def pipeline() -> FakePipeline:
    return FakePipeline()


def test_sklearn_engine_returns_the_contracts_types(pipeline: FakePipeline) -> None:
    engine: Engine = SklearnEngine(pipeline, MATRIX)
    outputs = engine.run(ROWS)
    assert outputs["label"].dtype == np.int64
    assert outputs["probabilities"].dtype == np.float32
    assert outputs["probabilities"].tolist() == [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("names", "calls"),
    [
        (None, ["predict", "predict_proba"]),
        (frozenset({"label"}), ["predict"]),
        (frozenset(), ["predict"]),
        (frozenset({"probabilities"}), ["predict", "predict_proba"]),
    ],
)
def test_sklearn_engine_computes_the_named_outputs_only(
    pipeline: FakePipeline, names: frozenset[str] | None, calls: list[str]
) -> None:
    engine = SklearnEngine(pipeline, MATRIX)
    outputs = engine.run(ROWS, names)
    assert engine.selects_outputs
    assert pipeline.calls == calls
    assert len(outputs) == len(calls)


@pytest.mark.parametrize("name", ["scores", "unheard-of"])
def test_sklearn_engine_rejects_an_output_without_method(pipeline: FakePipeline, name: str) -> None:
    unknown = contract([{"name": "a", "datatype": "FP32"}], [{"name": name, "datatype": "FP32"}])
    with pytest.raises(BundleError, match=f"cannot compute the contract's output '{name}'"):
        SklearnEngine(pipeline, unknown)


class CountingScaler(StandardScaler):
    """A scaler that counts its calls."""

    calls = 0

    def transform(self, rows: Any, copy: bool | None = None) -> Any:
        self.calls += 1
        return super().transform(rows, copy)


def test_sklearn_engine_transforms_rows_once_for_all_outputs() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    scaler = CountingScaler()
    steps = [("none", "passthrough"), ("scale", scaler), ("model", LogisticRegression())]
    pipeline = Pipeline(steps).fit(rows, rows[:, 0] > 0.1)
    scaler.calls = 0
    outputs = SklearnEngine(pipeline, MATRIX).run(Batch({MATRIX_NAME: rows}))
    assert scaler.calls == 1
    assert outputs["label"].tolist() == pipeline.predict(rows).astype(int).tolist()
    assert outputs["probabilities"].tolist() == pipeline.predict_proba(rows).astype(np.float32).tolist()


class Inverted(Pipeline):
    """A pipeline that computes something else than its steps."""

    def predict(self, rows: Any, **params: Any) -> Any:
        return 1 - super().predict(rows, **params)


def test_sklearn_engine_keeps_a_subclass_of_the_pipeline_whole() -> None:
    rows = ROWS.arrays[MATRIX_NAME]
    pipeline = Inverted([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(rows, [0, 1])
    assert SklearnEngine(pipeline, MATRIX).run(ROWS)["label"].tolist() == [1, 0]


def fitted(encoder: OneHotEncoder) -> Pipeline:
    frame = pd.DataFrame({"city": ["Oslo", "Rome"] * 10})
    return make_pipeline(encoder, LogisticRegression()).fit(frame, [0, 1] * 10)


@pytest.mark.parametrize("options", [{}, {"min_frequency": 2}], ids=["ignore", "infrequent"])
def test_sklearn_engine_silences_unknown_categories(options: dict[str, int]) -> None:
    city = {"name": "city", "datatype": "BYTES", "categories": ["Oslo", "Rome"], "handle_unknown": "accept"}
    handle_unknown = "infrequent_if_exist" if options else "ignore"
    pipeline = fitted(OneHotEncoder(drop="first", handle_unknown=handle_unknown, **options))
    unknown = Batch({"city": np.array(["Bern"], dtype=object)})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(UserWarning, match="Found unknown categories"):
            pipeline.predict(sklearn_rows(unknown))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs = SklearnEngine(pipeline, contract([city])).run(unknown)
    assert len(outputs["label"]) == 1


def test_sklearn_engine_passes_on_other_warnings() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0] * 10, "b": [2.0, 1.0] * 10})
    engine = SklearnEngine(LogisticRegression().fit(frame, [0, 1] * 10), MATRIX)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        engine.run(ROWS)
