# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Scaling checks: whether the replicas followed the load in time, without loss and without waste.

All functions are pure: they compare the intended rate and the time series of a campaign with its timeline. A
load that never needed more replicas proves nothing about an autoscaler, so it is inconclusive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from tidegate.formatting import format_number, format_rate, format_seconds
from tidegate_loadtests.campaign import Campaign, ScalingThresholds
from tidegate_loadtests.checks import CheckResult, Outcome, compare
from tidegate_loadtests.latency_windows import missed_windows
from tidegate_loadtests.load_steps import LoadStep, find_load_steps
from tidegate_loadtests.replica_limit import limited_times
from tidegate_loadtests.time_series import TimeSeries
from tidegate_loadtests.timeline.records import PodRecord, Timeline


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A value that changes at some times, such as a replica count.

    >>> ready = StepFunction((0.0, 10.0, 30.0), (1, 3, 2))
    >>> ready.at(-1), ready.at(10), ready.integral(5, 40), ready.first(10, 40, at_least=2)
    (1, 3, 85.0, 10)
    """

    times: tuple[float, ...]
    """In ascending order."""
    values: tuple[int, ...]

    def at(self, time: float) -> int:
        """Return the value at a time; before the first change, the first value."""
        index = int(np.searchsorted(self.times, time, "right")) - 1
        return self.values[max(index, 0)]

    def within(self, begin: float, end: float) -> Iterator[tuple[float, int]]:
        """Yield the value at the beginning, and each change before the end."""
        yield begin, self.at(begin)
        for time, value in zip(self.times, self.values, strict=True):
            if begin < time < end:
                yield time, value

    def first(self, begin: float, end: float, at_least: int) -> float | None:
        """Return the first time with a value of at least this; None if it does not come before the end.

        Args:
            begin: Start of the search.
            end: End of the search.
            at_least: The value.
        """
        return next((time for time, value in self.within(begin, end) if value >= at_least), None)

    def integral(self, begin: float, end: float) -> float:
        """Return the sum of value times duration."""
        changes = [*self.within(begin, end), (end, 0)]
        return float(sum(value * (after - time) for (time, value), (after, _) in pairwise(changes)))


@dataclass(frozen=True, slots=True)
class StepResponse:
    """The reaction to one load step."""

    step: LoadStep
    desired_before: int
    desired_after: int
    """The most desired replicas before the next sudden change of the rate."""
    required: int
    """The replicas that the load needs by the capacity file, or that the autoscaler desired."""
    needed: bool
    """Whether the load needed more replicas than there were."""
    reaction_seconds: float | None
    """From the step until the desired replicas rise; None if they do not before the next change."""
    ready_seconds: float | None
    """From the step until that many replicas are ready; None if they are not before the next change."""
    recovery_seconds: float | None
    """From the step until the latency thresholds hold again; None if they do not within the phase."""


def respond(
    campaign: Campaign, series: TimeSeries, timeline: Timeline, safe_rate: float | None
) -> tuple[StepResponse, ...]:
    """Find the reaction to each load step of the judged phases.

    Args:
        campaign: The load.
        series: The latencies over time.
        timeline: The replicas over time.
        safe_rate: The requests per second that one replica serves; None if unknown.
    """
    desired, ready = replica_counts(timeline, "desired"), replica_counts(timeline, "ready")
    return tuple(_respond(step, series, desired, ready, safe_rate) for step in find_load_steps(campaign))


def _respond(
    step: LoadStep, series: TimeSeries, desired: StepFunction, ready: StepFunction, safe_rate: float | None
) -> StepResponse:
    before = desired.at(step.time)
    after = max(value for _, value in desired.within(step.time, step.end))
    required = before if safe_rate is None else ceil(step.rate_after / safe_rate)
    end = min(step.end, step.phase.end)
    missed = [until for _, until in missed_windows(step.phase.thresholds, series, step.time, end)]
    needed = after > before or required > before or bool(missed)
    target = max(after, required)
    reaction = desired.first(step.time, step.end, at_least=before + 1)
    arrival = ready.first(step.time, step.end, at_least=target)
    recovery = missed[-1] if missed else step.time
    return StepResponse(
        step=step,
        desired_before=before,
        desired_after=after,
        required=target,
        needed=needed,
        reaction_seconds=None if reaction is None else reaction - step.time,
        ready_seconds=None if reaction is None or arrival is None else arrival - step.time,
        recovery_seconds=None if recovery >= end else recovery - step.time,
    )


def check_scaling(
    campaign: Campaign,
    series: TimeSeries,
    timeline: Timeline,
    responses: Sequence[StepResponse],
    safe_rate: float | None,
) -> tuple[CheckResult, ...]:
    """Check the timeline of a campaign.

    Args:
        campaign: The load and the thresholds.
        series: Requests and failures over time.
        timeline: Replicas and pods over time; at least one record of replicas.
        responses: The reaction to each load step.
        safe_rate: The requests per second that one replica serves; None if unknown.
    """
    thresholds = campaign.scaling or ScalingThresholds()
    return tuple(
        check
        for check in (
            _check_limit(campaign, series, timeline, safe_rate),
            *_check_times(thresholds, responses),
            *_check_bounds(campaign, thresholds, timeline),
            _check_direction_changes(campaign, thresholds, timeline),
            _check_replica_seconds(campaign, thresholds, timeline, safe_rate),
            _check_terminations(campaign, series, timeline),
        )
        if check is not None
    )


def _check_times(thresholds: ScalingThresholds, responses: Sequence[StepResponse]) -> Iterator[CheckResult]:
    needed = [response for response in responses if response.needed]
    for name, threshold in (
        ("reaction_seconds", thresholds.max_reaction_seconds),
        ("ready_seconds", thresholds.max_ready_seconds),
        ("recovery_seconds", thresholds.max_recovery_seconds),
    ):
        judged = [
            response
            for response in needed
            if name != "recovery_seconds" or response.step.phase.thresholds.max_latency_ms
        ]
        if threshold is None:
            continue
        if not judged:
            yield CheckResult(
                name, None, threshold, "max", "inconclusive", detail=_describe_no_step(responses)
            )
            continue
        worst = max(judged, key=lambda response: _or_infinite(getattr(response, name)))
        value: float | None = getattr(worst, name)
        outcome = compare(value, threshold, "max")
        yield CheckResult(
            name,
            value,
            threshold,
            "max",
            outcome,
            mark_seconds=worst.step.time + (threshold if value is None else value),
            detail=_describe_step(worst, name, value),
        )


def _or_infinite(value: float | None) -> float:
    return np.inf if value is None else value


def _describe_no_step(responses: Sequence[StepResponse]) -> str:
    if not responses:
        return "the load has no step in a judged phase; add one that needs more replicas"
    return "the load never needed more replicas; raise the rate after a step above their capacity"


def _describe_step(response: StepResponse, name: str, value: float | None) -> str:
    step = response.step
    text = (
        f"load step from {format_rate(step.rate_before)} to {format_rate(step.rate_after)} at "
        f"{format_seconds(step.time)}"
    )
    if value is not None:
        return text
    if name == "recovery_seconds":
        return f"latency stayed above its threshold after the {text}"
    if response.reaction_seconds is None:
        return f"the desired replicas stayed at {response.desired_before} after the {text}"
    return f"{response.required} replicas were not ready before the next change of the load, after the {text}"


def _check_bounds(
    campaign: Campaign, thresholds: ScalingThresholds, timeline: Timeline
) -> Iterator[CheckResult]:
    end = campaign.duration_seconds
    changes = list(replica_counts(timeline, "ready").within(0.0, end))
    if (limit := thresholds.min_replicas) is not None:
        time, least = min(changes, key=lambda change: change[1])
        outcome = compare(least, limit, "min")
        yield CheckResult(
            "least_replicas", least, limit, "min", outcome, mark_seconds=_if_failed(outcome, time)
        )
    if (limit := thresholds.max_replicas) is not None:
        time, most = max(changes, key=lambda change: change[1])
        outcome = compare(most, limit, "max")
        yield CheckResult(
            "most_replicas", most, limit, "max", outcome, mark_seconds=_if_failed(outcome, time)
        )
    if (limit := thresholds.final_replicas) is not None:
        final = changes[-1][1]
        outcome = compare(final, limit, "exact")
        yield CheckResult(
            "final_replicas", final, limit, "exact", outcome, mark_seconds=_if_failed(outcome, end)
        )


def _if_failed(outcome: Outcome, time: float) -> float | None:
    return time if outcome == "fail" else None


def _check_direction_changes(
    campaign: Campaign, thresholds: ScalingThresholds, timeline: Timeline
) -> CheckResult | None:
    limit = thresholds.max_direction_changes
    if limit is None:
        return None
    turns, last = [], 0
    changes = replica_counts(timeline, "desired").within(0.0, campaign.duration_seconds)
    for (_, before), (time, after) in pairwise(changes):
        direction = int(np.sign(after - before))
        if direction and last and direction != last:
            turns.append(time)
        last = direction or last
    outcome = compare(len(turns), limit, "max")
    # The first change beyond the limit.
    mark = turns[limit] if outcome == "fail" else None
    return CheckResult("direction_changes", len(turns), limit, "max", outcome, mark_seconds=mark)


def _check_replica_seconds(
    campaign: Campaign, thresholds: ScalingThresholds, timeline: Timeline, safe_rate: float | None
) -> CheckResult | None:
    limit = thresholds.max_replica_seconds_ratio
    if limit is None:
        return None
    if safe_rate is None:
        return CheckResult(
            "replica_seconds_ratio", None, limit, "max", "inconclusive", detail="the safe rate is unknown"
        )
    current, used, ideal = replica_counts(timeline, "current"), 0.0, 0.0
    for second in range(ceil(campaign.duration_seconds)):
        end = min(second + 1.0, campaign.duration_seconds)
        rate = campaign.rate_at((second + end) / 2)
        if rate is not None:
            used += current.integral(second, end)
            ideal += max(1, thresholds.min_replicas or 0, ceil(rate / safe_rate)) * (end - second)
    if not ideal:
        return CheckResult(
            "replica_seconds_ratio", None, limit, "max", "inconclusive", detail="a closed loop has no ideal"
        )
    detail = f"{format_number(used)} replica-seconds, ideal {format_number(ideal)}"
    outcome = compare(used / ideal, limit, "max")
    return CheckResult("replica_seconds_ratio", used / ideal, limit, "max", outcome, detail=detail)


def _check_limit(
    campaign: Campaign, series: TimeSeries, timeline: Timeline, safe_rate: float | None
) -> CheckResult | None:
    """Check that the largest permitted number of replicas did not hold the autoscaler back."""
    limited = limited_times(campaign, series, timeline, safe_rate)
    if limited is None:
        return None
    limit = next(record.hpa_max for record in reversed(timeline.replicas) if record.hpa_max is not None)
    seconds, mark, detail = sum(end - begin for begin, end in limited), None, f"maxReplicas is {limit}"
    if limited:
        mark = limited[0][0]
        rate = campaign.rate_at(mark)
        detail += f", too low for {'the load' if rate is None else format_rate(rate)}"
    return CheckResult(
        "limited_seconds", seconds, 0.0, "max", compare(seconds, 0.0, "max"), mark_seconds=mark, detail=detail
    )


def _check_terminations(campaign: Campaign, series: TimeSeries, timeline: Timeline) -> CheckResult | None:
    """Check the failures of requests that start while a pod terminates, in judged phases."""
    terminations = terminating_times(timeline.pods, campaign.duration_seconds)
    phases = [
        bounds
        for bounds in campaign.bounds()
        if bounds.judged and any(begin < bounds.end and end > bounds.start for begin, end in terminations)
    ]
    starts, ends = series.edges[:-1], series.edges[1:]
    bins = np.zeros(len(starts), dtype=np.bool_)
    for bounds in phases:
        in_phase = (starts < bounds.end) & (ends > bounds.start)
        for begin, end in terminations:
            bins |= in_phase & (starts <= end) & (ends > begin)
    requests, failures = int(series.requests[bins].sum()), int(series.failures[bins].sum())
    if not requests:
        return None
    limit = min(bounds.thresholds.max_failure_ratio for bounds in phases)
    outcome = compare(failures / requests, limit, "max")
    first = starts[bins & (series.failures > 0)]
    return CheckResult(
        "termination_failure_ratio",
        failures / requests,
        limit,
        "max",
        outcome,
        mark_seconds=float(first[0]) if outcome == "fail" else None,
        detail=f"{failures:,} of {requests:,} requests; pods that terminated: {len(terminations)}",
    )


def terminating_times(pods: Sequence[PodRecord], end: float) -> list[tuple[float, float]]:
    """Return when each pod terminated: from its first record as deleted until it was gone.

    Args:
        pods: The records in the order of time.
        end: The end of the campaign, until which a pod terminates that was not gone before.
    """
    times: dict[str, tuple[float, float]] = {}
    for record in pods:
        if record.deleted:
            begin, _ = times.get(record.name, (record.time, end))
            times[record.name] = (begin, record.time if record.gone else end)
    return list(times.values())


def replica_counts(timeline: Timeline, name: str) -> StepFunction:
    """Return one of the replica counts of a timeline over time: ``desired``, ``current`` or ``ready``."""
    return StepFunction(
        tuple(record.time for record in timeline.replicas),
        tuple(getattr(record, name) for record in timeline.replicas),
    )
