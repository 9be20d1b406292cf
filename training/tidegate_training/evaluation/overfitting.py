# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Overfitting: the gap between the metrics of training and test rows, and a verdict on it.

It compares numbers and reads no rows. :mod:`tidegate_training.evaluation.estimates` computes the metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tidegate.contract import Task
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.metrics import Metrics, improvements

COMPARED_METRICS: Mapping[Task, str] = {"classification": "f1", "regression": "r2"}
"""By task, the metric of verdicts on the fit of a model; other tasks have none."""

METRIC_NAMES = {"f1": "F1", "r2": "R²"}
"""The names of these metrics in sentences and plots."""

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
        interval: The interval of the gap; None if it is not defined.
    """

    verdict: Literal["no", "slight", "clear", "underfitting"]
    metric: str
    gap: float
    text: str
    interval: Interval | None = None


def metric_gaps(train: Metrics, test: Metrics) -> Metrics:
    """Return, by metric, how much worse the test rows are than the training rows; negative where better.

    >>> metric_gaps({"rmse": 1.0}, {"rmse": 1.5})
    {'rmse': 0.5}
    """
    return improvements(train, test)


def assess_overfitting(
    task: Task, train: Metrics, test: Metrics, intervals: Mapping[str, Interval | None] | None = None
) -> Overfitting | None:
    """Compare F1 or R² on training and test rows, and give advice; None for a task without both.

    Args:
        task: The task, which decides the metric.
        train: The metrics on the training rows.
        test: The metrics on the test rows.
        intervals: The interval of the gap by metric, for the sentence. The verdict depends on the gap alone.
    """
    metric = COMPARED_METRICS.get(task)
    if metric is None:
        return None
    train_value, test_value = train[metric], test[metric]
    name, interval = METRIC_NAMES[metric], (intervals or {}).get(metric)
    if train_value is None or test_value is None:
        text = f"Overfitting is unknown: {name} is not defined on both training and test rows."
        return Overfitting("no", metric, 0.0, text)
    gap = train_value - test_value
    measured = f"{name} is {train_value:.3f} on the training rows and {test_value:.3f} on the test rows"
    if interval is not None:
        measured += f", a gap of {gap:.3f} (95 % interval {interval.low:.3f} to {interval.high:.3f})"
    if gap > SLIGHT_GAP:
        verdict: Literal["slight", "clear"] = "clear" if gap > CLEAR_GAP else "slight"
        return Overfitting(
            verdict,
            metric,
            gap,
            f"{verdict.capitalize()} overfitting: {measured}. Try more data, stronger L1 or L2 "
            "regularization, or a simpler model (fewer features, shallower trees).",
            interval,
        )
    if train_value < UNDERFITTING_BELOW[metric]:
        return Overfitting(
            "underfitting",
            metric,
            gap,
            f"Underfitting: {measured}. Try more informative features, weaker regularization, or a more "
            "flexible model.",
            interval,
        )
    return Overfitting("no", metric, gap, f"No overfitting: {measured}.", interval)
