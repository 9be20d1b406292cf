# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Gates: thresholds on metrics. A model that misses a gate makes no bundle.

Gates are parsed and evaluated here, on numbers alone. :mod:`tidegate_training.evaluation.metrics` computes
the metrics.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from tidegate.contract import Task
from tidegate.errors import GateNotPassedError

CLASSIFICATION_METRICS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "average_precision",
    "brier",
    "ece",
    "cost",
)
REGRESSION_METRICS = ("mse", "rmse", "mae", "r2", "pinball", "coverage")
METRICS: Mapping[Task, tuple[str, ...]] = {
    "classification": CLASSIFICATION_METRICS,
    "regression": REGRESSION_METRICS,
    "outlier_detection": ("outlier_fraction", "precision", "recall", "f1", "roc_auc"),
    "clustering": ("clusters", "silhouette", "adjusted_rand"),
    "recommendation": (
        "ndcg",
        "recall",
        "popularity_ndcg",
        "popularity_recall",
        "ndcg_over_popularity",
        "coverage",
    ),
}
"""By task, the names of its metrics."""
ERROR_METRICS = frozenset({"mse", "rmse", "mae", "pinball", "brier", "ece", "cost"})
"""Metrics for which lower is better."""
SCOPES = ("train", "validation", "test", "gap", "cross_validation")

ScopedMetrics = Mapping[str, Mapping[str, float | None]]
"""Metrics by scope (a split, or the gap) and name. None where a metric is not defined."""

_RULE = re.compile(r"(>=|<=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


@dataclass(frozen=True, slots=True)
class Gate:
    """One threshold: ``<scope>.<metric> <comparison> <threshold>``."""

    scope: str
    metric: str
    comparison: Literal[">=", "<="]
    threshold: float

    def __str__(self) -> str:
        return f"{self.scope}.{self.metric} {self.comparison} {self.threshold:g}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of a gate. It fails if the metric's value is None."""

    gate: Gate
    value: float | None
    passed: bool

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.gate} is missed: the metric is not defined on this data"
        verdict, margin = "passed" if self.passed else "missed", abs(self.value - self.gate.threshold)
        return f"{self.gate} is {verdict} by {margin:.4g} (measured {self.value:.4g})"


def parse_gate(key: str, rule: str, task: Task | None = None) -> Gate:
    """Parse one gate of the configuration.

    >>> str(parse_gate("test.f1", ">= 0.9"))
    'test.f1 >= 0.9'

    Args:
        key: The scope and the metric, as ``test.f1``.
        rule: The comparison and the threshold, as ``>= 0.9``.
        task: The task whose metrics are allowed; None allows those of every task.

    Raises:
        ValueError: If the scope or the metric is unknown, or the rule has another form.
    """
    scope, _, metric = key.partition(".")
    metrics = METRICS[task] if task is not None else tuple(dict.fromkeys(chain(*METRICS.values())))
    if scope not in SCOPES or metric not in metrics:
        raise ValueError(
            f"expected <scope>.<metric> with a scope of {', '.join(SCOPES)} and a metric of "
            f"{', '.join(metrics)}, received '{key}'"
        )
    match = _RULE.fullmatch(rule.strip())
    if match is None:
        raise ValueError(f"expected '>= number' or '<= number', received '{rule}'")
    return Gate(scope, metric, ">=" if match[1] == ">=" else "<=", float(match[2]))


def evaluate_gates(gates: Sequence[Gate], metrics: ScopedMetrics) -> list[GateResult]:
    """Compare metrics with gates, in the gates' order."""
    results = []
    for gate in gates:
        value = metrics[gate.scope].get(gate.metric)
        if value is None:
            passed = False
        else:
            passed = value >= gate.threshold if gate.comparison == ">=" else value <= gate.threshold
        results.append(GateResult(gate, value, passed))
    return results


def require_gates(name: str, results: Sequence[GateResult]) -> None:
    """Raise an error unless the model passes every gate.

    Raises:
        GateNotPassedError: If a gate is missed. The message names each missed gate and by how much.
    """
    if missed := [result for result in results if not result.passed]:
        raise GateNotPassedError(
            f"The model '{name}' misses a gate, so there is no bundle: {'; '.join(map(str, missed))}."
        )
