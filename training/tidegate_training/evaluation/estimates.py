# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Estimates: the metrics of a model's task on rows that the caller chooses, with confidence intervals.

Proportions have Wilson's interval if rows are independent and count alike; every other metric is resampled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.outputs import ITEMS, LABEL, PREDICTION
from tidegate_training.bundling.features import Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.outputs import OUTLIER
from tidegate_training.evaluation.intervals import (
    Bootstrap,
    Interval,
    Series,
    Statistic,
    Weights,
    bootstrap_interval,
    f1_interval,
    intervals_to_json,
    wilson_interval,
)
from tidegate_training.evaluation.metrics import (
    Metrics,
    MetricSeries,
    class_codes,
    class_totals,
    classification_metrics,
    clustering_metrics,
    decision_rates,
    is_covered,
    mean_error,
    multi_target_metrics,
    outlier_metrics,
    point_estimates,
    quantile_levels,
    quantile_metrics,
    regression_metrics,
    silhouettes,
    unit_weights,
)
from tidegate_training.evaluation.ranking import ranking_metrics
from tidegate_training.gates import METRICS

Array = NDArray[Any]
Outputs = Mapping[str, Array]
"""By output, ``[rows]`` or ``[rows, width]``."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """Metrics of some rows.

    Attributes:
        rows: The number of rows.
        metrics: Metrics by name.
        intervals: The intervals by metric; None where the resamples do not differ.
        series: By metric, the resamples ``[resamples]`` that the intervals come from.
    """

    rows: int
    metrics: Metrics
    intervals: dict[str, Interval | None]
    series: dict[str, Series] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return metrics and intervals as JSON values."""
        return {"metrics": self.metrics, "intervals": intervals_to_json(self.intervals)}


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A model with all that decides the metrics of its rows.

    Attributes:
        model: The model.
        positive_label: The class, of two, that the metrics are about.
        costs: ``[classes, classes]``, the cost of a row by its true and its predicted class.
        units: The group of each row of the data, ``[rows]``, if the rows of a group are not independent.
        seed: The seed of the resamples.
    """

    model: FittedModel
    positive_label: Any = None
    costs: Array | None = None
    units: Array | None = None
    seed: int = 0

    @property
    def is_binary(self) -> bool:
        """Whether the model chooses one of two classes."""
        return self.model.task == "classification" and len(self.model.labels) == 2

    @property
    def are_rows_alike(self) -> bool:
        """Whether rows are independent and count alike, so that a proportion is a number of successes."""
        return self.units is None and self._weights is None

    def compute_metrics(self, rows: Indices, outputs: Outputs) -> Metrics:
        """Compute the metrics of the rows with the numbers ``rows``, ``[rows]``.

        Returns:
            Metrics by name. Those that need the true values of rows without them are None.

        Raises:
            DataError: If a prediction is outside the range of the output's type.
        """
        return point_estimates(self.statistic(rows, outputs), len(rows))

    def estimate(self, rows: Indices, outputs: Outputs, *, by_group: bool = False) -> Estimates:
        """Compute metrics and intervals of the rows with the numbers ``rows``, ``[rows]``.

        Args:
            rows: The numbers of the rows.
            outputs: The model's outputs for these rows.
            by_group: Whether to add the rates by which groups are compared.

        Raises:
            DataError: If a prediction is outside the range of the output's type.
        """
        statistic = self.statistic(rows, outputs, by_group=by_group)
        metrics = point_estimates(statistic, len(rows))
        series = self.bootstrap(rows).resample(statistic, metrics)
        intervals = {name: bootstrap_interval(series[name], value) for name, value in metrics.items()}
        if self.are_rows_alike:
            proportions = self._proportions(rows, outputs)
            intervals |= {name: proportions[name] for name in metrics if name in proportions}
        return Estimates(len(rows), metrics, intervals, series)

    def bootstrap(self, rows: Indices) -> Bootstrap:
        """Return the resamples of the rows with the numbers ``rows``; the same for the same rows."""
        units = None if self.units is None else self.units[rows]
        if self.model.task == "recommendation":
            units = next(iter(self.model.features.columns.values()))[rows]
        return Bootstrap(len(rows), (self.seed, int(rows[0]), len(rows)), units)

    def statistic(self, rows: Indices, outputs: Outputs, *, by_group: bool = False) -> Statistic:
        """Return the function from weights to the metrics of the rows with the numbers ``rows``, ``[rows]``.

        Args:
            rows: The numbers of the rows.
            outputs: The model's outputs for these rows.
            by_group: Whether to add the rates by which groups are compared.
        """
        base = None if self._weights is None else self._weights[rows]
        silhouette = None
        if self.model.task == "clustering":
            silhouette = silhouettes(self.model.clustered_points(rows), outputs[LABEL])

        def statistic(positions: Indices, weights: Weights) -> MetricSeries:
            chosen = rows[positions]
            values = {name: array[positions] for name, array in outputs.items()}
            if silhouette is not None:
                target = None if self.model.target is None else self.model.target[chosen]
                return clustering_metrics(values[LABEL], silhouette[positions], target, weights)
            counted = weights if base is None else weights * base[positions]
            with np.errstate(divide="ignore", invalid="ignore"):  # a resample may have the weight 0
                series = self._series(chosen, values, counted)
                if by_group:
                    series |= self._group_series(chosen, values, counted)
            if base is None:
                return series
            counts = counted.any(axis=1)
            return {name: np.where(counts, metric, np.nan) for name, metric in series.items()}

        return statistic

    @property
    def _weights(self) -> Array | None:
        """The weights that count in metrics: users and clusters count each row once."""
        return None if self.model.task in ("recommendation", "clustering") else self.model.weights

    def _series(self, rows: Indices, outputs: Outputs, weights: Weights) -> MetricSeries:
        model, task = self.model, self.model.task
        target = None if model.target is None else model.target[rows]
        if task == "outlier_detection":
            return outlier_metrics(outputs, target, weights)
        if target is None:
            return dict.fromkeys(METRICS[task], np.full(len(weights), np.nan))
        if task == "recommendation":
            return self._ranking(rows, target, outputs[ITEMS], weights)
        if task == "regression":
            levels = quantile_levels(model.outputs[0].labels)
            if levels:
                return quantile_metrics(target, outputs, levels, weights)
            return regression_metrics(target, outputs, weights)
        if not model.labels:
            return multi_target_metrics(target, outputs, weights)
        return classification_metrics(target, outputs, model.labels, self.positive_label, weights, self.costs)

    def _ranking(self, rows: Indices, target: Array, items: Array, weights: Weights) -> MetricSeries:
        """Rank the items of the interactions that the model may recommend.

        Args:
            rows: The numbers of the rows, ``[rows]``.
            target: ``[rows]``, the items of the interactions.
            items: ``[rows, k]``, the recommended items.
            weights: ``[resamples, rows]``.
        """
        model = self.model
        recommender, users = model.pipeline[-1], model.features.sklearn_rows(rows, model.layout)
        possible = ~recommender.is_excluded(users, target)
        if not possible.any():
            return dict.fromkeys(METRICS[model.task], np.full(len(weights), np.nan))
        return ranking_metrics(
            np.asarray(users)[possible, 0],
            target[possible],
            items[possible],
            popular=recommender.popular_items(users)[possible],
            n_items=len(recommender.items_),
            weights=weights[:, possible],
        )

    def _group_series(self, rows: Indices, outputs: Outputs, weights: Weights) -> MetricSeries:
        """Return the rates by which groups are compared, in addition to the metrics."""
        model = self.model
        if model.target is None:
            return {}
        if self.is_binary:
            positive = model.labels.index(self.positive_label)
            actual, predicted = (
                class_codes(values, model.labels) for values in (model.target[rows], outputs[LABEL])
            )
            return decision_rates(actual == positive, predicted == positive, weights)
        if model.task == "regression" and outputs[PREDICTION].ndim == 1:
            return mean_error(model.target[rows], outputs, weights)
        return {}

    def _proportions(self, rows: Indices, outputs: Outputs) -> dict[str, Interval | None]:
        """Return Wilson's interval of each metric that is a proportion of independent rows."""
        model, n_rows = self.model, len(rows)
        target = None if model.target is None else model.target[rows]
        if model.task == "outlier_detection":
            is_outlier = outputs[LABEL] == OUTLIER
            intervals = {"outlier_fraction": wilson_interval(is_outlier.sum(), n_rows)}
            return (
                intervals if target is None else intervals | decision_intervals(target == OUTLIER, is_outlier)
            )
        if target is None:
            return {}
        if model.task == "regression" and (levels := quantile_levels(model.outputs[0].labels)):
            covered = is_covered(target, outputs[PREDICTION].astype(np.float64), levels)
            return {"coverage": wilson_interval(covered.sum(), n_rows)}
        if model.task != "classification":
            return {}
        if not model.labels:
            is_correct = (outputs[LABEL].astype(target.dtype) == target).all(axis=1)
            return {"accuracy": wilson_interval(is_correct.sum(), n_rows)}
        actual, predicted = (class_codes(values, model.labels) for values in (target, outputs[LABEL]))
        accuracy = {"accuracy": wilson_interval((actual == predicted).sum(), n_rows)}
        if not self.is_binary:
            return accuracy
        positive = model.labels.index(self.positive_label)
        return accuracy | decision_intervals(actual == positive, predicted == positive)


def decision_intervals(actual: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, Interval | None]:
    """Return the intervals of the metrics of a positive class, and of the rates by which groups are compared.

    Args:
        actual: ``[rows]``, whether a row has the positive class.
        predicted: ``[rows]``, whether the model chooses it.
    """
    totals = class_totals(actual.astype(np.intp), predicted.astype(np.intp), 2, unit_weights(len(actual)))
    hits = totals.true_positives[0, 1]
    n_actual, n_predicted = totals.actual[0, 1], totals.predicted[0, 1]
    return {
        "precision": wilson_interval(hits, n_predicted),
        "recall": wilson_interval(hits, n_actual),
        "f1": f1_interval(hits, n_actual + n_predicted - 2 * hits),
        "selection_rate": wilson_interval(n_predicted, len(actual)),
        "false_positive_rate": wilson_interval(n_predicted - hits, len(actual) - n_actual),
    }
