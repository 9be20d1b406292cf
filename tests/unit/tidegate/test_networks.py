# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from tidegate.networks import NetworkClassifier, NetworkRegressor
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops

KERNEL = np.array([[1.0, -1.0], [0.5, 2.0]])
DENSE = {"kind": "dense", "kernel": KERNEL, "bias": np.array([0.25, 0.0])}
CLASSIFIER = NetworkClassifier([DENSE, {"kind": "softmax"}], 2, np.array(["no", "yes"]))
ROWS = [[1.0, 2.0], [2.0, -1.0]]


def test_regressor_computes_its_layers_in_order() -> None:
    relu = {"kind": "relu", "slope": 0.1, "maximum": 2.0, "threshold": 0.0}
    values = NetworkRegressor([DENSE, relu], 2).predict(ROWS)
    np.testing.assert_allclose(values, [[2.0, 2.0], [1.75, -0.4]])
    assert is_regressor(NetworkRegressor([], 2))


def test_classifier_has_probabilities_and_the_class_of_the_largest() -> None:
    probabilities = CLASSIFIER.predict_proba(ROWS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert CLASSIFIER.predict(ROWS).tolist() == ["yes", "no"]
    assert is_classifier(CLASSIFIER)


def test_network_rounds_rows_to_32_bits_and_computes_in_64() -> None:
    identity = NetworkRegressor([{"kind": "dense", "kernel": np.ones((1, 1)), "bias": np.array([1e-12])}], 1)
    assert identity.predict([[0.1]])[0] == float(np.float32(0.1)) + 1e-12


def test_network_rejects_missing_values_and_another_width() -> None:
    with pytest.raises(ValueError, match="NaN"):
        CLASSIFIER.predict([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="X has 1 features, expected 2"):
        CLASSIFIER.predict([[1.0]])


def test_network_is_built_under_the_default_policy() -> None:
    built = build_pipeline(to_skops(Pipeline([("network", CLASSIFIER)])), Policy())
    np.testing.assert_array_equal(built.predict_proba(ROWS), CLASSIFIER.predict_proba(ROWS))
    assert built.classes_.tolist() == ["no", "yes"]
