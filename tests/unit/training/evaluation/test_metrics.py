# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tidegate.errors import DataError
from tidegate_training.evaluation.metrics import (
    MAX_RESAMPLED_CURVES,
    MetricSeries,
    calibration_metrics,
    class_codes,
    class_scores,
    classification_metrics,
    curve_areas,
    curve_points,
    first_values,
    multi_target_metrics,
    outlier_metrics,
    quantile_metrics,
    regression_metrics,
    unit_weights,
)

LABELS = ["ill", "well"]
TARGET = np.array(["ill", "ill", "well", "well"])
OUTPUTS = {
    "label": np.array(["ill", "well", "well", "ill"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]]),
}
GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.integers(0, 4, size=(5, 60)).astype(float)
"""Five resamples of 60 rows."""
CODES = GENERATOR.integers(0, 3, size=60)
SCORES = np.round(GENERATOR.dirichlet([1, 1, 1], size=60) + 0.5 * np.eye(3)[CODES], 1)
SCORES /= SCORES.sum(axis=1, keepdims=True)


def metrics_of_well(target: np.ndarray, outputs: dict[str, np.ndarray]) -> MetricSeries:
    return classification_metrics(target, outputs, LABELS, "well", unit_weights(len(target)))


def test_classification_metrics_use_the_positive_class() -> None:
    outputs = {**OUTPUTS, "label": np.array(["ill", "well", "well", "well"], dtype=object)}
    for positive, recall in (("ill", 0.5), ("well", 1.0)):
        metrics = classification_metrics(TARGET, outputs, LABELS, positive, unit_weights(4))
        assert (metrics["recall"][0], metrics["roc_auc"][0]) == (recall, 0.75)


def test_class_scores_of_a_margin_favour_the_second_class() -> None:
    outputs = {"label": OUTPUTS["label"], "scores": np.array([[-2.0], [-0.5], [3.0], [0.5]])}
    scores = class_scores(outputs, LABELS)
    assert scores is not None
    assert scores[0].tolist() == [2.0, -2.0]
    metrics = first_values(metrics_of_well(TARGET, outputs))
    assert (metrics["roc_auc"], metrics["brier"], metrics["ece"]) == (1.0, None, None)


def test_class_codes_of_texts_name_integers_too() -> None:
    assert class_codes(np.array(["10", "9", "10"]), [9, 10]).tolist() == [1, 0, 1]
    assert class_codes(np.array([10, 9]), [9, 10]).tolist() == [1, 0]


def test_metrics_of_each_resample_equal_scikit_learn_s() -> None:
    outputs = {"label": SCORES.argmax(axis=1), "probabilities": SCORES}
    series = classification_metrics(CODES, outputs, [0, 1, 2], None, WEIGHTS)
    for index, weights in enumerate(WEIGHTS):
        known = {"sample_weight": weights}
        precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
            CODES, outputs["label"], average="macro", zero_division=0.0, **known
        )
        accuracy = sklearn_metrics.accuracy_score(CODES, outputs["label"], **known)
        roc_auc, average_precision = (
            np.mean([score(code == CODES, SCORES[:, code], **known) for code in range(3)])
            for score in (sklearn_metrics.roc_auc_score, sklearn_metrics.average_precision_score)
        )
        brier = sklearn_metrics.brier_score_loss(CODES, SCORES, **known)
        expected = [accuracy, precision, recall, f1, roc_auc, average_precision, brier]
        names = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "brier")
        assert [series[name][index] for name in names] == pytest.approx(expected)


def test_curves_of_many_classes_are_not_resampled() -> None:
    target = np.arange(42) % (MAX_RESAMPLED_CURVES + 1)
    outputs = {"label": target, "probabilities": np.eye(MAX_RESAMPLED_CURVES + 1)[target]}
    labels = list(range(MAX_RESAMPLED_CURVES + 1))
    assert classification_metrics(target, outputs, labels, None, np.ones((1, 42)))["roc_auc"] == 1
    resampled = classification_metrics(target, outputs, labels, None, np.ones((2, 42)))
    assert np.isnan(resampled["roc_auc"]).all()
    assert (resampled["accuracy"] == 1).all()


def test_cost_is_the_mean_of_the_cost_matrix() -> None:
    costs = np.array([[0.0, 10.0], [1.0, 0.0]])  # an ill person who is sent home costs most
    metrics = classification_metrics(TARGET, OUTPUTS, LABELS, "ill", unit_weights(4), costs)
    assert metrics["cost"][0] == (10 + 1) / 4


def test_roc_auc_of_a_single_class_is_undefined() -> None:
    outputs = {name: values[:2] for name, values in OUTPUTS.items()}
    assert first_values(metrics_of_well(TARGET[:2], outputs))["roc_auc"] is None
    weights = np.array([[1.0, 1.0, 0.0, 0.0]])
    assert np.isnan(curve_areas(TARGET == "well", SCORES[:4, 0], weights)["average_precision"][0])


def test_calibration_error_is_the_distance_of_bins() -> None:
    actual = np.array([1, 0, 1, 1])
    probabilities = np.array([[0.75, 0.25], [0.75, 0.25], [0.0, 1.0], [0.1, 0.9]])
    metrics = calibration_metrics(actual, probabilities, 1, unit_weights(4))
    assert metrics["ece"][0] == pytest.approx((2 * abs(0.25 - 0.5) + abs(1.9 - 2)) / 4)


def test_curve_points_equal_scikit_learn_s() -> None:
    is_positive, weights = CODES == 1, WEIGHTS[0] + 1
    curve = curve_points(is_positive, SCORES[:, 1], weights)
    false_positives, true_positives, _ = sklearn_metrics.roc_curve(
        is_positive, SCORES[:, 1], sample_weight=weights, drop_intermediate=False
    )
    assert curve.false_positive_rate == pytest.approx(false_positives)
    assert curve.recall == pytest.approx(true_positives)
    assert curve.prevalence == pytest.approx(weights[is_positive].sum() / weights.sum())


def test_regression_metrics_of_each_resample_equal_scikit_learn_s() -> None:
    target = GENERATOR.normal(size=(60, 2)) + 1000
    outputs = {"prediction": target + GENERATOR.normal(size=(60, 2))}
    series = regression_metrics(target, outputs, WEIGHTS)
    for index, weights in enumerate(WEIGHTS):
        arguments = (target, outputs["prediction"], weights)
        expected = [
            sklearn_metrics.mean_squared_error(*arguments[:2], sample_weight=weights),
            sklearn_metrics.mean_absolute_error(*arguments[:2], sample_weight=weights),
            sklearn_metrics.r2_score(*arguments[:2], sample_weight=weights),
        ]
        assert [series[name][index] for name in ("mse", "mae", "r2")] == pytest.approx(expected)


def test_r2_of_one_row_is_undefined_and_of_equal_values_zero() -> None:
    one = regression_metrics(np.array([1.0]), {"prediction": np.array([2.0])}, unit_weights(1))
    assert first_values(one)["r2"] is None
    equal = regression_metrics(np.array([3.0, 3.0]), {"prediction": np.array([3.0, 2.0])}, unit_weights(2))
    assert first_values(equal)["r2"] == 0


def test_regression_metrics_of_infinite_predictions_are_rejected() -> None:
    outputs = {"prediction": np.array([1.0, np.inf], np.float32)}
    with pytest.raises(DataError, match=r"not finite.*float32: use another unit"):
        regression_metrics(np.array([1.0, 2.0]), outputs, unit_weights(2))


def test_quantile_metrics_are_those_of_the_median_and_the_interval() -> None:
    target, levels = np.array([1.0, 2.0, 3.0, 10.0]), [0.1, 0.5, 0.9]
    predicted = np.array([[0, 1, 2], [1, 2, 4], [4, 5, 6], [0, 9, 20]], np.float32)
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]])
    metrics = quantile_metrics(target, {"prediction": predicted}, levels, weights)
    assert metrics["mae"][0] == 0.75
    assert metrics["coverage"].tolist() == [0.75, 0.5]
    losses = [
        sklearn_metrics.mean_pinball_loss(target, predicted[:, index], alpha=level)
        for index, level in enumerate(levels)
    ]
    assert metrics["pinball"][0] == pytest.approx(np.mean(losses))


def test_multi_target_metrics_are_means_over_the_targets() -> None:
    target, predicted = np.array([[0, 1], [1, 1], [1, 0]]), np.array([[0, 1], [1, 0], [1, 0]])
    outputs = {"label": predicted, "probabilities": np.array([[0.1, 0.9], [0.8, 0.3], [0.7, 0.4]])}
    metrics = first_values(multi_target_metrics(target, outputs, unit_weights(3)))
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["recall"] == pytest.approx((1 + 0.75) / 2)
    assert metrics["roc_auc"] == 0.75


def test_outlier_metrics_are_about_the_outliers() -> None:
    outputs = {"label": np.array([-1, -1, 1, 1]), "score": np.array([-0.5, -0.1, 0.1, 0.2], np.float32)}
    metrics = first_values(outlier_metrics(outputs, np.array([-1, 1, 1, 1]), unit_weights(4)))
    assert metrics == {"outlier_fraction": 0.5, "precision": 0.5, "recall": 1, "f1": 2 / 3, "roc_auc": 1}
    assert first_values(outlier_metrics(outputs, None, unit_weights(4)))["recall"] is None
