# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of each task, for one weighting of the rows or for many at once.

Each function takes weights ``[resamples, rows]`` and returns metrics ``[resamples]``. The metric of the rows
and the bootstrap of its interval are therefore one definition. NaN marks a metric that is not defined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate.outputs import LABEL, PREDICTION, PROBABILITIES, SCORE
from tidegate_training.bundling.features import Indices
from tidegate_training.bundling.outputs import OUTLIER, QUANTILE
from tidegate_training.evaluation.intervals import Series, Statistic, Weights
from tidegate_training.gates import ERROR_METRICS

Array = NDArray[Any]
Floats = NDArray[np.float64]
Metrics = dict[str, float | None]
MetricSeries = dict[str, Series]
Value = TypeVar("Value", float, Series)

CALIBRATION_BINS = 10
"""Number of bins of equal width of the calibration error and of the reliability curve."""

MAX_SILHOUETTE_ROWS = 2_000
"""Largest number of rows of the silhouette, whose cost grows with the square of the rows."""


MAX_RESAMPLED_CURVES = 20
"""Largest number of classes whose curves are resampled, to bound the time; others have no interval."""

_ROUNDING = 1e-12
"""Calibration error below which probabilities equal frequencies, except for the last bits of the sums."""


def unit_weights(rows: int) -> Weights:
    """Return one resample in which each row counts 1, ``[1, rows]``."""
    return np.ones((1, rows))


def first_values(series: Mapping[str, Series]) -> Metrics:
    """Return the metrics of the first resample; None where a metric is not defined."""
    return {name: float(values[0]) if np.isfinite(values[0]) else None for name, values in series.items()}


def point_estimates(statistic: Statistic, n_rows: int) -> Metrics:
    """Return the metrics of the rows themselves, of which each counts 1; None if not defined."""
    return first_values(statistic(np.arange(n_rows), unit_weights(n_rows)))


def improvement(metric: str, value: Value, baseline: Value) -> Value:
    """Return how much better a value of a metric is than another one; negative where it is worse.

    Args:
        metric: The metric, which decides whether lower is better.
        value: The value, or the value of each resample, ``[resamples]``.
        baseline: The other one.
    """
    return baseline - value if metric in ERROR_METRICS else value - baseline


def improvements(values: Metrics, baseline: Metrics) -> Metrics:
    """Return, by metric of the baseline, how much better the values are; None where one is not defined."""
    return {
        name: None if (value := values[name]) is None or other is None else improvement(name, value, other)
        for name, other in baseline.items()
    }


@dataclass(frozen=True, slots=True)
class ClassTotals:
    """Total weights by class, ``[resamples, classes]`` each."""

    actual: Floats
    predicted: Floats
    true_positives: Floats

    @property
    def precision(self) -> Floats:
        """The precision, ``[resamples, classes]``; 0 for a class that is never predicted."""
        return ratio(self.true_positives, self.predicted)

    @property
    def recall(self) -> Floats:
        """The recall, ``[resamples, classes]``; 0 for a class without rows."""
        return ratio(self.true_positives, self.actual)

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall, ``[resamples, classes]``."""
        return ratio(2 * self.true_positives, self.actual + self.predicted)


def class_totals(actual: Indices, predicted: Indices, n_classes: int, weights: Weights) -> ClassTotals:
    """Sum weights by class.

    Args:
        actual: ``[rows]``, the number of the true class.
        predicted: ``[rows]``, the number of the predicted class.
        n_classes: The number of classes.
        weights: ``[resamples, rows]``.
    """
    is_correct = actual == predicted
    return ClassTotals(
        _sum_by_code(weights, actual, n_classes),
        _sum_by_code(weights, predicted, n_classes),
        _sum_by_code(weights[:, is_correct], actual[is_correct], n_classes),
    )


def class_codes(values: Array, labels: Sequence[Any]) -> Indices:
    """Return the position of each class among the labels, ``[rows]``; a text names an integer too."""
    known = np.asarray(labels)
    if not (known.dtype.kind == values.dtype.kind == "i"):
        known, values = known.astype(str), values.astype(str)
    order = np.argsort(known)
    return np.asarray(order[np.searchsorted(known[order], values)])


def class_scores(outputs: Mapping[str, Array], labels: Sequence[Any]) -> Floats | None:
    """Return one score per class, ``[rows, classes]``, higher for a more likely class; None without scores.

    A margin is the score of the second of two classes.
    """
    values = next((values for name, values in outputs.items() if name != LABEL), None)
    if values is None:
        return None
    scores = values.astype(np.float64)
    if scores.shape[1] == 1 and len(labels) == 2:
        return np.concatenate([-scores, scores], axis=1)
    return scores


def choose_positive_label(label: Any, labels: Sequence[Any]) -> Any:
    """Return the positive class; by default the second of two, as in scikit-learn, and None of more."""
    return labels[1] if label is None and len(labels) == 2 else label


def classification_metrics(
    target: Array,
    outputs: Mapping[str, Array],
    labels: Sequence[Any],
    positive_label: Any,
    weights: Weights,
    costs: Floats | None = None,
) -> MetricSeries:
    """Compute accuracy, precision, recall, F1, areas under curves, calibration and cost.

    With more than two classes, precision, recall and F1 are means over the classes, and the areas under the
    ROC curve and the precision-recall curve are means of each class against the rest. The metrics of scores
    are NaN without scores, and those of calibration without probabilities.

    Args:
        target: ``[rows]``, the true classes.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs.
        labels: All classes, in the order of the score columns.
        positive_label: The class, of two, that the metrics are about.
        weights: ``[resamples, rows]``, how much each row counts.
        costs: ``[classes, classes]``, the cost of a row by its true and its predicted class. The metric
            ``cost`` is the mean over the rows.
    """
    actual, predicted = class_codes(target, labels), class_codes(outputs[LABEL], labels)
    totals = class_totals(actual, predicted, len(labels), weights)
    of_interest = [list(labels).index(positive_label)] if len(labels) == 2 else list(range(len(labels)))
    total = weights.sum(axis=1)
    metrics = {
        "accuracy": ratio(totals.true_positives.sum(axis=1), total),
        "precision": totals.precision[:, of_interest].mean(axis=1),
        "recall": totals.recall[:, of_interest].mean(axis=1),
        "f1": totals.f1[:, of_interest].mean(axis=1),
    }
    scores = class_scores(outputs, labels)
    undefined = np.full(len(weights), np.nan)
    is_bounded = len(weights) == 1 or len(of_interest) <= MAX_RESAMPLED_CURVES
    areas = (
        [curve_areas(actual == code, scores[:, code], weights) for code in of_interest]
        if scores is not None and is_bounded
        else []
    )
    for name in ("roc_auc", "average_precision"):
        metrics[name] = np.mean([area[name] for area in areas], axis=0) if areas else undefined
    probabilities = outputs.get(PROBABILITIES)
    if probabilities is None:
        metrics |= {"brier": undefined, "ece": undefined}
    else:
        positive = of_interest[0] if len(labels) == 2 else None
        metrics |= calibration_metrics(actual, probabilities.astype(np.float64), positive, weights)
    if costs is not None:
        metrics["cost"] = weights @ costs[actual, predicted] / total
    return metrics


def decision_rates(actual: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: Weights) -> MetricSeries:
    """Compute the rates by which groups are compared; NaN without rows that a rate is a fraction of.

    A group without positive rows has no recall, whereas :func:`classification_metrics` has the recall 0.

    Args:
        actual: ``[rows]``, whether a row has the positive class.
        predicted: ``[rows]``, whether the model chooses it.
        weights: ``[resamples, rows]``, how much each row counts.
    """
    hits, selected = weights @ (actual & predicted), weights @ predicted
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "selection_rate": selected / weights.sum(axis=1),
            "recall": hits / (weights @ actual),
            "false_positive_rate": weights @ (predicted & ~actual) / (weights @ ~actual),
            "precision": hits / selected,
        }


def curve_areas(is_positive: NDArray[np.bool_], scores: Floats, weights: Weights) -> MetricSeries:
    """Compute the area under the ROC curve and the average precision; NaN unless both classes have rows.

    Args:
        is_positive: ``[rows]``, whether a row has the positive class.
        scores: ``[rows]``, higher for a more likely positive row.
        weights: ``[resamples, rows]``.
    """
    order = np.argsort(scores, kind="stable")
    ties = np.flatnonzero(np.append(True, np.diff(scores[order]) > 0))
    ordered = weights[:, order]
    total = np.add.reduceat(ordered, ties, axis=1)
    positive = np.add.reduceat(ordered * is_positive[order], ties, axis=1)
    negative = total - positive
    positives, negatives = positive.sum(axis=1), negative.sum(axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        roc_auc = (positive * below).sum(axis=1) / (positives * negatives)
        from_top = np.cumsum(total[:, ::-1], axis=1)
        precision = np.cumsum(positive[:, ::-1], axis=1) / from_top
        gained = np.where(from_top > 0, positive[:, ::-1] * precision, 0)
        average_precision = gained.sum(axis=1) / positives
    defined = (positives > 0) & (negatives > 0)
    return {
        "roc_auc": np.where(defined, roc_auc, np.nan),
        "average_precision": np.where(defined, average_precision, np.nan),
    }


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of the ROC and the precision-recall curve of one class, ``[points]`` each.

    Attributes:
        false_positive_rate: From 0 to 1.
        recall: The true positive rate, from 0 to 1.
        precision: The precision at each point.
        prevalence: The fraction of rows with the class, which is the precision of a random choice.
    """

    false_positive_rate: Floats
    recall: Floats
    precision: Floats
    prevalence: float


def curve_points(is_positive: NDArray[np.bool_], scores: Floats, weights: Floats) -> Curve:
    """Return the curves over all thresholds.

    Args:
        is_positive: ``[rows]``, whether a row has the class. Both kinds of rows have to count.
        scores: ``[rows]``, higher for a more likely row of the class.
        weights: ``[rows]``, how much each row counts.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true_positives = np.cumsum((weights * is_positive)[order])[last_of_tie]
    false_positives = np.cumsum((weights * ~is_positive)[order])[last_of_tie]
    selected = true_positives + false_positives
    precision = np.divide(true_positives, selected, out=np.ones_like(selected), where=selected > 0)
    return Curve(
        np.append(0.0, false_positives / false_positives[-1]),
        np.append(0.0, true_positives / true_positives[-1]),
        np.append(precision[0], precision),
        float(true_positives[-1] / selected[-1]),
    )


def calibration_metrics(
    actual: Indices, probabilities: Floats, positive: int | None, weights: Weights
) -> MetricSeries:
    """Compute the Brier score and the expected calibration error.

    The Brier score of two classes is the mean square of the positive class's error; of more classes it is the
    sum over the classes. The calibration error (ECE) is the mean distance, over bins of equal width, between
    the predicted probability and the observed frequency: of the positive class of two, or of the predicted
    class of more (Guo et al., "On Calibration of Modern Neural Networks", 2017).

    Args:
        actual: ``[rows]``, the number of the true class.
        probabilities: ``[rows, classes]``.
        positive: The number of the positive class of two; None for more classes.
        weights: ``[resamples, rows]``.
    """
    confidence, is_right = positive_probabilities(actual, probabilities, positive)
    if positive is None:
        is_actual = np.arange(probabilities.shape[1]) == actual[:, np.newaxis]
        squares = ((probabilities - is_actual) ** 2).sum(axis=1)
    else:
        squares = (confidence - is_right) ** 2
    bins = calibration_bins(confidence)
    distances = _sum_by_code(weights * (confidence - is_right), bins, CALIBRATION_BINS)
    total = weights.sum(axis=1)
    ece = np.abs(distances).sum(axis=1) / total
    return {"brier": weights @ squares / total, "ece": np.where(ece < _ROUNDING, 0.0, ece)}


def positive_probabilities(
    actual: Indices, probabilities: Floats, positive: int | None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the probability that calibration is about, and whether its class is the true one, ``[rows]``.

    Args:
        actual: ``[rows]``, the number of the true class.
        probabilities: ``[rows, classes]``.
        positive: The number of the positive class of two; None takes the predicted class of each row.
    """
    codes = np.argmax(probabilities, axis=1) if positive is None else np.full(len(actual), positive)
    return probabilities[np.arange(len(actual)), codes], codes == actual


def calibration_bins(probabilities: Floats) -> Indices:
    """Return the bin of each probability, ``[rows]``; the last bin has the probability 1 too."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)


def regression_metrics(target: Array, outputs: Mapping[str, Array], weights: Weights) -> MetricSeries:
    """Compute mean squared error, its root, mean absolute error, and R².

    Of several targets, the squared and absolute errors and R² are means over the targets.

    Args:
        target: ``[rows]`` or ``[rows, targets]``, the true values.
        outputs: By output, ``[rows]`` or ``[rows, targets]``: the model's outputs.
        weights: ``[resamples, rows]``, how much each row counts.

    Raises:
        DataError: If a prediction is outside the range of the output's type.
    """
    if not np.isfinite(outputs[PREDICTION]).all():
        raise DataError(
            "The model predicts a number that is not finite in the output's type, "
            f"{outputs[PREDICTION].dtype}: use another unit for the target, or another algorithm."
        )
    errors = (target - outputs[PREDICTION].astype(np.float64)).reshape(len(target), -1)
    values = np.asarray(target, np.float64).reshape(len(target), -1)
    values = values - values.mean(axis=0)
    total = weights.sum(axis=1, keepdims=True)
    squares = weights @ errors**2
    variation = weights @ values**2 - (weights @ values) ** 2 / total
    mse = (squares / total).mean(axis=1)
    # As in scikit-learn, R² of equal values is 1 if each prediction is exact, and otherwise 0.
    explained = np.where(
        variation > 1e-12 * (weights @ values**2), 1 - ratio(squares, variation), squares == 0
    )
    is_defined = (weights > 0).sum(axis=1) > 1
    return {
        "mse": mse,
        "rmse": np.sqrt(mse),
        "mae": (weights @ np.abs(errors) / total).mean(axis=1),
        "r2": np.where(is_defined, explained.mean(axis=1), np.nan),
    }


def mean_error(target: Array, outputs: Mapping[str, Array], weights: Weights) -> MetricSeries:
    """Compute the mean of prediction minus true value, which is positive where predictions are too high.

    Args:
        target: ``[rows]``, the true values.
        outputs: By output, ``[rows]``: the model's outputs.
        weights: ``[resamples, rows]``, how much each row counts.
    """
    errors = outputs[PREDICTION].astype(np.float64) - target
    return {"mean_error": weights @ errors / weights.sum(axis=1)}


def quantile_levels(labels: Sequence[int | str]) -> list[float]:
    """Return the levels of the quantiles in the columns of an output; none for other columns."""
    names = [str(label) for label in labels]
    if not names or not all(name.startswith(QUANTILE) for name in names):
        return []
    return [float(name.removeprefix(QUANTILE)) for name in names]


def quantile_metrics(
    target: Array, outputs: Mapping[str, Array], levels: Sequence[float], weights: Weights
) -> MetricSeries:
    """Compute the metrics of the quantile next to the median, the pinball loss and the coverage.

    The pinball loss is a mean over the quantiles. The coverage is the fraction of rows from the lowest to the
    highest quantile.

    Args:
        target: ``[rows]``, the true values.
        outputs: By output, ``[rows, quantiles]``: the model's outputs.
        levels: The levels of the quantiles, between 0 and 1.
        weights: ``[resamples, rows]``, how much each row counts.
    """
    predicted = outputs[PREDICTION].astype(np.float64)
    median = int(np.argmin(np.abs(np.asarray(levels) - 0.5)))
    metrics = regression_metrics(target, {PREDICTION: outputs[PREDICTION][:, median]}, weights)
    errors = target[:, np.newaxis] - predicted
    losses = np.maximum(np.asarray(levels) * errors, (np.asarray(levels) - 1) * errors).mean(axis=1)
    total = weights.sum(axis=1)
    covered = is_covered(target, predicted, levels)
    return {**metrics, "pinball": weights @ losses / total, "coverage": weights @ covered / total}


def is_covered(target: Array, predicted: Floats, levels: Sequence[float]) -> NDArray[np.bool_]:
    """Return whether a value is from the lowest to the highest quantile, ``[rows]``.

    Args:
        target: ``[rows]``, the true values.
        predicted: ``[rows, quantiles]``.
        levels: The levels of the quantiles.
    """
    lowest, highest = predicted[:, int(np.argmin(levels))], predicted[:, int(np.argmax(levels))]
    return np.asarray((lowest <= target) & (target <= highest))


def multi_target_metrics(target: Array, outputs: Mapping[str, Array], weights: Weights) -> MetricSeries:
    """Compute the metrics of a classification with several targets.

    The accuracy is the fraction of rows whose targets are all correct. The other metrics are means over the
    targets, each a mean over its classes; ROC AUC exists for targets of two classes.

    Args:
        target: ``[rows, targets]``, the true classes.
        outputs: By output, ``[rows, width]``: the model's outputs.
        weights: ``[resamples, rows]``, how much each row counts.
    """
    predicted = outputs[LABEL].astype(target.dtype)
    by_target = []
    for column in range(target.shape[1]):
        labels = np.unique(np.concatenate([target[:, column], predicted[:, column]]))
        actual, chosen = (class_codes(values[:, column], labels.tolist()) for values in (target, predicted))
        by_target.append(class_totals(actual, chosen, len(labels), weights))
    scores = outputs.get(PROBABILITIES)
    areas = []
    if scores is not None and scores.shape == target.shape and np.isin(target, (0, 1)).all():
        areas = [
            curve_areas(target[:, column] == 1, scores[:, column].astype(np.float64), weights)["roc_auc"]
            for column in range(target.shape[1])
            if len(np.unique(target[:, column])) == 2
        ]
    is_correct = (predicted == target).all(axis=1)
    return {
        "accuracy": weights @ is_correct / weights.sum(axis=1),
        "precision": np.mean([totals.precision.mean(axis=1) for totals in by_target], axis=0),
        "recall": np.mean([totals.recall.mean(axis=1) for totals in by_target], axis=0),
        "f1": np.mean([totals.f1.mean(axis=1) for totals in by_target], axis=0),
        "roc_auc": np.mean(areas, axis=0) if areas else np.full(len(weights), np.nan),
    }


def outlier_metrics(outputs: Mapping[str, Array], target: Array | None, weights: Weights) -> MetricSeries:
    """Compute the fraction of outliers and, with true labels, the metrics of the class of outliers.

    Args:
        outputs: By output, ``[rows]``: the model's outputs.
        target: ``[rows]`` of -1 for an outlier and 1 for any other row; None if unknown.
        weights: ``[resamples, rows]``, how much each row counts.
    """
    names = ("precision", "recall", "f1", "roc_auc")
    undefined = np.full(len(weights), np.nan)
    fraction = weights @ (outputs[LABEL] == OUTLIER) / weights.sum(axis=1)
    if target is None:
        return {"outlier_fraction": fraction, **dict.fromkeys(names, undefined)}
    target = np.where(target == OUTLIER, OUTLIER, 1)
    shown = {LABEL: outputs[LABEL]}
    if SCORE in outputs:
        shown[SCORE] = outputs[SCORE][:, np.newaxis]
    metrics = classification_metrics(target, shown, [OUTLIER, 1], OUTLIER, weights)
    return {"outlier_fraction": fraction, **{name: metrics[name] for name in names}}


def silhouettes(points: Array, labels: Array) -> Floats:
    """Return the silhouette of at most 2,000 rows, ``[rows]``; NaN of every other row.

    Args:
        points: ``[rows, columns]``, the rows as the clustering estimator receives them.
        labels: ``[rows]``, the cluster of each row.
    """
    from sklearn.metrics import silhouette_samples

    values = np.full(len(labels), np.nan)
    step = max(1, -(-len(labels) // MAX_SILHOUETTE_ROWS))
    seen = labels[::step]
    # From scikit-learn: a silhouette needs two clusters, and one of them with two rows.
    if 2 <= len(np.unique(seen)) < len(seen):
        values[::step] = silhouette_samples(points[::step], seen)
    return values


def clustering_metrics(
    labels: Array, silhouette: Floats, target: Array | None, weights: Weights
) -> MetricSeries:
    """Compute the number of clusters, the mean silhouette, and the agreement with known groups.

    The number of clusters and the agreement are those of each row once.

    Args:
        labels: ``[rows]``, the cluster of each row.
        silhouette: ``[rows]``, the silhouette of each row; NaN for rows that do not count.
        target: ``[rows]``, known groups; None if unknown.
        weights: ``[resamples, rows]``, how much each row counts in the silhouette.
    """
    from sklearn.metrics import adjusted_rand_score

    is_known = np.isfinite(silhouette)
    counted = weights[:, is_known]
    with np.errstate(invalid="ignore"):
        mean = counted @ silhouette[is_known] / counted.sum(axis=1)
    agreement = np.nan if target is None else adjusted_rand_score(target, labels)
    return {
        "clusters": np.full(len(weights), float(len(np.unique(labels)))),
        "silhouette": mean,
        "adjusted_rand": np.full(len(weights), agreement),
    }


def _sum_by_code(weights: Floats, codes: Indices, n_codes: int) -> Floats:
    """Sum weights, ``[resamples, rows]``, by the codes of their rows, ``[resamples, codes]``."""
    sums = np.zeros((len(weights), n_codes))
    if len(codes):
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide arrays, such as ``[resamples, classes]``; 0 / 0 is 0, as in the metrics of scikit-learn."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
