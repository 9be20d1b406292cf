# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from tests.support.fitted_models import detect_outputs, predict_outputs
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype, Output
from tidegate_training.bundling.compile import NotCompiledError, open_session, to_onnx

RANDOM = np.random.default_rng(1)
NUMBERS = RANDOM.normal(size=(300, 3)).astype(np.float32)
TARGET = NUMBERS[:, 0] + NUMBERS[:, 1]


def compile_pipeline(
    pipeline: Any, batch: Batch, datatypes: dict[str, Datatype]
) -> tuple[tuple[Output, ...], bytes]:
    outputs = detect_outputs(pipeline, batch, datatypes.values())
    return outputs, to_onnx(pipeline, "test", datatypes, outputs)


@pytest.mark.parametrize(
    ("estimator", "labels", "types"),
    [
        (LogisticRegression(), [0, 1], {"label": "tensor(int64)", "probabilities": "tensor(float)"}),
        (LogisticRegression(), ["no", "yes"], {"label": "tensor(string)", "probabilities": "tensor(float)"}),
        (LinearSVC(), ["no", "yes"], {"label": "tensor(string)", "scores": "tensor(float)"}),
        (LinearSVC(), [3, 4, 5], {"label": "tensor(int64)", "scores": "tensor(float)"}),
    ],
)
def test_to_onnx_graph_has_the_contract_s_names_and_shapes(
    estimator: Any, labels: list[Any], types: dict[str, str]
) -> None:
    values = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    target = np.array(labels)[np.digitize(values[:, 0], [-0.5, 0.5] if len(labels) == 3 else [0.0])]
    pipeline = Pipeline([("estimator", estimator)]).fit(values, target)
    batch = Batch({MATRIX: values})
    outputs, content = compile_pipeline(pipeline, batch, dict.fromkeys("ab", Datatype.FP32))
    session = open_session(content)
    assert {output.name: output.type for output in session.get_outputs()} == types
    assert [(entry.name, entry.shape[1:]) for entry in session.get_inputs()] == [(MATRIX, [2])]
    expected = predict_outputs(pipeline, batch, outputs)
    for output, actual in zip(outputs, session.run(None, batch.for_onnx()), strict=True):
        assert actual.shape == expected[output.name].shape
        if output.name == "label":
            assert (actual == expected["label"]).all()
        else:
            np.testing.assert_allclose(actual, expected[output.name], atol=1e-5)


def test_to_onnx_named_columns_are_one_matrix_per_type() -> None:
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
    outputs, content = compile_pipeline(pipeline, batch, datatypes)
    session = open_session(content)
    assert [(entry.name, entry.shape[1:]) for entry in session.get_inputs()] == [
        ("input-FP32", [1]),
        ("input-BYTES", [1]),
    ]
    (actual,) = session.run(None, batch.for_onnx())
    np.testing.assert_allclose(actual, predict_outputs(pipeline, batch, outputs)["prediction"], atol=1e-5)


def test_to_onnx_step_without_converter_is_named() -> None:
    class Odd(LinearRegression):  # type: ignore[misc]  # scikit-learn ships no types
        pass

    pipeline = Pipeline([("estimator", Odd())]).fit(NUMBERS, TARGET)
    outputs = (Output(name="prediction", datatype=Datatype.FP32),)
    with pytest.raises(NotCompiledError, match="Odd"):
        to_onnx(pipeline, "test", dict.fromkeys("abc", Datatype.FP32), outputs)


def test_open_session_invalid_graph_is_rejected() -> None:
    with pytest.raises(NotCompiledError, match="ONNX Runtime cannot load the graph"):
        open_session(b"not a graph")


def test_to_onnx_twice_gives_the_same_bytes() -> None:
    pipeline = Pipeline([("estimator", HistGradientBoostingRegressor(max_iter=5))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(NUMBERS, TARGET)
    before = pipeline[-1]._predictors[0][0].nodes["num_threshold"].copy()
    batch = Batch({MATRIX: NUMBERS})
    first, second = (
        compile_pipeline(pipeline, batch, dict.fromkeys("abc", Datatype.FP32))[1] for _ in range(2)
    )
    assert first == second
    # The pipeline itself stays as it was fitted.
    assert (pipeline[-1]._predictors[0][0].nodes["num_threshold"] == before).all()


@pytest.mark.parametrize("estimator", [KNeighborsClassifier(), MultiOutputClassifier(LogisticRegression())])
def test_to_onnx_several_targets_have_their_classes_in_order(estimator: Any) -> None:
    targets = (NUMBERS[:, :2] > 0).astype(np.int64)
    pipeline = Pipeline([("estimator", estimator)]).fit(NUMBERS, targets)
    rows = Batch({MATRIX: NUMBERS})
    outputs, content = compile_pipeline(pipeline, rows, dict.fromkeys("abc", Datatype.FP32))
    label, probabilities = open_session(content).run(None, rows.for_onnx())
    np.testing.assert_array_equal(label, pipeline.predict(NUMBERS))
    np.testing.assert_allclose(probabilities, np.hstack(pipeline.predict_proba(NUMBERS)), atol=1e-5)
    assert [output.width for output in outputs] == [2, 4]


def test_to_onnx_deviation_is_an_output() -> None:
    pipeline = Pipeline([("estimator", GaussianProcessRegressor(alpha=0.1))]).fit(NUMBERS[:50], TARGET[:50])
    rows = Batch({MATRIX: NUMBERS[50:].astype(np.float64)})
    _, content = compile_pipeline(pipeline, rows, dict.fromkeys("abc", Datatype.FP64))
    compiled = open_session(content).run(["standard_deviation"], rows.for_onnx())[0]
    expected = pipeline[-1].predict(NUMBERS[50:].astype(np.float64), return_std=True)[1]
    np.testing.assert_allclose(compiled, expected, atol=1e-6)
