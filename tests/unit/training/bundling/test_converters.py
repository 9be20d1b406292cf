# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from tests.support.fitted_models import detect_outputs, predict_outputs
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype
from tidegate_training.bundling.compile import open_session, to_onnx
from tidegate_training.bundling.converters import scaler_operations

RANDOM = np.random.default_rng(1)
# Columns whose means are far from zero compared with their spread, so that rounding shows.
NUMBERS = RANDOM.normal([1000.0, 0.001, -50.0], [3.0, 0.5, 0.01], (300, 3))
TARGET = NUMBERS[:, 0] - 1000 + NUMBERS[:, 1]
DATATYPES = {np.float32: Datatype.FP32, np.float64: Datatype.FP64, np.int64: Datatype.INT64}


@pytest.mark.parametrize("dtype", list(DATATYPES))
@pytest.mark.parametrize(
    "scaler", [StandardScaler(), MinMaxScaler(), RobustScaler()], ids=lambda s: type(s).__name__
)
def test_convert_scaler_equals_scikit_learn_bit_by_bit(scaler: Any, dtype: type) -> None:
    values = (NUMBERS * 100).astype(dtype)
    # A tree with one leaf per row predicts another value as soon as one bit crosses a threshold.
    pipeline = Pipeline([("scale", scaler), ("estimator", DecisionTreeRegressor(random_state=0))])
    pipeline.fit(values, TARGET)
    batch = Batch({MATRIX: values})
    datatypes = dict.fromkeys("abc", DATATYPES[dtype])
    outputs = detect_outputs(pipeline, batch, datatypes.values())
    content = to_onnx(pipeline, "test", datatypes, outputs)
    if dtype is np.float64:
        # skl2onnx's trees compare in 32 bits; this test is about the scaler in front of the tree.
        graph = onnx.load_from_string(content).graph
        assert {value.data_type for value in graph.initializer if value.name.startswith("constant")} == {11}
        return
    (actual,) = open_session(content).run(None, batch.for_onnx())
    assert (actual == predict_outputs(pipeline, batch, outputs)["prediction"]).all()


def test_scaler_operations_round_constants_as_scikit_learn() -> None:
    values = NUMBERS.astype(np.float32)
    scaler = StandardScaler().fit(values)
    actual = values
    for kind, constant in scaler_operations(scaler, np.dtype(np.float32)):
        actual = actual - constant if kind == "Sub" else actual / constant
    assert actual.dtype == np.float32
    assert (actual == scaler.transform(values)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convert_imputer_fills_in_the_column_s_statistic(dtype: type) -> None:
    values = NUMBERS.astype(dtype)
    values[::7, 1] = np.nan
    pipeline = Pipeline([("impute", SimpleImputer(strategy="median")), ("estimator", LinearRegression())])
    pipeline.fit(values, TARGET)
    batch = Batch({MATRIX: values})
    datatypes = dict.fromkeys("abc", DATATYPES[dtype])
    outputs = detect_outputs(pipeline, batch, datatypes.values())
    (actual,) = open_session(to_onnx(pipeline, "test", datatypes, outputs)).run(None, batch.for_onnx())
    expected = predict_outputs(pipeline, batch, outputs)["prediction"]
    assert actual.dtype == expected.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)
