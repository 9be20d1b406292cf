# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeRegressor

from tests.support.fitted_models import detect_outputs, predict_outputs
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype
from tidegate_training.bundling.compile import open_session, to_onnx
from tidegate_training.bundling.converters import scaler_operations, with_float64_parameters

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


FAR = np.concatenate([NUMBERS, NUMBERS * 1e3, NUMBERS * [1e6, -1e9, 1e7]])
"""The training rows, and rows whose terms are so large that their sum has few digits in 32 bits."""

REGRESSORS = [
    LinearRegression(),
    Ridge(),
    Lasso(alpha=0.01),
    LinearSVR(),
    KNeighborsRegressor(),
    KNeighborsRegressor(weights="distance"),
    KNeighborsRegressor(weights="distance", p=1.5),
    MLPRegressor(max_iter=5),
    SVR(),
    SVR(kernel="linear"),
    SVR(kernel="poly", coef0=1.0),
    SVR(kernel="sigmoid"),
]
CLASSIFIERS = [
    LogisticRegression(),
    RidgeClassifier(),
    LinearSVC(),
    GaussianNB(),
    KNeighborsClassifier(),
    KNeighborsClassifier(weights="distance"),
    MLPClassifier(max_iter=5),
]


def fit(estimator: Any, values: Any, target: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline = Pipeline([("scale", StandardScaler()), ("estimator", estimator)]).fit(values, target)
    return with_float64_parameters(pipeline)


def run_both(pipeline: Any, values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the outputs of the compiled model and of scikit-learn."""
    batch = Batch({MATRIX: values})
    datatypes = dict.fromkeys("abc", DATATYPES[values.dtype.type])
    outputs = detect_outputs(pipeline, batch, datatypes.values())
    session = open_session(to_onnx(pipeline, "test", datatypes, outputs))
    names = [output.name for output in outputs]
    actual = dict(zip(names, session.run(names, batch.for_onnx()), strict=True))
    return actual, predict_outputs(pipeline, batch, outputs)


@pytest.mark.parametrize("dtype", list(DATATYPES))
@pytest.mark.parametrize(
    "estimator", REGRESSORS, ids=lambda e: f"{type(e).__name__}-{getattr(e, 'kernel', '')}"
)
def test_regressor_far_from_training_computes_in_64_bits(estimator: Any, dtype: type) -> None:
    # Whole numbers with three more digits, because those of equal rows would be equally near.
    digits = 1e3 if dtype is np.int64 else 1.0
    pipeline = fit(estimator, (NUMBERS * digits).astype(dtype), TARGET)
    actual, expected = run_both(pipeline, (FAR * digits).astype(dtype))
    # Two roundings to the output's type may differ by one bit, and terms that cancel leave the rounding of
    # sums in 64 bits; a sum in 32 bits differs by much more.
    rounding = max(np.finfo(expected["prediction"].dtype).eps, 1e-12)
    np.testing.assert_allclose(actual["prediction"], expected["prediction"], rtol=rounding, atol=1e-14)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 4, 5]], ids=["binary", "multiclass"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=str)
def test_classifier_far_from_training_computes_in_64_bits(estimator: Any, labels: list[Any]) -> None:
    target = np.array(labels)[np.digitize(TARGET, [-1.0, 1.0] if len(labels) == 3 else [0.0])]
    pipeline = fit(estimator, NUMBERS.astype(np.float32), target)
    actual, expected = run_both(pipeline, FAR.astype(np.float32))
    label, scores = expected
    assert (actual[label] == expected[label]).all()
    np.testing.assert_allclose(actual[scores], expected[scores], rtol=2e-7, atol=1e-15)


def test_classifier_margin_of_zero_is_the_first_class() -> None:
    values = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], np.float32)
    pipeline = fit(LogisticRegression(fit_intercept=False), values, np.array(["no", "yes"]))
    actual, expected = run_both(pipeline, np.zeros((1, 3), np.float32))
    assert actual["label"].tolist() == expected["label"].tolist() == ["no"]
    assert actual["probabilities"].tolist() == [[0.5, 0.5]]


def test_with_float64_parameters_keeps_the_fitted_pipeline() -> None:
    values = NUMBERS.astype(np.float32)
    fitted = Pipeline([("estimator", Ridge())]).fit(values, TARGET.astype(np.float32))
    wide = with_float64_parameters(fitted)
    assert (fitted[-1].coef_.dtype, wide[-1].coef_.dtype) == (np.float32, np.float64)
    assert (fitted[-1].coef_ == wide[-1].coef_).all()
    assert wide.predict(values).dtype == np.float64
    tree = Pipeline([("estimator", DecisionTreeRegressor(max_depth=1))]).fit(values, TARGET)
    assert with_float64_parameters(tree) is tree


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boosting_separates_close_numbers_of_each_type(dtype: Any) -> None:
    # The threshold is halfway between the two values; rounding to nearest gives the upper one, or neither.
    lower = np.nextafter(dtype(1), dtype(2))
    upper = np.nextafter(lower, dtype(2)) if dtype is np.float32 else lower + dtype(1e-12)
    values = np.repeat(np.array([[lower], [upper]], dtype), 20, axis=0)
    pipeline = Pipeline([("estimator", HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=1))])
    pipeline.fit(values, np.repeat([0.0, 1.0], 20))
    batch, datatypes = Batch({MATRIX: values}), {"a": DATATYPES[dtype]}
    outputs = detect_outputs(pipeline, batch, datatypes.values())
    (actual,) = open_session(to_onnx(pipeline, "test", datatypes, outputs)).run(None, batch.for_onnx())
    assert len(set(actual.tolist())) == 2
    np.testing.assert_allclose(actual, predict_outputs(pipeline, batch, outputs)["prediction"], rtol=1e-6)


def test_convert_trees_round_scaled_integers_to_32_bits() -> None:
    values = RANDOM.integers(1 << 25, 1 << 33, (200, 3))
    target = values[:, 0] / 1e9
    pipeline = Pipeline([("scale", StandardScaler()), ("estimator", DecisionTreeRegressor(random_state=0))])
    actual, expected = run_both(pipeline.fit(values, target), values)
    assert (actual["prediction"] == expected["prediction"]).all()
