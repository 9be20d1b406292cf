# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from tidegate_training.evaluation import (
    class_scores,
    classification_metrics,
    gap_of,
    judge,
    regression_metrics,
)

from tidegate.errors import DataError

TARGET = np.array(["ill", "ill", "well", "well"])
ANSWERS = {
    "label": np.array(["ill", "well", "well", "ill"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]]),
}


def test_metrics_are_about_the_positive_class():
    labels = ["ill", "well"]
    wide = {**ANSWERS, "label": np.array(["ill", "well", "well", "well"], dtype=object)}
    assert classification_metrics(TARGET, wide, labels, "ill")["recall"] == 0.5
    assert classification_metrics(TARGET, wide, labels, "well")["recall"] == 1.0
    assert classification_metrics(TARGET, wide, labels, "ill")["roc_auc"] == 0.75
    assert classification_metrics(TARGET, wide, labels, "well")["roc_auc"] == 0.75


def test_a_margin_counts_for_the_second_class_and_against_the_first():
    answers = {"label": ANSWERS["label"], "scores": np.array([[-2.0], [-0.5], [3.0], [0.5]])}
    assert class_scores(answers, ["ill", "well"])[0].tolist() == [2.0, -2.0]
    for positive in ("ill", "well"):
        assert classification_metrics(TARGET, answers, ["ill", "well"], positive)["roc_auc"] == 1.0


def test_with_more_than_two_classes_the_metrics_are_means_over_the_classes():
    target = np.array([0, 1, 2, 0, 1, 2])
    answers = {
        "label": np.array([0, 1, 2, 0, 1, 0]),
        "probabilities": np.eye(3)[[0, 1, 2, 0, 1, 0]],
    }
    metrics = classification_metrics(target, answers, [0, 1, 2], 1)
    assert metrics["accuracy"] == pytest.approx(5 / 6)
    assert metrics["recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert metrics["roc_auc"] == pytest.approx((0.875 + 1 + 0.75) / 3)


def test_roc_auc_is_not_defined_where_a_class_has_no_row():
    answers = {name: values[:2] for name, values in ANSWERS.items()}
    assert classification_metrics(TARGET[:2], answers, ["ill", "well"], "ill")["roc_auc"] is None


def test_regression_metrics_are_the_usual_ones():
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0]), {"prediction": np.array([1.0, 2.0, 5.0])})
    assert metrics == {
        "mse": pytest.approx(4 / 3),
        "rmse": pytest.approx((4 / 3) ** 0.5),
        "mae": pytest.approx(2 / 3),
        "r2": pytest.approx(-1.0),
    }


def test_predictions_beyond_their_type_are_told():
    with pytest.raises(DataError, match="predicts numbers beyond those of float32"):
        regression_metrics(np.array([1.0, 2.0]), {"prediction": np.array([1.0, np.inf], np.float32)})


def test_a_gap_is_how_much_worse_the_test_part_is():
    assert gap_of({"f1": 0.75, "rmse": 1.0, "roc_auc": None}, {"f1": 0.5, "rmse": 3.0, "roc_auc": 0.5}) == {
        "f1": 0.25,
        "rmse": 2.0,
        "roc_auc": None,
    }


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
def test_the_gap_is_judged_by_a_fixed_rule(task: str, train, test, verdict: str):
    judged = judge(task, train, test)
    assert judged.verdict == verdict
    assert ("Try" in judged.text) == (verdict != "no")
