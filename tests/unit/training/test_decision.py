# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from tidegate_training.config import Costs
from tidegate_training.decision import tune_threshold

RANDOM = np.random.default_rng(0)
POSITIVE = RANDOM.random(300) < 0.3
PROBABILITIES = np.clip(RANDOM.normal(0.3 + 0.3 * POSITIVE, 0.2), 0, 1).astype(np.float32)
WEIGHTS = RANDOM.integers(0, 4, 300).astype(np.float64)
COSTS = Costs(false_positive=1, false_negative=5)


def cost(target: Any, predicted: Any, sample_weight: Any) -> float:
    """The negative cost of the decisions, by its definition."""
    wrong = COSTS.false_positive * (predicted & ~target) + COSTS.false_negative * (~predicted & target)
    return -float(np.average(wrong, weights=sample_weight))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(
    ("criterion", "measure"),
    [
        ("accuracy", metrics.accuracy_score),
        ("balanced_accuracy", metrics.balanced_accuracy_score),
        ("f1", metrics.f1_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        (COSTS, cost),
    ],
)
def test_tune_threshold_equals_a_search_by_the_metric(criterion: Any, measure: Any, weights: Any) -> None:
    tuned = tune_threshold(criterion, POSITIVE, PROBABILITIES, weights)

    def measured(threshold: float) -> float:
        predicted = np.greater_equal(PROBABILITIES, threshold)
        return float(measure(POSITIVE, predicted, sample_weight=weights))

    best = max(measured(threshold) for threshold in np.linspace(0.01, 0.99, 50))
    assert measured(tuned) >= best - 1e-12
    assert 0 < tuned < 1


def test_tune_threshold_is_halfway_between_two_rows() -> None:
    is_positive = np.array([False, False, True, True])
    assert tune_threshold("f1", is_positive, np.array([0.125, 0.25, 0.75, 0.875], np.float32)) == 0.5


def test_tune_threshold_of_equal_ones_is_the_closest_to_one_half() -> None:
    is_positive = np.array([False, True, False, True])
    probabilities = np.array([0.125, 0.25, 0.5, 0.75], np.float32)
    assert tune_threshold("recall", is_positive, probabilities) == 0.1875
    assert tune_threshold("precision", is_positive, probabilities) == 0.625


def test_tune_threshold_follows_the_costs() -> None:
    cautious = tune_threshold(Costs(false_positive=1, false_negative=20), POSITIVE, PROBABILITIES)
    bold = tune_threshold(Costs(false_positive=20, false_negative=1), POSITIVE, PROBABILITIES)
    assert cautious < tune_threshold("accuracy", POSITIVE, PROBABILITIES) < bold
