# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: metrics on each split, and whether the model overfits.

It computes metrics and compares them. The thresholds are in :mod:`tidegate_training.gates`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate_training.bundling.outputs import LABEL, PREDICTION
from tidegate_training.gates import ERROR_METRICS

Array = NDArray[Any]

Metrics = dict[str, float | None]

SLIGHT_GAP, CLEAR_GAP = 0.05, 0.10
"""Gaps of F1 or R² between training and test rows above which overfitting is slight, and clear."""

UNDERFITTING_BELOW = {"f1": 0.6, "r2": 0.3}
"""By metric, the value on the training rows below which a model underfits."""


@dataclass(frozen=True, slots=True)
class Overfitting:
    """A verdict on the gap between training and test rows.

    Attributes:
        verdict: ``no``, ``slight`` (gap above 0.05), ``clear`` (above 0.10), or ``underfitting``.
        metric: The compared metric: F1 of a classification, R² of a regression.
        gap: The metric on the training rows minus the metric on the test rows.
        text: The verdict as a sentence, with advice.
    """

    verdict: Literal["no", "slight", "clear", "underfitting"]
    metric: str
    gap: float
    text: str


def classification_metrics(
    target: Array,
    outputs: Mapping[str, Array],
    labels: list[Any],
    positive_label: Any,
    weights: Array | None = None,
) -> Metrics:
    """Compute accuracy, precision, recall, F1 and ROC AUC.

    With more than two classes, precision, recall and F1 are means over the classes, and ROC AUC is the mean
    of each class against the rest.

    Args:
        target: ``[rows]``, the true classes.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs.
        labels: All classes, in the order of the score columns.
        positive_label: The class, of two, that the metrics are about.
        weights: ``[rows]``, how much each row counts; by default each counts 1.
    """
    from sklearn import metrics

    predicted = outputs[LABEL].astype(target.dtype)
    if len(labels) == 2:
        average: dict[str, Any] = {"average": "binary", "pos_label": positive_label}
    else:
        average = {"average": "macro", "labels": labels}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        target, predicted, zero_division=0.0, sample_weight=weights, **average
    )
    return {
        "accuracy": float(metrics.accuracy_score(target, predicted, sample_weight=weights)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": _roc_auc(target, class_scores(outputs, labels), labels, positive_label, weights),
    }


def regression_metrics(target: Array, outputs: Mapping[str, Array], weights: Array | None = None) -> Metrics:
    """Compute mean squared error, its root, mean absolute error, and R².

    Args:
        target: ``[rows]``, the true values.
        outputs: By output, ``[rows]``: the model's outputs.
        weights: ``[rows]``, how much each row counts; by default each counts 1.

    Raises:
        DataError: If a prediction is outside the range of the output's type.
    """
    from sklearn import metrics

    if not np.isfinite(outputs[PREDICTION]).all():
        raise DataError(
            "The model predicts a number that is not finite in the output's type, "
            f"{outputs[PREDICTION].dtype}: use another unit for the target, or another algorithm."
        )
    predicted = outputs[PREDICTION].astype(np.float64)
    mse = float(metrics.mean_squared_error(target, predicted, sample_weight=weights))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(metrics.mean_absolute_error(target, predicted, sample_weight=weights)),
        "r2": float(metrics.r2_score(target, predicted, sample_weight=weights)) if len(target) > 1 else None,
    }


def metric_gaps(train: Metrics, test: Metrics) -> Metrics:
    """Return, by metric, how much worse the test rows are than the training rows; negative where better.

    >>> metric_gaps({"rmse": 1.0}, {"rmse": 1.5})
    {'rmse': 0.5}
    """
    gaps: Metrics = {}
    for name, train_value in train.items():
        test_value = test[name]
        if train_value is None or test_value is None:
            gaps[name] = None
        else:
            gaps[name] = test_value - train_value if name in ERROR_METRICS else train_value - test_value
    return gaps


def assess_overfitting(task: str, train: Metrics, test: Metrics) -> Overfitting:
    """Compare F1 or R² on training and test rows, and give advice.

    Args:
        task: The task, which decides the metric.
        train: The metrics on the training rows.
        test: The metrics on the test rows.
    """
    metric = "f1" if task == "classification" else "r2"
    train_value, test_value = train[metric], test[metric]
    name = {"f1": "F1", "r2": "R²"}[metric]
    if train_value is None or test_value is None:
        text = f"Overfitting is unknown: {name} is not defined on both training and test rows."
        return Overfitting("no", metric, 0.0, text)
    gap = train_value - test_value
    measured = f"{name} is {train_value:.3f} on the training rows and {test_value:.3f} on the test rows"
    if gap > SLIGHT_GAP:
        verdict: Literal["slight", "clear"] = "clear" if gap > CLEAR_GAP else "slight"
        return Overfitting(
            verdict,
            metric,
            gap,
            f"{verdict.capitalize()} overfitting: {measured}. Try more data, stronger L1 or L2 "
            "regularization, or a simpler model (fewer features, shallower trees).",
        )
    if train_value < UNDERFITTING_BELOW[metric]:
        return Overfitting(
            "underfitting",
            metric,
            gap,
            f"Underfitting: {measured}. Try more informative features, weaker regularization, or a more "
            "flexible model.",
        )
    return Overfitting("no", metric, gap, f"No overfitting: {measured}.")


def class_scores(outputs: Mapping[str, Array], labels: list[Any]) -> Array:
    """Return the score of each class, ``[rows, classes]``; a margin is the score of the second of two."""
    scores = next(values for name, values in outputs.items() if name != LABEL).astype(np.float64)
    if scores.shape[1] == 1 and len(labels) == 2:
        return np.concatenate([-scores, scores], axis=1)
    return scores


def _roc_auc(
    target: Array, scores: Array, labels: list[Any], positive_label: Any, weights: Array | None
) -> float | None:
    """Return the area under the ROC curve; None if no row of a class counts: its rate is undefined."""
    from sklearn.metrics import roc_auc_score

    counted = target if weights is None else target[weights > 0]
    if len(np.unique(counted)) < len(labels):
        return None
    compared = [positive_label] if len(labels) == 2 else labels
    areas = [
        roc_auc_score(target == label, scores[:, labels.index(label)], sample_weight=weights)
        for label in compared
    ]
    return float(np.mean(areas))
