# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor
from tidegate_training.bundling.compile import NotCompiledError, open_session, to_onnx
from tidegate_training.bundling.converters import steps_of
from tidegate_training.bundling.outputs import answers_of, outputs_of

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype, Output

RANDOM = np.random.default_rng(1)
# Columns with means far from zero for their spread: where rounding shows.
NUMBERS = RANDOM.normal([1000.0, 0.001, -50.0], [3.0, 0.5, 0.01], (300, 3))
TARGET = NUMBERS[:, 0] - 1000 + NUMBERS[:, 1]


def compiled(pipeline: Any, batch: Batch, datatypes: dict[str, Datatype]) -> tuple[tuple[Output, ...], bytes]:
    outputs = outputs_of(pipeline, batch, datatypes)
    return outputs, to_onnx(pipeline, "test", datatypes, outputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    "scaler", [StandardScaler(), MinMaxScaler(), RobustScaler()], ids=lambda s: type(s).__name__
)
def test_scaling_is_the_same_bit_by_bit(scaler: Any, dtype: type):
    values = (NUMBERS * 100).astype(dtype)
    datatype = {np.float32: Datatype.FP32, np.float64: Datatype.FP64, np.int64: Datatype.INT64}[dtype]
    # A tree of depth enough to have a leaf a row answers otherwise as soon as one bit tips a threshold.
    pipeline = Pipeline([("scale", scaler), ("estimator", DecisionTreeRegressor(random_state=0))])
    pipeline.fit(values, TARGET)
    batch = Batch({MATRIX: values})
    outputs, content = compiled(pipeline, batch, dict.fromkeys("abc", datatype))
    if dtype is np.float64:
        # skl2onnx's trees compare in 32 bits; what is asked here is about the scaler before them.
        graph = onnx.load_from_string(content).graph
        assert {value.data_type for value in graph.initializer if value.name.startswith("constant")} == {11}
        return
    (found,) = open_session(content).run(None, batch.for_onnx())
    assert (found == answers_of(pipeline, batch, outputs)["prediction"]).all()


def test_a_standard_scaler_s_constants_are_rounded_as_scikit_learn_rounds_them():
    values = NUMBERS.astype(np.float32)
    scaler = StandardScaler().fit(values)
    found = values
    for kind, constant in steps_of(scaler, np.dtype(np.float32)):
        found = found - constant if kind == "Sub" else found / constant
    assert found.dtype == np.float32
    assert (found == scaler.transform(values)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaps_are_filled_with_the_column_s_statistic(dtype: type):
    values = NUMBERS.astype(dtype)
    values[::7, 1] = np.nan
    pipeline = Pipeline([("impute", SimpleImputer(strategy="median")), ("estimator", LinearRegression())])
    pipeline.fit(values, TARGET)
    batch = Batch({MATRIX: values})
    datatype = Datatype.FP32 if dtype is np.float32 else Datatype.FP64
    outputs, content = compiled(pipeline, batch, dict.fromkeys("abc", datatype))
    (found,) = open_session(content).run(None, batch.for_onnx())
    expected = answers_of(pipeline, batch, outputs)["prediction"]
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("estimator", "labels", "types"),
    [
        (LogisticRegression(), [0, 1], {"label": "tensor(int64)", "probabilities": "tensor(float)"}),
        (LogisticRegression(), ["no", "yes"], {"label": "tensor(string)", "probabilities": "tensor(float)"}),
        (LinearSVC(), ["no", "yes"], {"label": "tensor(string)", "scores": "tensor(float)"}),
        (LinearSVC(), [3, 4, 5], {"label": "tensor(int64)", "scores": "tensor(float)"}),
    ],
)
def test_the_graph_has_the_contract_s_names_types_and_shapes(estimator: Any, labels: list[Any], types: Any):
    values = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    target = np.array(labels)[np.digitize(values[:, 0], [-0.5, 0.5] if len(labels) == 3 else [0.0])]
    pipeline = Pipeline([("estimator", estimator)]).fit(values, target)
    batch = Batch({MATRIX: values})
    outputs, content = compiled(pipeline, batch, dict.fromkeys("ab", Datatype.FP32))
    session = open_session(content)
    assert {end.name: end.type for end in session.get_outputs()} == types
    assert [(end.name, end.shape[1:]) for end in session.get_inputs()] == [(MATRIX, [2])]
    expected = answers_of(pipeline, batch, outputs)
    for output, found in zip(outputs, session.run(None, batch.for_onnx()), strict=True):
        assert found.shape == expected[output.name].shape
        if output.name == "label":
            assert (found == expected["label"]).all()
        else:
            np.testing.assert_allclose(found, expected[output.name], atol=1e-5)


def test_named_columns_keep_their_names_whatever_is_in_them():
    import pandas as pd

    columns = {
        "mean radius (mm)": RANDOM.normal(size=50).astype(np.float32),
        "städte/ort": np.array(["x", "y"] * 25, dtype=object),
    }
    datatypes = {"mean radius (mm)": Datatype.FP32, "städte/ort": Datatype.BYTES}
    encoder = OneHotEncoder(sparse_output=False, dtype=np.float32, handle_unknown="ignore")
    transformer = ColumnTransformer(
        [("fp32", StandardScaler(), ["mean radius (mm)"]), ("bytes", encoder, ["städte/ort"])]
    )
    pipeline = Pipeline([("columns", transformer), ("estimator", LinearRegression())])
    pipeline.fit(pd.DataFrame(columns), columns["mean radius (mm)"] * 2)
    batch = Batch(columns)
    outputs, content = compiled(pipeline, batch, datatypes)
    session = open_session(content)
    assert [end.name for end in session.get_inputs()] == list(columns)
    (found,) = session.run(None, batch.for_onnx())
    np.testing.assert_allclose(found, answers_of(pipeline, batch, outputs)["prediction"], atol=1e-5)


def test_what_has_no_converter_says_so():
    class Odd(LinearRegression):
        pass

    pipeline = Pipeline([("estimator", Odd())]).fit(NUMBERS, TARGET)
    outputs = (Output(name="prediction", datatype=Datatype.FP32),)
    with pytest.raises(NotCompiledError, match="Odd"):
        to_onnx(pipeline, "test", dict.fromkeys("abc", Datatype.FP32), outputs)


def test_what_onnx_runtime_cannot_run_says_so():
    with pytest.raises(NotCompiledError, match="ONNX Runtime cannot load it"):
        open_session(b"no graph")


def test_compiling_twice_gives_the_same_bytes_and_leaves_the_pipeline_alone():
    from sklearn.ensemble import HistGradientBoostingRegressor

    values = NUMBERS.astype(np.float32)
    pipeline = Pipeline([("estimator", HistGradientBoostingRegressor(max_iter=5))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(values, TARGET)
    before = pipeline[-1]._predictors[0][0].nodes["num_threshold"].copy()
    batch = Batch({MATRIX: values})
    first, second = (compiled(pipeline, batch, dict.fromkeys("abc", Datatype.FP32))[1] for _ in range(2))
    assert first == second
    assert (pipeline[-1]._predictors[0][0].nodes["num_threshold"] == before).all()
