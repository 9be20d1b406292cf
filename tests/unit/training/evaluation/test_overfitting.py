# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.metrics import Metrics
from tidegate_training.evaluation.overfitting import assess_overfitting, metric_gaps


def test_metric_gaps_are_positive_where_test_rows_are_worse() -> None:
    train, test = {"f1": 0.75, "rmse": 1.0, "roc_auc": None}, {"f1": 0.5, "rmse": 3.0, "roc_auc": 0.5}
    assert metric_gaps(train, test) == {"f1": 0.25, "rmse": 2.0, "roc_auc": None}


@pytest.mark.parametrize(
    ("task", "train", "test", "verdict"),
    [
        ("classification", {"f1": 0.95}, {"f1": 0.94}, "no"),
        ("classification", {"f1": 0.90}, {"f1": 0.95}, "no"),
        ("classification", {"f1": 0.99}, {"f1": 0.92}, "slight"),
        ("classification", {"f1": 1.00}, {"f1": 0.80}, "clear"),
        ("classification", {"f1": 0.50}, {"f1": 0.49}, "underfitting"),
        ("regression", {"r2": 0.99}, {"r2": 0.30}, "clear"),
        ("regression", {"r2": 0.10}, {"r2": 0.09}, "underfitting"),
        ("regression", {"r2": 0.50}, {"r2": None}, "no"),
    ],
)
def test_assess_overfitting_follows_the_fixed_rule(
    task: str, train: Metrics, test: Metrics, verdict: str
) -> None:
    overfitting = assess_overfitting(task, train, test)
    assert overfitting.verdict == verdict
    assert ("Try" in overfitting.text) == (verdict != "no")


def test_assess_overfitting_says_the_interval_of_the_gap() -> None:
    interval = Interval(0.02, 0.12, "bootstrap")
    overfitting = assess_overfitting("classification", {"f1": 0.99}, {"f1": 0.92}, {"f1": interval})
    assert "a gap of 0.070 (95 % interval 0.020 to 0.120)" in overfitting.text
    assert overfitting.interval == interval
