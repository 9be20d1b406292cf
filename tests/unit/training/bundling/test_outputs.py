# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier

from tests.support.fitted_models import detect_outputs, predict_outputs
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype

VALUES = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
BATCH = Batch({MATRIX: VALUES})
TWO, THREE = np.arange(30) % 2, np.array(["a", "b", "c"] * 10)


@pytest.mark.parametrize(
    ("estimator", "target", "outputs"),
    [
        (LogisticRegression(), TWO, [("label", "INT64", None), ("probabilities", "FP32", 2)]),
        (LogisticRegression(), THREE, [("label", "BYTES", None), ("probabilities", "FP32", 3)]),
        (RidgeClassifier(), TWO, [("label", "INT64", None), ("scores", "FP32", 1)]),
        (RidgeClassifier(), THREE, [("label", "BYTES", None), ("scores", "FP32", 3)]),
        (LinearRegression(), TWO, [("prediction", "FP32", None)]),
    ],
)
def test_predict_outputs_have_the_detected_types_and_shapes(
    estimator: Any, target: np.ndarray, outputs: list[tuple[str, str, int | None]]
) -> None:
    estimator.fit(VALUES, target)
    detected = detect_outputs(estimator, BATCH, [Datatype.FP32])
    assert [(output.name, output.datatype, output.width) for output in detected] == outputs
    predicted = predict_outputs(estimator, BATCH, detected)
    for output in detected:
        values = predicted[output.name]
        assert values.dtype == output.datatype.dtype
        assert values.shape == ((30,) if output.width is None else (30, output.width))


def test_detect_outputs_64_bit_features_give_64_bit_predictions() -> None:
    estimator = LinearRegression().fit(VALUES, TWO)
    datatypes = {"a": Datatype.FP32, "b": Datatype.FP64}
    (output,) = detect_outputs(estimator, BATCH, datatypes.values())
    assert output.datatype is Datatype.FP64


def test_predict_outputs_beyond_the_type_are_infinite() -> None:
    estimator = LinearRegression().fit(VALUES.astype(np.float64), TWO * 1e100)
    outputs = detect_outputs(estimator, BATCH, [Datatype.FP32])
    assert np.isinf(predict_outputs(estimator, BATCH, outputs)["prediction"]).all()
