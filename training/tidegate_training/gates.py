# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Gates: thresholds that a model must meet, or there is no bundle.

They are read and decided here, from numbers alone. Measuring is the evaluation's part.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import GateNotPassedError

CLASSIFICATION_METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")
REGRESSION_METRICS = ("mse", "rmse", "mae", "r2")
ERROR_METRICS = frozenset({"mse", "rmse", "mae"})
"""Metrics of which less is better."""
SCOPES = ("train", "validation", "test", "gap")

Scores = Mapping[str, Mapping[str, float | None]]
"""By scope (a part of the data, or the gap) and metric. None where a metric is not defined."""

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
    """What became of a gate. A value of None passes no gate."""

    gate: Gate
    value: float | None
    passed: bool

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.gate} is not met: the metric is not defined on this data"
        verdict, difference = "met" if self.passed else "missed", abs(self.value - self.gate.threshold)
        return f"{self.gate} is {verdict} by {difference:.4g} (measured {self.value:.4g})"


def parse_gate(key: str, rule: str, task: str | None = None) -> Gate:
    """Read one line of the configuration's gates.

    >>> str(parse_gate("test.f1", ">= 0.9"))
    'test.f1 >= 0.9'

    Raises:
        ValueError: No such scope or metric (of this task, if one is given), or no such rule.
    """
    scope, _, metric = key.partition(".")
    metrics = {
        "classification": CLASSIFICATION_METRICS,
        "regression": REGRESSION_METRICS,
        None: CLASSIFICATION_METRICS + REGRESSION_METRICS,
    }[task]
    if scope not in SCOPES or metric not in metrics:
        raise ValueError(
            f"the gate '{key}' is not <scope>.<metric>: expected a scope of {', '.join(SCOPES)} and a metric "
            f"of {', '.join(metrics)}"
        )
    match = _RULE.fullmatch(rule.strip())
    if match is None:
        raise ValueError(f"the gate '{key}' has the rule '{rule}': expected '>= number' or '<= number'")
    return Gate(scope, metric, ">=" if match[1] == ">=" else "<=", float(match[2]))


def decide(gates: Sequence[Gate], scores: Scores) -> list[GateResult]:
    """Hold the scores against the gates, in the gates' order."""
    results = []
    for gate in gates:
        value = scores[gate.scope][gate.metric]
        if value is None:
            passed = False
        else:
            passed = value >= gate.threshold if gate.comparison == ">=" else value <= gate.threshold
        results.append(GateResult(gate, value, passed))
    return results


def require(name: str, results: Sequence[GateResult]) -> None:
    """Stop here unless every gate is passed.

    Raises:
        GateNotPassedError: Which gates are not, and by how much.
    """
    if missed := [result for result in results if not result.passed]:
        raise GateNotPassedError(
            f"The model '{name}' is not good enough, so there is no bundle: {'; '.join(map(str, missed))}."
        )
