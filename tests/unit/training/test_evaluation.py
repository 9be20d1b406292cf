# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from tidegate.errors import DataError
from tidegate_training.evaluation import (
    Metrics,
    assess_overfitting,
    class_scores,
    classification_metrics,
    metric_gaps,
    quantile_metrics,
    regression_metrics,
)

TARGET = np.array(["ill", "ill", "well", "well"])
OUTPUTS = {
    "label": np.array(["ill", "well", "well", "ill"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]]),
}


def test_classification_metrics_use_the_positive_class() -> None:
    labels = ["ill", "well"]
    outputs = {**OUTPUTS, "label": np.array(["ill", "well", "well", "well"], dtype=object)}
    assert classification_metrics(TARGET, outputs, labels, "ill")["recall"] == 0.5
    assert classification_metrics(TARGET, outputs, labels, "well")["recall"] == 1.0
    assert classification_metrics(TARGET, outputs, labels, "ill")["roc_auc"] == 0.75
    assert classification_metrics(TARGET, outputs, labels, "well")["roc_auc"] == 0.75


def test_class_scores_of_a_margin_favour_the_second_class() -> None:
    outputs = {"label": OUTPUTS["label"], "scores": np.array([[-2.0], [-0.5], [3.0], [0.5]])}
    assert class_scores(outputs, ["ill", "well"])[0].tolist() == [2.0, -2.0]
    for positive in ("ill", "well"):
        assert classification_metrics(TARGET, outputs, ["ill", "well"], positive)["roc_auc"] == 1.0


def test_classification_metrics_of_three_classes_are_means() -> None:
    target = np.array([0, 1, 2, 0, 1, 2])
    outputs = {
        "label": np.array([0, 1, 2, 0, 1, 0]),
        "probabilities": np.eye(3)[[0, 1, 2, 0, 1, 0]],
    }
    metrics = classification_metrics(target, outputs, [0, 1, 2], 1)
    assert metrics["accuracy"] == pytest.approx(5 / 6)
    assert metrics["recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert metrics["roc_auc"] == pytest.approx((0.875 + 1 + 0.75) / 3)


def test_roc_auc_of_a_single_class_is_undefined() -> None:
    outputs = {name: values[:2] for name, values in OUTPUTS.items()}
    assert classification_metrics(TARGET[:2], outputs, ["ill", "well"], "ill")["roc_auc"] is None


def test_classification_metrics_weights_count_rows_as_often() -> None:
    weights = np.array([2.0, 1.0, 3.0, 0.0])
    repeated = np.repeat(np.arange(4), weights.astype(int))
    outputs = {name: values[repeated] for name, values in OUTPUTS.items()}
    expected = classification_metrics(TARGET[repeated], outputs, ["ill", "well"], "ill")
    weighted = classification_metrics(TARGET, OUTPUTS, ["ill", "well"], "ill", weights)
    assert weighted == pytest.approx(expected)
    assert weighted != classification_metrics(TARGET, OUTPUTS, ["ill", "well"], "ill")


def test_roc_auc_of_a_class_whose_weights_are_zero_is_undefined() -> None:
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    assert classification_metrics(TARGET, OUTPUTS, ["ill", "well"], "ill", weights)["roc_auc"] is None


def test_regression_metrics_weights_count_rows_as_often() -> None:
    target, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 5.0])
    repeated = np.array([0, 0, 1, 2])
    weighted = regression_metrics(target, {"prediction": predicted}, np.array([2.0, 1.0, 1.0]))
    assert weighted == pytest.approx(
        regression_metrics(target[repeated], {"prediction": predicted[repeated]})
    )


def test_regression_metrics_equal_their_definitions() -> None:
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0]), {"prediction": np.array([1.0, 2.0, 5.0])})
    assert metrics == {
        "mse": pytest.approx(4 / 3),
        "rmse": pytest.approx((4 / 3) ** 0.5),
        "mae": pytest.approx(2 / 3),
        "r2": pytest.approx(-1.0),
    }


def test_regression_metrics_of_infinite_predictions_are_rejected() -> None:
    with pytest.raises(DataError, match=r"not finite.*float32: use another unit"):
        regression_metrics(np.array([1.0, 2.0]), {"prediction": np.array([1.0, np.inf], np.float32)})


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


def test_quantile_metrics_are_those_of_the_median_and_the_interval() -> None:
    target = np.array([1.0, 2.0, 3.0, 10.0])
    predicted = np.array([[0, 1, 2], [1, 2, 4], [4, 5, 6], [0, 9, 20]], np.float32)
    metrics = quantile_metrics(target, {"prediction": predicted}, [0.1, 0.5, 0.9])
    assert metrics["mae"] == 0.75
    assert metrics["coverage"] == 0.75
    losses = [mean_pinball_loss(target, predicted[:, i], alpha=a) for i, a in enumerate([0.1, 0.5, 0.9])]
    assert metrics["pinball"] == pytest.approx(np.mean(losses))
    weighted = quantile_metrics(target, {"prediction": predicted}, [0.1, 0.5, 0.9], np.array([1, 0, 1, 0.0]))
    assert weighted["coverage"] == 0.5
