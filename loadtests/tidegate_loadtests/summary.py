# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The summary: figures computed from raw samples, over the measured time.

Pure functions of the samples; whether the figures are good enough is the objective's business.
Percentiles are by nearest rank (the smallest value that at least that share of values does not exceed), so
each is a latency that some request really had. They are those of right answers: failures have their
own limit.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tidegate_loadtests.samples import Floats, Samples

PERCENTILES = (50.0, 95.0, 99.0)


def percentile(values: Floats, q: float) -> float | None:
    """The q-th percentile (0 to 100) by nearest rank; None of no values.

    >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 50)
    2.0
    """
    return float(np.percentile(values, q, method="inverted_cdf")) if len(values) else None


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds; None where there was no right answer."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def of(cls, values: Floats) -> "Latency":
        """Of latencies in milliseconds."""
        return cls(*(percentile(values, q) for q in (*PERCENTILES, 100.0)))

    def at(self, q: float) -> float | None:
        """The percentile q, one of :data:`PERCENTILES`."""
        return {50.0: self.p50_ms, 95.0: self.p95_ms, 99.0: self.p99_ms}[q]


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of the requests of one protocol."""

    requests: int
    failures: int
    latency: Latency


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a campaign."""

    requests: int
    """Requests intended within the measured time."""
    failures: int
    """Those without a right answer in time."""
    rps: float
    """Right answers that came within the measured time, a second."""
    rows_per_second: float
    latency: Latency
    """From the intended start."""
    service: Latency
    """From the sending."""
    without_lag: Latency
    """From the intended start, less what the generator itself was late."""
    lag_p99_ms: float | None
    """How late the generator itself was."""
    protocols: dict[str, Part]
    errors: dict[str, int]
    """What went wrong, with how often, the most frequent first."""
    recorded: int
    """Requests in the record, warm-up included."""

    @property
    def failure_ratio(self) -> float | None:
        """The share of failures; None of no requests."""
        return self.failures / self.requests if self.requests else None


def measured(samples: Samples) -> Samples:
    """The samples that were intended after the warm-up."""
    return samples.where(samples.intended >= 0)


def summarise(samples: Samples, duration: float) -> Summary:
    """The figures of a campaign whose measured time took that many seconds."""
    counted = measured(samples)
    right = counted.where(counted.right)
    answered = samples.where(samples.right & (samples.end >= 0) & (samples.end < duration))
    return Summary(
        requests=len(counted),
        failures=len(counted) - len(right),
        rps=len(answered) / duration,
        rows_per_second=float(answered.rows.sum()) / duration,
        latency=Latency.of(right.latency_ms),
        service=Latency.of(right.service_ms),
        without_lag=Latency.of(right.latency_ms - right.lag_ms),
        lag_p99_ms=percentile(counted.lag_ms, 99),
        protocols={str(name): _part(counted, str(name)) for name in np.unique(counted.protocol)},
        errors=dict(Counter(counted.error[~counted.right].tolist()).most_common()),
        recorded=len(samples),
    )


@dataclass(frozen=True, slots=True)
class Series:
    """Figures over time: one entry a bin of ``width`` seconds, the warm-up's at negative times."""

    width: float
    time: Floats
    """The middle of each bin."""
    answers: Floats
    """Right answers a second, by the time of the answer."""
    failures: Floats
    """Failures a second, by their intended start."""
    latency_ms: dict[float, Floats]
    """By percentile, the latency of requests intended in the bin; NaN where none was answered."""


def series(samples: Samples, duration: float, warmup: float) -> Series:
    """The course of a campaign in at most some 120 bins, none narrower than a second."""
    width = max(1.0, float(np.ceil((duration + warmup) / 120)))
    edges = np.arange(-np.ceil(warmup / width), np.ceil(duration / width) + 1) * width
    right = samples.where(samples.right)
    wrong = samples.where(~samples.right)
    bins = np.digitize(right.intended, edges)
    percentiles = {
        q: np.array(
            [percentile(right.latency_ms[bins == index], q) or np.nan for index in range(1, len(edges))]
        )
        for q in PERCENTILES
    }
    # The ends of both times may fall inside a bin, which then is shorter than the others.
    lengths = np.diff(np.clip(edges, -warmup, duration))
    return Series(
        width=width,
        time=(edges[:-1] + edges[1:]) / 2,
        answers=np.histogram(right.end[right.end < duration], edges)[0] / lengths,
        failures=np.histogram(wrong.intended, edges)[0] / lengths,
        latency_ms=percentiles,
    )


def _part(samples: Samples, protocol: str) -> Part:
    part = samples.where(samples.protocol == protocol)
    right = part.where(part.right)
    return Part(len(part), len(part) - len(right), Latency.of(right.latency_ms))
