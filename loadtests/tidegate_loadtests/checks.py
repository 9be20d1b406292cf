# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Checks: the result of comparing one figure of a campaign with its threshold, and its words.

A check fails or passes on evidence; without enough evidence it is inconclusive and says what is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tidegate.formatting import (
    format_milliseconds,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
)

Outcome = Literal["pass", "fail", "inconclusive"]
Bound = Literal["max", "min", "exact"]

_WORDS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "p50_ms": ("p50 latency", format_milliseconds),
    "p95_ms": ("p95 latency", format_milliseconds),
    "p99_ms": ("p99 latency", format_milliseconds),
    "failure_ratio": ("failure ratio", format_percent),
    "goodput": ("goodput", format_rate),
    "reaction_seconds": ("reaction time", format_seconds),
    "ready_seconds": ("time until ready", format_seconds),
    "recovery_seconds": ("recovery time", format_seconds),
    "least_replicas": ("least ready replicas", format_number),
    "most_replicas": ("most ready replicas", format_number),
    "final_replicas": ("ready replicas at the end", format_number),
    "direction_changes": ("changes of scaling direction", format_number),
    "replica_seconds_ratio": ("replica-seconds ÷ ideal", format_number),
    "limited_seconds": ("time at maxReplicas while more are needed", format_seconds),
    "termination_failure_ratio": ("failure ratio while pods terminate", format_percent),
}
"""By the name of a check, its label and the format of its figures."""
_BOUNDS: dict[Bound, str] = {"max": "at most", "min": "at least", "exact": "exactly"}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A figure, its threshold, and the outcome."""

    name: str
    value: float | None
    """None if there was nothing to measure, or if the event never came."""
    threshold: float
    bound: Bound
    """Whether the threshold is the largest, the smallest or the only accepted value."""
    outcome: Outcome
    phase: str | None = None
    """The phase that is judged; None for the whole campaign."""
    mark_seconds: float | None = None
    """The time that a plot marks, in seconds from the start of the campaign."""
    detail: str = ""
    """The circumstance that explains the value, or the evidence that is missing."""

    @property
    def label(self) -> str:
        """The figure's name as text, with its phase."""
        label = _WORDS[self.name][0]
        return label if self.phase is None else f"{label} in phase '{self.phase}'"

    @property
    def threshold_text(self) -> str:
        """The threshold with its bound and unit."""
        return f"{_BOUNDS[self.bound]} {self._format(self.threshold)}"

    @property
    def value_text(self) -> str:
        """The value with its unit."""
        if self.value is None:
            return "never" if self._never_came else "nothing"
        return self._format(self.value)

    @property
    def measured_text(self) -> str:
        """The value as a part of a sentence."""
        return "never reached" if self._never_came else f"measured {self.value_text}"

    @property
    def _never_came(self) -> bool:
        return self.value is None and self.outcome == "fail" and self.name.endswith("_seconds")

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.label}: expected {self.threshold_text}, {self.measured_text}{detail}"

    def _format(self, value: float) -> str:
        return _WORDS[self.name][1](value)


def compare(value: float | None, threshold: float, bound: Bound) -> Outcome:
    """Compare a value with its threshold; a missing value fails.

    >>> compare(2.0, 2.0, "max"), compare(1.0, 2.0, "min"), compare(None, 2.0, "max")
    ('pass', 'fail', 'fail')

    Args:
        value: The value; None if there was nothing to measure.
        threshold: The threshold.
        bound: How the threshold limits the value.
    """
    if value is None:
        return "fail"
    met = {"max": value <= threshold, "min": value >= threshold, "exact": value == threshold}[bound]
    return "pass" if met else "fail"
