# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The time series: a campaign's metrics in bins of equal width, for plots and for the time of a recovery.

The number of bins is bounded, so a longer campaign has wider bins, not more memory.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from tidegate.stats import percentile
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.histogram import Buckets, Counts, Floats
from tidegate_loadtests.samples import Samples

PERCENTILES = (50.0, 95.0, 99.0)
MAX_BINS = 600
BUCKETS = Buckets(relative_error=0.01)
"""The buckets of the latencies in a bin: coarser than a summary's, because there are so many bins."""


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Metrics over time, one element per bin, ``[bins]``."""

    edges: Floats
    """Seconds from the start of the campaign, ``[edges]``; the last bin may be shorter than the others."""
    requests: Counts
    """Requests by their intended start."""
    failures: Counts
    """Failures by the intended start of the request."""
    completed: Counts
    """Successful responses by the time of the response."""
    missed: dict[float, Counts]
    """By percentile, requests that failed or were late, by their phase's threshold for this percentile."""
    latency_ms: dict[float, Floats]
    """By percentile, the latency of requests that start in the bin; NaN without a successful response."""

    @property
    def widths(self) -> Floats:
        """The width of each bin in seconds, ``[bins]``."""
        return np.diff(self.edges)

    @property
    def middles(self) -> Floats:
        """The middle of each bin in seconds, ``[bins]``."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def goodput(self) -> Floats:
        """Successful responses per second, ``[bins]``."""
        return np.asarray(self.completed / self.widths)


class TimeSeriesCounter:
    """Counter of the samples of a campaign by time.

    Args:
        campaign: The campaign; its bins last a whole number of seconds.
    """

    def __init__(self, campaign: Campaign) -> None:
        duration = campaign.duration_seconds
        self._width = max(1, ceil(duration / MAX_BINS))
        self._bins = ceil(duration / self._width)
        self._duration = duration
        self._bounds = campaign.bounds()
        self._phase_starts = np.array([bounds.start for bounds in self._bounds])
        self._thresholds = {
            q: np.array([bounds.thresholds.max_latency_ms.get(q, np.inf) for bounds in self._bounds])
            for q in PERCENTILES
        }
        self._requests, self._failures, self._completed = (self._zeros() for _ in range(3))
        self._missed = {q: self._zeros() for q in PERCENTILES}
        self._latency = np.zeros((self._bins, BUCKETS.count), dtype=np.uint32)

    def add(self, samples: Samples) -> None:
        """Count samples."""
        successful, latency_ms = samples.successful, samples.latency_ms
        bins = self._bin(samples.intended_start)
        phases = np.searchsorted(self._phase_starts, samples.intended_start, "right") - 1
        self._requests += self._count(bins)
        self._failures += self._count(bins[~successful])
        self._completed += self._count(
            self._bin(samples.completed[successful & (samples.completed < self._duration)])
        )
        for q, thresholds in self._thresholds.items():
            self._missed[q] += self._count(bins[~successful | (latency_ms > thresholds[phases])])
        np.add.at(self._latency, (bins[successful], BUCKETS.indices(latency_ms[successful])), 1)

    def series(self) -> TimeSeries:
        """Return the metrics of all samples so far."""
        return TimeSeries(
            edges=np.minimum(np.arange(self._bins + 1) * float(self._width), self._duration),
            requests=self._requests.copy(),
            failures=self._failures.copy(),
            completed=self._completed.copy(),
            missed={q: counts.copy() for q, counts in self._missed.items()},
            latency_ms={
                q: np.array([percentile(BUCKETS.middles, q, counts) or np.nan for counts in self._latency])
                for q in PERCENTILES
            },
        )

    def _zeros(self) -> Counts:
        return np.zeros(self._bins, dtype=np.int64)

    def _bin(self, seconds: Floats) -> Counts:
        return np.clip(seconds // self._width, 0, self._bins - 1).astype(np.int64)

    def _count(self, bins: Counts) -> Counts:
        return np.bincount(bins, minlength=self._bins)
