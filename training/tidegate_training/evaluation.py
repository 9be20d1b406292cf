# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: the metrics of each task, on rows that the caller chooses, and whether the model overfits.

It computes metrics and compares them. The thresholds are in :mod:`tidegate_training.gates`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Output, Task
from tidegate.errors import DataError
from tidegate.outputs import ITEMS, LABEL, PREDICTION, PROBABILITIES, SCORE
from tidegate_training.bundling.features import Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.outputs import OUTLIER, QUANTILE
from tidegate_training.gates import ERROR_METRICS, METRICS, GateResult
from tidegate_training.ranking import ranking_metrics

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


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation of a model on one split or several.

    Attributes:
        metrics: Metrics by split and name.
        sizes: Rows by split.
        outputs: By split and output, the model's outputs, ``[rows]`` or ``[rows, width]``.
        positive_label: The class, of two, that the metrics are about; None if there is none.
        gap: By metric, how much worse the test rows are than the training rows; empty without both.
        overfitting: The verdict on the gap; None for a task without one.
        gates: The result of each gate.
        warnings: The warnings of scikit-learn.
    """

    metrics: dict[str, Metrics]
    sizes: dict[str, int]
    outputs: dict[str, dict[str, Array]]
    positive_label: Any = None
    gap: Metrics = field(default_factory=dict)
    overfitting: Overfitting | None = None
    gates: list[GateResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


MAX_SILHOUETTE_ROWS = 2_000
"""Largest number of rows of the silhouette, whose cost grows with the square of the rows."""


def compute_metrics(
    model: FittedModel, rows: Indices, outputs: Mapping[str, Array], positive_label: Any = None
) -> Metrics:
    """Compute the metrics of a model's task.

    Args:
        model: The model.
        rows: The numbers of the rows, ``[rows]``.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs for these rows.
        positive_label: The class, of two, that the metrics are about. By default the second one, as in
            scikit-learn.

    Returns:
        Metrics by name. Those that need the true values of rows without them are None.

    Raises:
        DataError: If a prediction is outside the range of the output's type.
    """
    target = None if model.target is None else model.target[rows]
    weights = None if model.weights is None else model.weights[rows]
    if model.task == "clustering":
        return clustering_metrics(model.clustered_points(rows), outputs, target)
    if model.task == "outlier_detection":
        return outlier_metrics(outputs, target, weights)
    if target is None:
        return dict.fromkeys(METRICS[model.task])
    if model.task == "recommendation":
        return _recommendation_metrics(model, rows, target, outputs[ITEMS])
    if model.task == "regression":
        levels = _quantile_levels(model.outputs[0])
        return (
            quantile_metrics(target, outputs, levels, weights)
            if levels
            else regression_metrics(target, outputs, weights)
        )
    if not model.labels:
        return multi_target_metrics(target, outputs)
    labels = list(model.labels)
    positive_label = choose_positive_label(positive_label, labels)
    return classification_metrics(target, outputs, labels, positive_label, weights)


def _recommendation_metrics(model: FittedModel, rows: Indices, target: Array, items: Array) -> Metrics:
    """Rank the items of the interactions that the model may recommend.

    Args:
        model: The recommender, which excludes the items that a user has, if it is told to.
        rows: The numbers of the rows, ``[rows]``.
        target: ``[rows]``, the items of the interactions.
        items: ``[rows, k]``, the recommended items.
    """
    recommender, users = model.pipeline[-1], model.features.sklearn_rows(rows, model.layout)
    possible = ~recommender.is_excluded(users, target)
    if not possible.any():
        return dict.fromkeys(METRICS[model.task])
    return ranking_metrics(
        np.asarray(users)[possible, 0],
        target[possible],
        items[possible],
        popular=recommender.popular_items(users)[possible],
        n_items=len(recommender.items_),
    )


def choose_positive_label(label: Any, labels: Sequence[Any]) -> Any:
    """Return the positive class; by default the second of two, as in scikit-learn, and None of more."""
    return labels[1] if label is None and len(labels) == 2 else label


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

    Of several targets, the squared and absolute errors and R² are means over the targets.

    Args:
        target: ``[rows]`` or ``[rows, targets]``, the true values.
        outputs: By output, ``[rows]`` or ``[rows, targets]``: the model's outputs.
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


def _quantile_levels(prediction: Output) -> list[float]:
    """Return the levels of the quantiles in the columns of an output; none for other columns."""
    names = [str(label) for label in prediction.labels]
    if not names or not all(name.startswith(QUANTILE) for name in names):
        return []
    return [float(name.removeprefix(QUANTILE)) for name in names]


def quantile_metrics(
    target: Array, outputs: Mapping[str, Array], levels: Sequence[float], weights: Array | None = None
) -> Metrics:
    """Compute the metrics of the quantile next to the median, the pinball loss and the coverage.

    The pinball loss is a mean over the quantiles. The coverage is the fraction of rows from the lowest to the
    highest quantile.

    Args:
        target: ``[rows]``, the true values.
        outputs: By output, ``[rows, quantiles]``: the model's outputs.
        levels: The levels of the quantiles, between 0 and 1.
        weights: ``[rows]``, how much each row counts; by default each counts 1.
    """
    from sklearn.metrics import mean_pinball_loss

    predicted = outputs[PREDICTION].astype(np.float64)
    median = int(np.argmin(np.abs(np.asarray(levels) - 0.5)))
    metrics = regression_metrics(target, {PREDICTION: outputs[PREDICTION][:, median]}, weights)
    losses = [
        mean_pinball_loss(target, predicted[:, column], alpha=level, sample_weight=weights)
        for column, level in enumerate(levels)
    ]
    lowest, highest = predicted[:, int(np.argmin(levels))], predicted[:, int(np.argmax(levels))]
    is_covered = (lowest <= target) & (target <= highest)
    coverage = float(np.average(is_covered, weights=weights))
    return {**metrics, "pinball": float(np.mean(losses)), "coverage": coverage}


def multi_target_metrics(target: Array, outputs: Mapping[str, Array]) -> Metrics:
    """Compute the metrics of a classification with several targets.

    The accuracy is the fraction of rows whose targets are all correct. The other metrics are means over the
    targets, each a mean over its classes; ROC AUC exists for targets of two classes.

    Args:
        target: ``[rows, targets]``, the true classes.
        outputs: By output, ``[rows, width]``: the model's outputs.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    predicted = outputs[LABEL].astype(target.dtype)
    columns = range(target.shape[1])
    means = np.mean(
        [
            precision_recall_fscore_support(
                target[:, column], predicted[:, column], average="macro", zero_division=0.0
            )[:3]
            for column in columns
        ],
        axis=0,
    )
    scores = outputs.get(PROBABILITIES)
    roc_auc = None
    if scores is not None and scores.shape == target.shape and np.isin(target, (0, 1)).all():
        areas = [
            roc_auc_score(target[:, column], scores[:, column])
            for column in columns
            if len(np.unique(target[:, column])) == 2
        ]
        roc_auc = float(np.mean(areas)) if areas else None
    return {
        "accuracy": float((predicted == target).all(axis=1).mean()),
        "precision": float(means[0]),
        "recall": float(means[1]),
        "f1": float(means[2]),
        "roc_auc": roc_auc,
    }


def outlier_metrics(
    outputs: Mapping[str, Array], target: Array | None, weights: Array | None = None
) -> Metrics:
    """Compute the fraction of outliers and, with true labels, the metrics of the class of outliers.

    Args:
        outputs: By output, ``[rows]``: the model's outputs.
        target: ``[rows]`` of -1 for an outlier and 1 for any other row; None if unknown.
        weights: ``[rows]``, how much each row counts; by default each counts 1.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    fraction = float(np.average(outputs[LABEL] == OUTLIER, weights=weights))
    if target is None:
        return {"outlier_fraction": fraction, **dict.fromkeys(("precision", "recall", "f1", "roc_auc"))}
    precision, recall, f1, _ = precision_recall_fscore_support(
        target, outputs[LABEL], average="binary", pos_label=OUTLIER, zero_division=0.0, sample_weight=weights
    )
    is_outlier = target == OUTLIER
    counted = is_outlier if weights is None else is_outlier[weights > 0]
    scores = (
        -outputs[SCORE].astype(np.float64) if SCORE in outputs and 0 < counted.sum() < len(counted) else None
    )
    return {
        "outlier_fraction": fraction,
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": None
        if scores is None
        else float(roc_auc_score(is_outlier, scores, sample_weight=weights)),
    }


def clustering_metrics(points: Array, outputs: Mapping[str, Array], target: Array | None) -> Metrics:
    """Compute the number of clusters, the silhouette, and the agreement with known groups.

    Args:
        points: ``[rows, columns]``, the rows as the clustering estimator receives them.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs.
        target: ``[rows]``, known groups; None if unknown.
    """
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    labels = outputs[LABEL]
    step = max(1, -(-len(labels) // MAX_SILHOUETTE_ROWS))
    seen = labels[::step]
    # From scikit-learn: a silhouette needs two clusters, and one of them with two rows.
    defined = 2 <= len(np.unique(seen)) < len(seen)
    return {
        "clusters": float(len(np.unique(labels))),
        "silhouette": float(silhouette_score(points[::step], seen)) if defined else None,
        "adjusted_rand": None if target is None else float(adjusted_rand_score(target, labels)),
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


def assess_overfitting(task: Task, train: Metrics, test: Metrics) -> Overfitting | None:
    """Compare F1 or R² on training and test rows, and give advice; None for a task without both.

    Args:
        task: The task, which decides the metric.
        train: The metrics on the training rows.
        test: The metrics on the test rows.
    """
    if task not in ("classification", "regression"):
        return None
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


def class_scores(outputs: Mapping[str, Array], labels: list[Any]) -> Array | None:
    """Return the score of each class, ``[rows, classes]``; None if the model has labels alone.

    A margin is the score of the second of two classes.
    """
    values = next((values for name, values in outputs.items() if name != LABEL), None)
    if values is None:
        return None
    scores = values.astype(np.float64)
    if scores.shape[1] == 1 and len(labels) == 2:
        return np.concatenate([-scores, scores], axis=1)
    return scores


def _roc_auc(
    target: Array, scores: Array | None, labels: list[Any], positive_label: Any, weights: Array | None
) -> float | None:
    """Return the area under the ROC curve; None without scores, or if no row of a class counts."""
    from sklearn.metrics import roc_auc_score

    counted = target if weights is None else target[weights > 0]
    if scores is None or len(np.unique(counted)) < len(labels):
        return None
    compared = [positive_label] if len(labels) == 2 else labels
    areas = [
        roc_auc_score(target == label, scores[:, labels.index(label)], sample_weight=weights)
        for label in compared
    ]
    return float(np.mean(areas))
