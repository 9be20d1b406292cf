# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict: pass, fail or inconclusive, decided by fixed rules from metrics, timeline and thresholds.

A defect of the measurement makes the whole campaign inconclusive, however its checks ended: missing samples,
a load generator that was the bottleneck, a gap in the timeline. Without a defect, one failed check fails the
campaign, and one check without evidence makes it inconclusive. An inconclusive campaign never passes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate.formatting import format_milliseconds, format_percent, format_seconds
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.checks import CheckResult, Outcome, compare
from tidegate_loadtests.evidence import keeps_percentile, min_requests, min_requests_with_late, proves_kept
from tidegate_loadtests.generator_cpu import SATURATED_UTILIZATION, Generator
from tidegate_loadtests.scaling_checks import StepResponse, check_scaling, respond
from tidegate_loadtests.summary import CampaignSummary, PhaseSummary
from tidegate_loadtests.time_series import TimeSeries
from tidegate_loadtests.timeline.records import Timeline

_ORDER: dict[Outcome, int] = {"fail": 0, "inconclusive": 1, "pass": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a campaign with the result of each check."""

    defects: tuple[str, ...]
    """Defects of the measurement, which make the campaign inconclusive."""
    checks: tuple[CheckResult, ...]
    """The failed ones first, and scaling before phases, because late replicas cause high latency."""
    responses: tuple[StepResponse, ...] = ()
    """The reaction of the replicas to each load step."""

    def with_outcome(self, outcome: Outcome) -> tuple[CheckResult, ...]:
        """Return the checks that ended with an outcome."""
        return tuple(check for check in self.checks if check.outcome == outcome)

    @property
    def outcome(self) -> Outcome:
        """The outcome of the campaign."""
        if self.defects:
            return "inconclusive"
        if self.with_outcome("fail"):
            return "fail"
        return "inconclusive" if self.with_outcome("inconclusive") else "pass"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Defects of the measurement, failed checks, then checks without evidence; empty for a pass."""
        undecided = (*self.with_outcome("fail"), *self.with_outcome("inconclusive"))
        return (*self.defects, *map(str, undecided))


def judge(
    campaign: Campaign,
    summary: CampaignSummary,
    generators: Sequence[Generator],
    timeline: Timeline | None = None,
    safe_rate: float | None = None,
) -> Verdict:
    """Decide the verdict of a campaign.

    Args:
        campaign: The load and its thresholds.
        summary: The metrics.
        generators: The CPU use of each load generator process.
        timeline: The replicas and pods over time; None if none was recorded.
        safe_rate: The requests per second that one replica serves, from the capacity file; None without one.
    """
    checks = [
        check
        for phase in summary.phases
        if phase.bounds.judged
        for check in _check_phase(phase, summary.series)
    ]
    responses: tuple[StepResponse, ...] = ()
    if timeline is not None and timeline.replicas:
        responses = respond(campaign, summary.series, timeline, safe_rate)
        checks += check_scaling(campaign, summary.series, timeline, responses, safe_rate)
    defects = (
        *_sample_defects(campaign, summary),
        *_generator_defects(generators),
        *_timeline_defects(campaign, timeline),
    )
    checks.sort(key=lambda check: (_ORDER[check.outcome], check.phase is not None))
    return Verdict(defects, tuple(checks), responses)


def _check_phase(phase: PhaseSummary, series: TimeSeries) -> Iterator[CheckResult]:
    thresholds, metrics, name = phase.bounds.thresholds, phase.metrics, phase.bounds.name
    for q, limit in thresholds.max_latency_ms.items():
        yield _check_latency(phase, q, limit, series)
    ratio, limit = metrics.failure_ratio, thresholds.max_failure_ratio
    outcome: Outcome = "inconclusive" if ratio is None else compare(ratio, limit, "max")
    mark = _first_time(phase, series, series.failures > 0) if outcome == "fail" else None
    error = next(iter(metrics.errors), None)
    detail = f"most often '{error}'" if outcome == "fail" else ""
    yield CheckResult("failure_ratio", ratio, limit, "max", outcome, name, mark, detail)
    if thresholds.min_goodput is not None:
        outcome = compare(metrics.goodput, thresholds.min_goodput, "min")
        below = series.goodput < thresholds.min_goodput
        mark = _first_time(phase, series, below) if outcome == "fail" else None
        yield CheckResult("goodput", metrics.goodput, thresholds.min_goodput, "min", outcome, name, mark)


def _check_latency(phase: PhaseSummary, q: float, limit: float, series: TimeSeries) -> CheckResult:
    metrics = phase.metrics
    value, without_delay = metrics.latency.at(q), metrics.latency_without_send_delay.at(q)
    successful, late = metrics.requests - metrics.failures, metrics.late.get(q, 0)
    kept = keeps_percentile(successful, late, q)
    outcome: Outcome = "pass" if kept else "fail"
    detail = ""
    if value is None:
        detail = "every request failed"
        if not metrics.requests:
            outcome, detail = "inconclusive", "the phase has no requests"
    elif outcome == "pass" and not proves_kept(successful, late, q):
        outcome, detail = "inconclusive", _describe_evidence(successful, late, q)
    elif outcome == "fail" and without_delay is not None and without_delay <= limit:
        # The server does not fail for requests that were sent late although a connection was free.
        outcome = "inconclusive"
        detail = (
            f"the load generator's own send delay decided it, {format_milliseconds(without_delay)} without; "
            "add workers or lower the rate"
        )
    elif outcome == "fail" and successful < (least := min_requests(q)):
        outcome, detail = "inconclusive", f"{successful:,} requests are too few, at least {least:,} decide it"
    if value is not None:
        value = min(value, limit) if kept else max(value, limit)  # a histogram's percentile has an error
    mark = _first_time(phase, series, series.latency_ms[q] > limit) if outcome == "fail" else None
    if mark is not None:
        detail = f"first at {format_seconds(mark)}"
    return CheckResult(f"p{q:g}_ms", value, limit, "max", outcome, phase.bounds.name, mark, detail)


def _describe_evidence(successful: int, late: int, q: float) -> str:
    enough = min_requests_with_late(q, late / successful)
    more = "" if enough is None else f"; with this ratio {enough:,} requests would, so lengthen the phase"
    return (
        f"{late:,} of {successful:,} requests were later, which does not prove it with 99 % confidence{more}"
    )


def _first_time(phase: PhaseSummary, series: TimeSeries, condition: NDArray[np.bool_]) -> float | None:
    """Return the first time in a phase at which a condition holds, ``[bins]``."""
    bounds = phase.bounds
    within = (series.edges[1:] > bounds.start) & (series.edges[:-1] < bounds.end)
    times = series.middles[within & condition]
    return float(times[0]) if len(times) else None


def _sample_defects(campaign: Campaign, summary: CampaignSummary) -> Iterator[str]:
    recorded, planned = summary.recorded_requests, campaign.planned_requests
    if recorded < planned or (campaign.open_loop and recorded != planned):
        yield f"samples are missing: expected {planned:,} requests, received {recorded:,}"


def _generator_defects(generators: Sequence[Generator]) -> Iterator[str]:
    for generator in generators:
        name = generator.worker or "the load generator"
        if generator.utilization_mean is None:
            yield f"the CPU time of {name} could not be measured"
        elif generator.saturated:
            yield (
                f"{name} was the bottleneck: it needed more than {format_percent(SATURATED_UTILIZATION)} of "
                f"a CPU for {format_percent(generator.saturated_ratio)} of the measured time (on average "
                f"{format_percent(generator.utilization_mean)} used and "
                f"{format_percent(generator.run_queue_wait_mean)} waited for); add workers or lower the rate"
            )


def _timeline_defects(campaign: Campaign, timeline: Timeline | None) -> Iterator[str]:
    if timeline is None or not timeline.replicas:
        if campaign.scaling is not None:
            yield "the scaling thresholds cannot be judged: no timeline of the replicas was recorded"
        return
    for gap in timeline.gaps:
        for bounds in campaign.bounds():
            if bounds.judged and gap.start < bounds.end and gap.end > bounds.start:
                yield (
                    f"the timeline of {gap.resource} has a gap from {format_seconds(gap.start)} to "
                    f"{format_seconds(gap.end)} in phase '{bounds.name}': {gap.reason}"
                )
