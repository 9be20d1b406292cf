# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Live metrics: the progress of a campaign that still runs, in memory that does not grow with its length.

The load generator counts its samples as it writes them, because only a complete Parquet file is readable.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tidegate.stats import percentile
from tidegate_loadtests.samples import Floats, Samples

_WINDOW_SECONDS = 5.0
"""Time that rate and latency cover: long enough for a steady figure, short enough to follow a load step."""


@dataclass(frozen=True, slots=True)
class LiveMetrics:
    """The metrics of a campaign that still runs."""

    requests: int = 0
    """All completed requests."""
    failures: int = 0
    """All failed requests."""
    rate: float = 0.0
    """Completed requests per second, over the last five seconds."""
    p99_ms: float | None = None
    """Latency of the successful responses of the last five seconds; None without one."""


@dataclass(frozen=True, slots=True)
class _Batch:
    time: float
    requests: int
    latency_ms: Floats


class SampleCounter:
    """Counter of the samples of a campaign that still runs.

    Args:
        clock: The seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()
        self._requests = 0
        self._failures = 0
        self._recent: deque[_Batch] = deque()

    def add(self, samples: Samples) -> None:
        """Count samples that have just completed."""
        latency_ms = samples.latency_ms[samples.successful]
        self._requests += len(samples)
        self._failures += len(samples) - len(latency_ms)
        self._recent.append(_Batch(self._clock(), len(samples), latency_ms))
        self._forget()

    def read(self) -> LiveMetrics:
        """Return the metrics up to now."""
        self._forget()
        window = min(_WINDOW_SECONDS, self._clock() - self._started_at)
        return LiveMetrics(
            requests=self._requests,
            failures=self._failures,
            rate=sum(batch.requests for batch in self._recent) / window if window else 0.0,
            p99_ms=percentile([value for batch in self._recent for value in batch.latency_ms], 99),
        )

    def _forget(self) -> None:
        oldest = self._clock() - _WINDOW_SECONDS
        while self._recent and self._recent[0].time <= oldest:
            self._recent.popleft()
