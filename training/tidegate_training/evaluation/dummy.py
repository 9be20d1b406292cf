# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The dummy model: the most frequent class or the mean of the training rows, for any features.

A model that is not better than it has learned nothing, however high its accuracy is. The names are those of
scikit-learn's ``DummyClassifier`` and ``DummyRegressor``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.outputs import LABEL, PREDICTION, PROBABILITIES
from tidegate_training.bundling.features import Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.evaluation.estimates import Estimates, Evaluator
from tidegate_training.evaluation.intervals import Interval, Series, bootstrap_interval
from tidegate_training.evaluation.metrics import (
    Metrics,
    improvement,
    improvements,
    point_estimates,
    quantile_levels,
)

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class DummyComparison:
    """The metrics of the dummy model, and how much better the model is on the same rows.

    Attributes:
        strategy: ``most frequent class``, ``mean`` or ``quantiles``.
        metrics: The dummy model's metrics.
        improvement: By metric, how much better the model is; negative where it is worse.
        intervals: The intervals of the improvements, from resamples of the same rows for both models.
        text: The comparison as a sentence.
    """

    strategy: str
    metrics: Metrics
    improvement: Metrics
    intervals: dict[str, Interval | None]
    text: str


def compare_with_dummy(evaluator: Evaluator, rows: Indices, estimates: Estimates) -> DummyComparison | None:
    """Compare a model with the dummy model on the same rows; None for a task without one.

    Args:
        evaluator: The model.
        rows: The numbers of the rows, ``[rows]``.
        estimates: The model's metrics of these rows.
    """
    model = evaluator.model
    if model.target is None or model.task not in ("classification", "regression"):
        return None
    constants = _constants(model, model.target)
    metrics: Metrics = {}
    series: dict[str, Series] = {}
    for names, outputs in constants:
        repeated = {name: np.repeat(value[np.newaxis], len(rows), axis=0) for name, value in outputs.items()}
        statistic = evaluator.statistic(rows, repeated)
        own = point_estimates(statistic, len(rows))
        resampled = evaluator.bootstrap(rows).resample(statistic, own)
        wanted = names or tuple(own)
        metrics |= {name: own[name] for name in wanted}
        series |= {name: resampled[name] for name in wanted}
    better = improvements(estimates.metrics, metrics)
    intervals = {
        name: bootstrap_interval(improvement(name, estimates.series[name], series[name]), value)
        for name, value in better.items()
    }
    strategy = "most frequent class"
    if model.task == "regression":
        strategy = "quantiles" if quantile_levels(model.outputs[0].labels) else "mean"
    text = _describe(model, strategy, estimates.metrics, metrics, better, intervals, constants[0][1])
    return DummyComparison(strategy, metrics, better, intervals, text)


def _constants(model: FittedModel, target: Array) -> list[tuple[tuple[str, ...], dict[str, Array]]]:
    """Return the outputs of one row by the metrics that they are for; no names mean all metrics."""
    seen = target[model.train]
    weights = None if model.weights is None else model.weights[model.train]
    if model.task == "classification":
        columns = seen[:, np.newaxis] if seen.ndim == 1 else seen
        frequent = [_frequencies(columns[:, column], weights) for column in range(columns.shape[1])]
        labels = np.array([classes[np.argmax(counts)] for classes, counts in frequent])
        if seen.ndim == 2:
            return [((), {LABEL: labels})]
        outputs = {LABEL: np.asarray(labels[0])}
        if any(output.name == PROBABILITIES for output in model.outputs):
            classes, counts = frequent[0]
            by_class = dict(zip(map(str, classes), counts / counts.sum(), strict=True))
            outputs[PROBABILITIES] = np.array([by_class.get(str(label), 0.0) for label in model.labels])
        return [((), outputs)]
    levels = quantile_levels(model.outputs[0].labels)
    if levels:
        return [((), {PREDICTION: _quantiles(seen, levels, weights)})]
    mean = np.average(seen, axis=0, weights=weights)
    # The mean has the least squared error of all constants, and the median the least absolute error.
    median = _quantiles(seen, 0.5, weights)
    return [((), {PREDICTION: np.asarray(mean)}), (("mae",), {PREDICTION: median})]


def _quantiles(values: Array, levels: float | Sequence[float], weights: Array | None) -> Array:
    """Return quantiles of the rows, ``[levels]`` or ``[levels, targets]``."""
    if weights is None:
        return np.asarray(np.quantile(values, levels, axis=0))
    # NumPy has weights for this method alone.
    return np.asarray(np.quantile(values, levels, axis=0, weights=weights, method="inverted_cdf"))


def _frequencies(values: Array, weights: Array | None) -> tuple[Array, Array]:
    """Return the distinct values and their total weights, ``[values]`` each."""
    classes, code_of = np.unique(values, return_inverse=True)
    return classes, np.bincount(code_of, weights)


def _describe(
    model: FittedModel,
    strategy: str,
    metrics: Metrics,
    dummy: Metrics,
    improvement: Metrics,
    intervals: Mapping[str, Interval | None],
    outputs: Mapping[str, Array],
) -> str:
    """Return the comparison as a sentence, about the metric that people look at first."""
    name = "rmse" if strategy == "mean" else "pinball" if strategy == "quantiles" else "accuracy"
    if "cost" in metrics:
        name = "cost"
    title = {"rmse": "RMSE", "pinball": "pinball loss"}.get(name, name)
    value, dummy_value, better = metrics[name], dummy[name], improvement[name]
    if value is None or dummy_value is None or better is None:
        return f"The {title} is not defined on these rows, so it is not compared with the {strategy}."
    what = f"the {strategy} of the training rows"
    if strategy == "most frequent class" and outputs[LABEL].ndim == 0:
        what += f", '{outputs[LABEL]}',"
    text = f"Always predicting {what} has the {title} {dummy_value:.3g}; the model has {value:.3g}"
    interval = intervals[name]
    if interval is None:
        return f"{text}."
    if interval.low > 0:
        return f"{text}, better by {better:.3g} (95 % interval {interval})."
    if interval.high < 0:
        return f"{text}, which is worse: the difference is {better:.3g} (95 % interval {interval})."
    return (
        f"{text}, which is not shown to be better: the difference is {better:.3g} (95 % interval {interval})."
    )
