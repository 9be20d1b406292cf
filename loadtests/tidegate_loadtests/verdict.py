# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict: pass, fail or inconclusive, decided by fixed rules from metrics and thresholds.

A campaign is inconclusive if it has too few requests or missing samples. The same holds if a load generator
was the bottleneck or sent its requests late. An inconclusive campaign never passes, even with good metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate_loadtests.formatting import format_milliseconds, format_percent, format_rate
from tidegate_loadtests.generator_cpu import SATURATED_UTILIZATION, Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.summary import Summary

Outcome = Literal["pass", "fail", "inconclusive"]

_LABELS = {"failure_ratio": "failure ratio", "goodput": "goodput"}
_FORMATS = {"failure_ratio": format_percent, "goodput": format_rate}


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """A metric, its value and its threshold."""

    metric: str
    value: float | None
    """None if there was nothing to measure."""
    threshold: float
    bound: Literal["max", "min"]
    """Whether the threshold is the largest or the smallest accepted value."""

    @property
    def met(self) -> bool:
        """Whether the value meets the threshold; a missing value does not."""
        if self.value is None:
            return False
        return self.value <= self.threshold if self.bound == "max" else self.value >= self.threshold

    @property
    def label(self) -> str:
        """The metric's name as text."""
        return _LABELS.get(self.metric) or f"{self.metric.removesuffix('_ms')} latency"

    @property
    def threshold_text(self) -> str:
        """The threshold with its bound and unit."""
        return f"{'at most' if self.bound == 'max' else 'at least'} {self._format(self.threshold)}"

    @property
    def value_text(self) -> str:
        """The value with its unit."""
        return "nothing" if self.value is None else self._format(self.value)

    def __str__(self) -> str:
        return f"{self.label}: expected {self.threshold_text}, measured {self.value_text}"

    def _format(self, value: float) -> str:
        return _FORMATS.get(self.metric, format_milliseconds)(value)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a campaign with the result of each threshold."""

    outcome: Outcome
    thresholds: tuple[ThresholdResult, ...]
    reasons: tuple[str, ...]
    """The inconclusive reasons, then the missed thresholds; empty for a pass."""


def judge(plan: LoadTest, summary: Summary, generators: Sequence[Generator]) -> Verdict:
    """Decide the verdict of a campaign.

    Args:
        plan: The load and its thresholds.
        summary: The metrics of the measured time.
        generators: The CPU use of each load generator process.
    """
    thresholds = _compare_thresholds(plan, summary)
    missed = tuple(str(result) for result in thresholds if not result.met)
    if inconclusive_reasons := _inconclusive_reasons(plan, summary, generators):
        return Verdict("inconclusive", thresholds, inconclusive_reasons + missed)
    return Verdict("fail" if missed else "pass", thresholds, missed)


def _compare_thresholds(plan: LoadTest, summary: Summary) -> tuple[ThresholdResult, ...]:
    thresholds = plan.thresholds
    results = [
        ThresholdResult(f"p{q:g}_ms", summary.latency.at(q), limit, "max")
        for q, limit in thresholds.max_latency_ms.items()
    ]
    max_failure_ratio = thresholds.max_failure_ratio
    results.append(ThresholdResult("failure_ratio", summary.failure_ratio, max_failure_ratio, "max"))
    if thresholds.min_goodput is not None:
        results.append(ThresholdResult("goodput", summary.goodput, thresholds.min_goodput, "min"))
    return tuple(results)


def _inconclusive_reasons(
    plan: LoadTest, summary: Summary, generators: Sequence[Generator]
) -> tuple[str, ...]:
    reasons = []
    if summary.requests < (min_requests := plan.thresholds.min_requests):
        reasons.append(
            f"{summary.requests:,} requests are too few to decide the thresholds: expected at least "
            f"{min_requests:,}"
        )
    if plan.rate is not None and summary.recorded_requests != plan.planned_requests:
        reasons.append(
            f"samples are missing: expected {plan.planned_requests:,} requests, "
            f"received {summary.recorded_requests:,}"
        )
    for generator in generators:
        name = generator.worker or "the load generator"
        if generator.utilization_mean is None:
            reasons.append(f"the CPU time of {name} could not be measured")
        elif generator.saturated:
            reasons.append(
                f"{name} was the bottleneck: it needed more than {format_percent(SATURATED_UTILIZATION)} of "
                f"a CPU for {format_percent(generator.saturated_ratio)} of the measured time (on average "
                f"{format_percent(generator.utilization_mean)} used and "
                f"{format_percent(generator.run_queue_wait_mean)} waited for)"
            )
    for q, limit in plan.thresholds.max_latency_ms.items():
        latency, without_delay = summary.latency.at(q), summary.latency_without_send_delay.at(q)
        # The server does not fail for requests that were sent late although a connection was free.
        if latency is not None and without_delay is not None and without_delay <= limit < latency:
            reasons.append(
                f"the load generator's own send delay decided p{q:g}: {format_milliseconds(latency)} with "
                f"the delay, {format_milliseconds(without_delay)} without, "
                f"threshold {format_milliseconds(limit)}"
            )
    return tuple(reasons)
