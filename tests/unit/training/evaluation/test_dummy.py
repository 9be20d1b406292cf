# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import brier_score_loss, mean_absolute_error
from sklearn.tree import DecisionTreeClassifier

from tests.support.fitted_models import fitted_model
from tidegate.contract import Datatype
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.evaluation.dummy import DummyComparison, compare_with_dummy
from tidegate_training.evaluation.estimates import Evaluator

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(200, 2)).astype(np.float32)
FEATURES = FeatureTable({"a": X[:, 0], "b": X[:, 1]}, {"a": Datatype.FP32, "b": Datatype.FP32})
TRAIN, TEST = np.arange(120), np.arange(120, 200)


def compare(
    estimator: object,
    target: np.ndarray,
    positive_label: object = None,
    weights: np.ndarray | None = None,
) -> DummyComparison:
    model = replace(fitted_model(estimator, FEATURES, target, train=TRAIN, test=TEST), weights=weights)
    evaluator = Evaluator(model, positive_label)
    comparison = compare_with_dummy(evaluator, TEST, evaluator.estimate(TEST, model.predict_rows(TEST)))
    assert comparison is not None
    return comparison


def test_dummy_of_rare_positives_shows_what_accuracy_hides() -> None:
    target = np.where(np.arange(200) % 33 == 0, "yes", "no")
    model = DecisionTreeClassifier(max_depth=1, random_state=0).fit(X[TRAIN], target[TRAIN])
    comparison = compare(model, target, "yes")
    assert comparison.strategy == "most frequent class"
    assert comparison.metrics["accuracy"] == pytest.approx((target[TEST] == "no").mean())
    assert comparison.metrics["recall"] == 0
    assert "Always predicting the most frequent class of the training rows, 'no'," in comparison.text
    dummy = DummyClassifier(strategy="prior").fit(X[TRAIN], target[TRAIN])
    expected = brier_score_loss(target[TEST] == "yes", dummy.predict_proba(X[TEST])[:, 1])
    assert comparison.metrics["brier"] == pytest.approx(expected)
    assert "better by" not in comparison.text


def test_dummy_of_a_regression_is_the_mean_and_the_median() -> None:
    target = np.exp(X[:, 0]).astype(np.float64)
    comparison = compare(LinearRegression().fit(X[TRAIN], target[TRAIN]), target)
    median = DummyRegressor(strategy="median").fit(X[TRAIN], target[TRAIN])
    assert comparison.metrics["mae"] == pytest.approx(
        mean_absolute_error(target[TEST], median.predict(X[TEST]))
    )
    rmse = np.sqrt(np.mean((target[TEST] - target[TRAIN].mean()) ** 2))
    assert comparison.metrics["rmse"] == pytest.approx(rmse)
    interval = comparison.intervals["rmse"]
    assert interval is not None
    assert 0 < interval.low < (comparison.improvement["rmse"] or 0) < interval.high
    assert "better by" in comparison.text


def test_dummy_of_weighted_rows_is_the_weighted_median() -> None:
    target = np.exp(X[:, 0]).astype(np.float64)
    weights = np.where(target > 1, 3.0, 1.0)
    comparison = compare(LinearRegression().fit(X[TRAIN], target[TRAIN]), target, weights=weights)
    median = DummyRegressor(strategy="median").fit(X[TRAIN], target[TRAIN], weights[TRAIN])
    expected = mean_absolute_error(target[TEST], median.predict(X[TEST]), sample_weight=weights[TEST])
    assert comparison.metrics["mae"] == pytest.approx(expected)
