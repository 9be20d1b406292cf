# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Breakdowns of an evaluation: by class, by group, and by predicted probability.

Groups with few rows are one row of the table, because their metrics would be about single persons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.outputs import LABEL, PROBABILITIES
from tidegate_training.bundling.features import Indices
from tidegate_training.evaluation.estimates import Estimates, Evaluator, Outputs, decision_intervals
from tidegate_training.evaluation.intervals import Interval, Weights, bootstrap_interval, wilson_interval
from tidegate_training.evaluation.metrics import (
    CALIBRATION_BINS,
    MetricSeries,
    calibration_bins,
    class_codes,
    class_totals,
    point_estimates,
    positive_probabilities,
)

MIN_GROUP_ROWS = 10
"""Smallest number of rows of a group with metrics of its own."""
SMALL_GROUPS = "groups with few rows"


_SHOWN = (
    "selection_rate",
    "recall",
    "false_positive_rate",
    "precision",
    "ndcg",
    "popularity_ndcg",
    "mae",
    "mean_error",
    "r2",
    "accuracy",
    "f1",
    "outlier_fraction",
    "silhouette",
    "adjusted_rand",
)
_MAX_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Grouping:
    """The group of each row of the data.

    Attributes:
        names: The names of the groups, in the order of the table.
        codes: ``[data_rows]``, the position of each row's group among the names.
    """

    names: tuple[str, ...]
    codes: Indices


@dataclass(frozen=True, slots=True)
class Group:
    """The metrics of the rows of a class, or of a group.

    Attributes:
        column: The column of the group; None for a class.
        name: The class or the group.
        estimates: The metrics.
    """

    column: str | None
    name: str
    estimates: Estimates

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON values."""
        rows = self.estimates.rows
        return {"column": self.column, "name": self.name, "rows": rows, **self.estimates.to_json()}


def shown_metrics(groups: Sequence[Group]) -> list[str]:
    """Return the metrics that tables and plots of groups show; ``metrics.json`` has all of them."""
    known = [
        name for name in _SHOWN if any(group.estimates.metrics.get(name) is not None for group in groups)
    ]
    return known[:_MAX_SHOWN]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows with about the same predicted probability.

    Attributes:
        rows: The number of rows.
        predicted: The mean predicted probability.
        observed: The fraction of rows of the predicted class.
        interval: The interval of the fraction; None if rows do not count alike.
    """

    rows: int
    predicted: float
    observed: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The breakdown of the metrics of one split."""

    classes: tuple[Group, ...] = ()
    groups: tuple[Group, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()

    @property
    def groups_by_column(self) -> dict[str, list[Group]]:
        """The groups of each column."""
        by_column: dict[str, list[Group]] = {}
        for group in self.groups:
            by_column.setdefault(str(group.column), []).append(group)
        return by_column


def break_down(
    evaluator: Evaluator, rows: Indices, outputs: Outputs, groups: Mapping[str, Grouping]
) -> Breakdown:
    """Break the metrics of some rows down.

    Args:
        evaluator: The model.
        rows: The numbers of the rows, ``[rows]``.
        outputs: The model's outputs for these rows.
        groups: The groups by column.
    """
    model = evaluator.model
    has_classes = model.task == "classification" and bool(model.labels) and model.target is not None
    return Breakdown(
        _by_class(evaluator, rows, outputs) if has_classes else (),
        tuple(
            group
            for column, grouping in groups.items()
            for group in _by_group(evaluator, rows, outputs, column, grouping)
        ),
        _by_probability(evaluator, rows, outputs) if has_classes and PROBABILITIES in outputs else (),
    )


def _by_class(evaluator: Evaluator, rows: Indices, outputs: Outputs) -> tuple[Group, ...]:
    model = evaluator.model
    assert model.target is not None  # the caller's condition
    actual, predicted = (class_codes(values, model.labels) for values in (model.target[rows], outputs[LABEL]))
    base = None if model.weights is None else model.weights[rows]
    n_classes = len(model.labels)

    def statistic(positions: Indices, weights: Weights) -> MetricSeries:
        counted = weights if base is None else weights * base[positions]
        totals = class_totals(actual[positions], predicted[positions], n_classes, counted)
        series = {"precision": totals.precision, "recall": totals.recall, "f1": totals.f1}
        return {
            f"{name} {code}": values[:, code] for name, values in series.items() for code in range(n_classes)
        }

    metrics = point_estimates(statistic, len(rows))
    series = {} if evaluator.are_rows_alike else evaluator.bootstrap(rows).resample(statistic, metrics)
    groups = []
    for code, label in enumerate(model.labels):
        own = {name: metrics[f"{name} {code}"] for name in ("precision", "recall", "f1")}
        if evaluator.are_rows_alike:
            intervals = decision_intervals(actual == code, predicted == code)
        else:
            intervals = {name: bootstrap_interval(series[f"{name} {code}"], own[name]) for name in own}
        estimates = Estimates(int((actual == code).sum()), own, {name: intervals[name] for name in own})
        groups.append(Group(None, str(label), estimates))
    return tuple(groups)


def _by_group(
    evaluator: Evaluator, rows: Indices, outputs: Outputs, column: str, grouping: Grouping
) -> list[Group]:
    """Return the metrics of each group of a column, and of all small groups together.

    Args:
        evaluator: The model.
        rows: The numbers of the rows, ``[rows]``.
        outputs: The model's outputs for these rows.
        column: The column.
        grouping: The groups of the column.
    """
    codes = grouping.codes[rows]
    counts = np.bincount(codes, minlength=len(grouping.names))
    masks = {
        name: codes == code for code, name in enumerate(grouping.names) if counts[code] >= MIN_GROUP_ROWS
    }
    is_small = counts[codes] < MIN_GROUP_ROWS
    if is_small.any():
        masks[SMALL_GROUPS] = is_small
    return [
        Group(
            column,
            name,
            evaluator.estimate(
                rows[mask], {key: array[mask] for key, array in outputs.items()}, by_group=True
            ),
        )
        for name, mask in masks.items()
    ]


def _by_probability(evaluator: Evaluator, rows: Indices, outputs: Outputs) -> tuple[CalibrationBin, ...]:
    """Return the reliability curve: the bins of the calibration error that have rows."""
    model = evaluator.model
    assert model.target is not None  # the caller's condition
    actual = class_codes(model.target[rows], model.labels)
    positive = model.labels.index(evaluator.positive_label) if evaluator.is_binary else None
    probabilities, is_right = positive_probabilities(
        actual, outputs[PROBABILITIES].astype(np.float64), positive
    )
    weights = np.ones(len(rows)) if model.weights is None else model.weights[rows]
    bin_of = calibration_bins(probabilities)
    bins = []
    for number in range(CALIBRATION_BINS):
        inside = bin_of == number
        total = weights[inside].sum()
        if total > 0:
            observed = float(weights[inside] @ is_right[inside] / total)
            interval = (
                wilson_interval(is_right[inside].sum(), inside.sum()) if evaluator.are_rows_alike else None
            )
            predicted = float(weights[inside] @ probabilities[inside] / total)
            bins.append(CalibrationBin(int(inside.sum()), predicted, observed, interval))
    return tuple(bins)
