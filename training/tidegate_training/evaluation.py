# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: how good the model is on each part, and whether it learned or learned by heart.

It measures and compares. What is good enough, the gates say.
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

SLIGHT, CLEAR = 0.05, 0.10
"""Of the metric that :func:`judge` goes by: gaps up to the first are usual, beyond the second they matter."""

POOR = {"f1": 0.6, "r2": 0.3}
"""Scores on the rows it was trained on below which a model has not learned enough to overfit."""


@dataclass(frozen=True, slots=True)
class Overfitting:
    """The verdict on the gap between the training part and the test part.

    Attributes:
        verdict: ``no``, ``slight`` (gap above 0.05), ``clear`` (above 0.10), or ``underfitting`` (poor).
        metric: The metric that was compared: F1 for classes, R² for values.
        gap: How much better it is on the training part.
        text: The verdict in words, with what to try.
    """

    verdict: Literal["no", "slight", "clear", "underfitting"]
    metric: str
    gap: float
    text: str


def classification_metrics(
    target: Array, answers: Mapping[str, Array], labels: list[Any], positive: Any
) -> Metrics:
    """Accuracy, precision, recall, F1 and ROC AUC.

    Args:
        target: ``[rows]``, the true classes.
        answers: The model's answers by output.
        labels: All classes, in the order of the score columns.
        positive: With two classes, the one that is looked for. With more, precision, recall and F1 are the
            mean over the classes, and ROC AUC the mean of each class against the rest.
    """
    from sklearn import metrics

    predicted = answers[LABEL].astype(target.dtype)
    if len(labels) == 2:
        average: dict[str, Any] = {"average": "binary", "pos_label": positive}
    else:
        average = {"average": "macro", "labels": labels}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        target, predicted, zero_division=0.0, **average
    )
    return {
        "accuracy": float(metrics.accuracy_score(target, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": _roc_auc(target, class_scores(answers, labels), labels, positive),
    }


def regression_metrics(target: Array, answers: Mapping[str, Array]) -> Metrics:
    """Mean squared error, its root, mean absolute error, and R².

    Raises:
        DataError: The model predicts numbers that the output's type does not have.
    """
    from sklearn import metrics

    if not np.isfinite(answers[PREDICTION]).all():
        raise DataError(
            f"The model predicts numbers beyond those of {answers[PREDICTION].dtype}, in which answers are "
            "given: use another unit for the target, or another algorithm."
        )
    predicted = answers[PREDICTION].astype(np.float64)
    mse = float(metrics.mean_squared_error(target, predicted))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(metrics.mean_absolute_error(target, predicted)),
        "r2": float(metrics.r2_score(target, predicted)) if len(target) > 1 else None,
    }


def gap_of(train: Metrics, test: Metrics) -> Metrics:
    """By metric, how much worse the test part is than the training part; negative where it is better.

    >>> gap_of({"rmse": 1.0}, {"rmse": 1.5})
    {'rmse': 0.5}
    """
    gap: Metrics = {}
    for name, ours in train.items():
        theirs = test[name]
        if ours is None or theirs is None:
            gap[name] = None
        else:
            gap[name] = theirs - ours if name in ERROR_METRICS else ours - theirs
    return gap


def judge(task: str, train: Metrics, test: Metrics) -> Overfitting:
    """Say whether the gap means overfitting, by a fixed rule, and what to try."""
    metric = "f1" if task == "classification" else "r2"
    ours, theirs = train[metric], test[metric]
    name = {"f1": "F1", "r2": "R²"}[metric]
    if ours is None or theirs is None:
        return Overfitting("no", metric, 0.0, f"{name} is not defined on both parts, so nothing can be said.")
    gap = ours - theirs
    measured = f"{name} is {ours:.3f} on the training part and {theirs:.3f} on the test part"
    if gap > SLIGHT:
        verdict: Literal["slight", "clear"] = "clear" if gap > CLEAR else "slight"
        return Overfitting(
            verdict,
            metric,
            gap,
            f"{verdict.capitalize()} overfitting: {measured}. Try more data, stronger L1 or L2 "
            "regularisation, or a simpler model (fewer features, shallower trees).",
        )
    if ours < POOR[metric]:
        return Overfitting(
            "underfitting",
            metric,
            gap,
            f"Underfitting: {measured}. Try more telling features, weaker regularisation, or a more flexible "
            "model.",
        )
    return Overfitting("no", metric, gap, f"No overfitting: {measured}.")


def class_scores(answers: Mapping[str, Array], labels: list[Any]) -> Array:
    """``[rows, classes]``, how much the model is for each class; a margin is for the second of two."""
    scores = next(values for name, values in answers.items() if name != LABEL).astype(np.float64)
    if scores.shape[1] == 1 and len(labels) == 2:
        return np.concatenate([-scores, scores], axis=1)
    return scores


def _roc_auc(target: Array, scores: Array, labels: list[Any], positive: Any) -> float | None:
    """The area under the ROC curve; None where a class has no row, as the curve then has no second axis."""
    from sklearn.metrics import roc_auc_score

    if len(np.unique(target)) < len(labels):
        return None
    looked_for = [positive] if len(labels) == 2 else labels
    areas = [roc_auc_score(target == label, scores[:, labels.index(label)]) for label in looked_for]
    return float(np.mean(areas))
