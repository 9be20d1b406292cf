# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Latency windows: the times within a phase whose requests prove that a latency threshold was missed.

One slow second among many proves little, so a window is a third of the autoscaler's period.
"""

from collections.abc import Iterator

import numpy as np

from tidegate_loadtests.campaign import Thresholds
from tidegate_loadtests.evidence import proves_missed
from tidegate_loadtests.histogram import Counts
from tidegate_loadtests.time_series import TimeSeries

Interval = tuple[float, float]
"""The beginning and the end, in seconds from the start of the campaign."""

_WINDOW_SECONDS = 5.0
_RESOLUTION_SECONDS = 1e-6


def missed_windows(
    thresholds: Thresholds, series: TimeSeries, begin: float, end: float
) -> Iterator[Interval]:
    """Yield the windows that prove a latency threshold missed.

    Args:
        thresholds: The thresholds of the phase.
        series: Requests and missed requests over time.
        begin: The beginning of the first window.
        end: The time before which every bin begins.
    """
    bins = _bins(series, begin, end)
    size = max(1, round(_WINDOW_SECONDS / series.widths[0]))
    for window in (bins[index : index + size] for index in range(0, len(bins), size)):
        if _proves_missed(thresholds, series, window):
            yield float(series.edges[window[0]]), float(series.edges[window[-1] + 1])


def is_missed(thresholds: Thresholds, series: TimeSeries, begin: float, end: float) -> bool:
    """Return whether all requests between two times together prove a latency threshold missed.

    Args:
        thresholds: The thresholds of the phase.
        series: Requests and missed requests over time.
        begin: The time from which on bins count.
        end: The time before which every bin begins.
    """
    return _proves_missed(thresholds, series, _bins(series, begin, end))


def _bins(series: TimeSeries, begin: float, end: float) -> Counts:
    starts = series.edges[:-1]
    return np.flatnonzero((starts >= begin - _RESOLUTION_SECONDS) & (starts < end))


def _proves_missed(thresholds: Thresholds, series: TimeSeries, bins: Counts) -> bool:
    return any(
        proves_missed(int(series.requests[bins].sum()), int(series.missed[q][bins].sum()), q)
        for q in thresholds.max_latency_ms
    )
