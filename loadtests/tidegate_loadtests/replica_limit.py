# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The replica limit: the times at which the autoscaler's ``maxReplicas`` was too low.

At the limit, either the rate needs more replicas by the capacity file, or a latency threshold is missed
although all permitted replicas are ready. Both are read over the whole time of the judged phases, so a ramp,
a daily curve or a replay counts like a step. A single slow moment at the limit proves nothing.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import ceil, floor

from tidegate_loadtests.campaign import Campaign, Phase, PhaseBounds
from tidegate_loadtests.latency_windows import Interval, is_missed, missed_windows
from tidegate_loadtests.load_models import Closed, Replay
from tidegate_loadtests.time_series import TimeSeries
from tidegate_loadtests.timeline.records import ReplicaRecord, Timeline

_SETTLING_SECONDS = 15.0
"""Time in which new replicas compute the queue that grew before they were ready: the autoscaler's period."""


def limited_times(
    campaign: Campaign, series: TimeSeries, timeline: Timeline, safe_rate: float | None
) -> tuple[Interval, ...] | None:
    """Return the times at which the limit was too low, in their order.

    Args:
        campaign: The load.
        series: Requests and missed requests over time.
        timeline: The replicas over time.
        safe_rate: The requests per second that one replica serves; None if unknown.

    Returns:
        None if no judged phase can show it: without an autoscaler, or without a latency threshold and a rate
        that can be compared with the safe rate.
    """
    phases = [
        (phase, bounds)
        for phase, bounds in zip(campaign.phases, campaign.bounds(), strict=True)
        if bounds.judged and (_has_rate(phase, safe_rate) or phase.thresholds.max_latency_ms)
    ]
    if not phases or all(record.hpa_max is None for record in timeline.replicas):
        return None
    at_limit = list(_at_limit(timeline, campaign.duration_seconds))
    ready = _merge((begin, end) for begin, end, record in at_limit if record.ready >= record.desired)
    limited: list[Interval] = []
    for phase, bounds in phases:
        limited += _missed_times(bounds, series, ready)
        if safe_rate is not None and _has_rate(phase, safe_rate):
            limited += _exceeded_times(campaign, bounds, at_limit, safe_rate)
    return tuple(_merge(limited))


def _has_rate(phase: Phase, safe_rate: float | None) -> bool:
    """Return whether a phase has a rate that tells the replicas that it needs.

    The server decides the rate of a closed loop, and that of a replay varies from second to second.
    """
    return safe_rate is not None and not isinstance(phase.load, Closed | Replay)


def _at_limit(timeline: Timeline, end: float) -> Iterator[tuple[float, float, ReplicaRecord]]:
    """Yield the beginning and the end of each record whose desired replicas are at the limit."""
    times = [*(record.time for record in timeline.replicas), end]
    for record, (begin, following) in zip(timeline.replicas, pairwise(times), strict=True):
        if record.hpa_max is not None and record.desired >= record.hpa_max:
            yield begin, following, record


def _missed_times(bounds: PhaseBounds, series: TimeSeries, ready: Iterable[Interval]) -> Iterator[Interval]:
    """Yield the windows of a phase that missed its latency, with all permitted replicas ready."""
    for ready_from, ready_until in ready:
        settled = ready_from + _SETTLING_SECONDS if ready_from > 0 else 0.0
        begin, end = max(settled, bounds.start), min(ready_until, bounds.end)
        if is_missed(bounds.thresholds, series, begin, end):
            for missed_from, missed_until in missed_windows(bounds.thresholds, series, begin, end):
                yield missed_from, min(missed_until, end)


def _exceeded_times(
    campaign: Campaign,
    bounds: PhaseBounds,
    at_limit: Iterable[tuple[float, float, ReplicaRecord]],
    safe_rate: float,
) -> Iterator[Interval]:
    """Yield the seconds of a phase whose rate needs more replicas than the limit."""
    for limit_from, limit_until, record in at_limit:
        begin, end = max(limit_from, bounds.start), min(limit_until, bounds.end)
        for second in range(floor(begin), ceil(end)):
            part = max(float(second), begin), min(second + 1.0, end)
            rate = campaign.rate_at(sum(part) / 2) or 0.0
            if ceil(rate / safe_rate) > (record.hpa_max or 0):
                yield part


def _merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the times that are in any of the intervals, in their order.

    >>> _merge([(5.0, 6.0), (0.0, 2.0), (2.0, 3.0), (0.5, 1.0)])
    [(0.0, 3.0), (5.0, 6.0)]
    """
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
