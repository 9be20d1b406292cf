# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of a capacity: probe, warm up, search, and measure the metrics up to the safe rate.

The module decides on windows. The replica sends them, so a simulated replica can take its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.stats import percentile
from tidegate_loadtests.capacity.document import RateInterval, RateMeasurement
from tidegate_loadtests.capacity.fit import Calls
from tidegate_loadtests.capacity.search import (
    MAX_CONSECUTIVE_DISCARDS,
    Criterion,
    Search,
    SearchResult,
    Window,
    WindowOutcome,
    is_warm,
)

MEASURED_RATIOS = (0.25, 0.5, 0.75, 1.0)
"""The rates at which CPU and requests in flight are measured, as ratios of the safe rate."""

_MEASURE = "Measure"
"""The stage after the search."""
_PROBES = 100
_MIN_PROBES = 5
_FIRST_PROBES = 3
"""Requests whose fastest tells how long a probe takes; the first ones of a cold server tell nothing."""
_PROBE_SECONDS = 20.0
"""Longest time of a probe with more requests than the least."""
_PROBE_TIMEOUT_SECONDS = 60.0
_PROBE_TIMEOUT_RATIO = 3
"""Limit of a probe's time, as a ratio of the time at the fastest latency."""
_START_RATIO = 0.5
"""The first rate, as a ratio of the rate of one connection that sends request after request."""
_MIN_WINDOW_SECONDS = 4.0
"""If a machine's speed drifts by 5 to 10 %, simulated repeats differ by 7 %; those of 2 s by up to 15 %."""
_LATENCIES_PER_WINDOW = 20
"""Thresholds per window: 5 % more than the capacity then delays the last requests by the threshold."""
_REQUESTS_BEYOND_PERCENTILE = 10
_MAX_WARM_UP_PROBES = 20


@dataclass(frozen=True, slots=True)
class WindowResult:
    """A window with the replica's metrics."""

    window: Window
    seconds: float
    latency_p50_seconds: float | None
    """None if there was no successful response."""
    latency_p99_seconds: float | None
    cpu_seconds: float
    request_seconds: float
    """Sum of the requests' durations in the server."""
    calls: float
    rows: float
    memory_bytes: int

    @property
    def rate_measurement(self) -> RateMeasurement:
        """The metrics of the window in the form of the capacity file."""
        return RateMeasurement(
            rate=self.window.requests / self.seconds,
            cpu_seconds_per_second=self.cpu_seconds / self.seconds,
            in_flight=self.request_seconds / self.seconds,
            latency_p99_ms=(self.latency_p99_seconds or 0.0) * 1e3,
            mean_batch_rows=self.rows / self.calls if self.calls else 0.0,
        )


class Replica(Protocol):
    """The replica under load."""

    def probe(self, requests: int, seconds: float) -> NDArray[np.float64]:
        """Send requests one after the other; return the latency of each in seconds, ``[requests]``.

        Args:
            requests: Number of requests.
            seconds: Limit of their time together.
        """

    def run_window(self, rate: float, seconds: float) -> WindowResult:
        """Send Poisson load, wait for all responses, and return the window."""


@dataclass(frozen=True, slots=True)
class StagedWindow:
    """A window with the stage that sent it, and its outcome."""

    stage: str
    result: WindowResult
    outcome: WindowOutcome
    discard_reason: str | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of a measurement."""

    search: SearchResult
    history: tuple[StagedWindow, ...]
    """Every window in order, with the discarded ones."""
    probe_seconds: NDArray[np.float64]
    """Latencies of single requests, ``[requests]``."""
    inconclusive_reason: str | None

    @property
    def windows(self) -> tuple[WindowResult, ...]:
        """The windows of the search that were not discarded."""
        return self._used(lambda stage: stage != _MEASURE)

    @property
    def at_rates(self) -> tuple[WindowResult, ...]:
        """One window per ratio of :data:`MEASURED_RATIOS`; fewer if the measurement is inconclusive."""
        return self._used(lambda stage: stage == _MEASURE)

    @property
    def capacity_rate(self) -> RateInterval | None:
        """The posterior of the capacity; None before a window failed and another one passed."""
        posterior = self.search.capacity
        if posterior is None:
            return None
        return RateInterval(median=posterior.median, low=posterior.low, high=posterior.high)

    @property
    def discarded(self) -> int:
        """The number of discarded windows."""
        return sum(one.outcome == "discarded" for one in self.history)

    def _used(self, is_stage: Callable[[str], bool]) -> tuple[WindowResult, ...]:
        return tuple(one.result for one in self.history if one.outcome != "discarded" and is_stage(one.stage))

    def calls(self, cpus: float) -> list[Calls]:
        """Return the engine calls of the windows.

        Args:
            cpus: The CPUs that one event loop can use. A busy second needs this many CPU seconds.
        """
        return [
            Calls(result.calls, result.rows, result.cpu_seconds / min(cpus, 1.0))
            for result in (*self.windows, *self.at_rates)
        ]


@dataclass
class Progress:
    """The progress of a measurement, for the caller's display."""

    stage: str = "Warm up"
    rate: float = 0.0
    windows: int = 0
    discarded: int = 0


@dataclass
class _Run:
    replica: Replica
    criterion: Criterion
    on_window: Callable[[Progress], None]
    progress: Progress = field(default_factory=Progress)
    history: list[StagedWindow] = field(default_factory=list)

    def window(self, stage: str, rate: float) -> StagedWindow:
        self.progress.stage, self.progress.rate = stage, rate
        self.on_window(self.progress)
        result = self.replica.run_window(rate, window_seconds(rate, self.criterion))
        counts, criterion = result.window, self.criterion
        window = StagedWindow(stage, result, counts.outcome(criterion), counts.discard_reason(criterion))
        self.history.append(window)
        self.progress.windows += 1
        self.progress.discarded += window.outcome == "discarded"
        return window


def window_seconds(rate: float, criterion: Criterion) -> float:
    """Return a window's duration: long enough for overload, and for ten requests beyond the percentile."""
    requests = _REQUESTS_BEYOND_PERCENTILE / criterion.max_late_ratio
    return max(_MIN_WINDOW_SECONDS, _LATENCIES_PER_WINDOW * criterion.latency_seconds, requests / rate)


def measure(
    replica: Replica, criterion: Criterion, on_window: Callable[[Progress], None] = lambda _: None
) -> Measurement:
    """Measure the capacity of a replica.

    Args:
        replica: The replica.
        criterion: The thresholds of every window.
        on_window: Called before each window.
    """
    run = _Run(replica, criterion, on_window)
    on_window(run.progress)
    probes = _warm_up(replica)
    latency = float(np.median(probes))
    if latency > criterion.latency_seconds:  # a window would take hours, and fail
        too_slow = (
            f"single requests take {latency:.3g} s, and the latency threshold is "
            f"{criterion.latency_seconds:.3g} s"
        )
        return Measurement(SearchResult(None, None, too_slow), (), probes, too_slow)
    search = Search(_START_RATIO / latency, criterion)
    while search.result is None:
        search.record(run.window(search.stage, search.next_rate).result.window)
    safe_rate, reason = search.result.safe_rate, search.result.inconclusive_reason
    if safe_rate is not None:
        reason = _measure_rates(run, safe_rate)
    return Measurement(search.result, tuple(run.history), probes, reason)


def _warm_up(replica: Replica) -> NDArray[np.float64]:
    """Probe until the median latency is stable, at most 20 times; return the last probe, ``[requests]``."""
    fastest = float(replica.probe(_FIRST_PROBES, _PROBE_TIMEOUT_SECONDS).min())
    requests = min(_PROBES, max(_MIN_PROBES, int(_PROBE_SECONDS / fastest)))
    limit = max(_PROBE_TIMEOUT_SECONDS, _PROBE_TIMEOUT_RATIO * requests * fastest)
    medians: list[float] = []
    for _ in range(_MAX_WARM_UP_PROBES):
        seconds = replica.probe(requests, limit)
        medians.append(float(np.median(seconds)))
        if is_warm(medians):
            break
    return seconds


def _measure_rates(run: _Run, safe_rate: float) -> str | None:
    """Send a window per ratio; return the reason if one is discarded again and again."""
    for ratio in MEASURED_RATIOS:
        for _ in range(MAX_CONSECUTIVE_DISCARDS):
            window = run.window(_MEASURE, ratio * safe_rate)
            if window.outcome != "discarded":
                break
        else:
            return (
                f"{window.discard_reason} in {MAX_CONSECUTIVE_DISCARDS} windows in a row, at "
                f"{ratio * safe_rate:.4g} requests per second"
            )
    return None


def summarise_latencies(
    latencies: Sequence[float] | NDArray[np.float64],
) -> tuple[float | None, float | None]:
    """Return the median and the 99th percentile.

    Args:
        latencies: Latencies in seconds, ``[requests]``.
    """
    return percentile(latencies, 50), percentile(latencies, 99)
