# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The summary: the metrics of a campaign and of each of its phases, computed from a stream of samples.

Memory does not grow with the number of samples: latencies are counted in histograms, whose percentiles have
a relative error of at most 0.1 %, and the time series has a bounded number of bins. The thresholds are the
verdict's concern. Latency percentiles exclude failed requests, which have a threshold of their own.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from tidegate_loadtests.campaign import Campaign, PhaseBounds
from tidegate_loadtests.error_texts import limit_errors
from tidegate_loadtests.histogram import Histogram
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.time_series import PERCENTILES, TimeSeries, TimeSeriesCounter


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds; None without a successful response."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def from_histogram(cls, histogram: Histogram) -> "Latency":
        """Return the percentiles of a histogram."""
        p50, p95, p99 = (histogram.percentile(q) for q in PERCENTILES)
        return cls(p50, p95, p99, histogram.max_ms)

    def at(self, q: float) -> float | None:
        """Return the percentile q, one of :data:`PERCENTILES`."""
        return {50.0: self.p50_ms, 95.0: self.p95_ms, 99.0: self.p99_ms}[q]


@dataclass(frozen=True, slots=True)
class ProtocolSummary:
    """The metrics of one protocol's requests."""

    requests: int
    failures: int
    latency: Latency


@dataclass(frozen=True, slots=True)
class Summary:
    """The metrics of one or several phases."""

    requests: int
    """Requests by their intended start."""
    failures: int
    """Requests without a correct response in time."""
    goodput: float
    """Successful responses within the time of the phases, per second."""
    rows_per_second: float
    """Rows in the successful responses within the time of the phases, per second."""
    latency: Latency
    """From the intended start to the response."""
    service_time: Latency
    """From the send to the response."""
    latency_without_send_delay: Latency
    """From the intended start to the response, less the load generator's own delay."""
    send_delay_p99_ms: float | None
    """The load generator's own delay."""
    late: dict[float, int]
    """By percentile with a threshold, the successful responses that exceeded the threshold."""
    protocols: dict[str, ProtocolSummary]
    errors: dict[str, int]
    """Number of failures by error, the most frequent first."""

    @property
    def failure_ratio(self) -> float | None:
        """The ratio of failed requests to all requests; None without requests."""
        return self.failures / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """The metrics of one phase."""

    bounds: PhaseBounds
    metrics: Summary


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """The metrics of a campaign."""

    phases: tuple[PhaseSummary, ...]
    judged: Summary
    """The metrics of all judged phases together."""
    latency: Histogram
    """Latencies in the judged phases."""
    service_time: Histogram
    """Service times in the judged phases."""
    series: TimeSeries
    recorded_requests: int
    """All requests in the samples."""


def summarise(campaign: Campaign, batches: Iterable[Samples]) -> CampaignSummary:
    """Compute the metrics of a campaign, with one batch of samples in memory at a time."""
    summariser = Summariser(campaign)
    for samples in batches:
        summariser.add(samples)
    return summariser.summary()


@dataclass(slots=True)
class _Protocol:
    """The counts of one protocol."""

    requests: int = 0
    failures: int = 0
    latency: Histogram = field(default_factory=Histogram)

    def add(self, successful: NDArray[np.bool_], samples: Samples) -> None:
        self.requests += len(samples)
        self.failures += int((~successful).sum())
        self.latency.add(samples.latency_ms[successful])

    def __add__(self, other: "_Protocol") -> "_Protocol":
        return _Protocol(
            self.requests + other.requests, self.failures + other.failures, self.latency + other.latency
        )


@dataclass(slots=True)
class _Counts:
    """The counts of one or several phases; the sum of two is the count of both phases."""

    seconds: float
    completed: int = 0
    completed_rows: int = 0
    service_time: Histogram = field(default_factory=Histogram)
    latency_without_send_delay: Histogram = field(default_factory=Histogram)
    send_delay: Histogram = field(default_factory=Histogram)
    late: Counter[float] = field(default_factory=Counter)
    protocols: dict[str, _Protocol] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, samples: Samples, thresholds: dict[float, float]) -> None:
        """Count the samples of requests that start within the phase."""
        successful = samples.successful
        latency_ms, send_delay_ms = samples.latency_ms, samples.send_delay_ms
        self.service_time.add(samples.service_time_ms[successful])
        self.latency_without_send_delay.add((latency_ms - send_delay_ms)[successful])
        self.send_delay.add(send_delay_ms)
        for q, limit in thresholds.items():
            self.late[q] += int((latency_ms[successful] > limit).sum())
        for name in sorted(set(samples.protocol)):
            mask = samples.protocol == name
            self.protocols.setdefault(name, _Protocol()).add(successful[mask], samples.select(mask))
        self._add_errors(Counter(samples.error[~successful].tolist()))

    def add_completed(self, samples: Samples) -> None:
        """Count the successful responses within the time of the phase."""
        self.completed += len(samples)
        self.completed_rows += int(samples.rows.sum())

    def _add_errors(self, errors: Counter[str]) -> None:
        for error, count in errors.items():
            self.errors[limit_errors(error, self.errors)] += count

    def __add__(self, other: "_Counts") -> "_Counts":
        total = _Counts(
            seconds=self.seconds + other.seconds,
            completed=self.completed + other.completed,
            completed_rows=self.completed_rows + other.completed_rows,
            service_time=self.service_time + other.service_time,
            latency_without_send_delay=self.latency_without_send_delay + other.latency_without_send_delay,
            send_delay=self.send_delay + other.send_delay,
            late=self.late + other.late,
            protocols={
                name: self.protocols.get(name, _Protocol()) + other.protocols.get(name, _Protocol())
                for name in sorted({*self.protocols, *other.protocols})
            },
        )
        total._add_errors(self.errors)
        total._add_errors(other.errors)
        return total

    @property
    def latency(self) -> Histogram:
        return sum((protocol.latency for protocol in self.protocols.values()), Histogram())

    def summary(self) -> Summary:
        return Summary(
            requests=sum(protocol.requests for protocol in self.protocols.values()),
            failures=sum(protocol.failures for protocol in self.protocols.values()),
            goodput=self.completed / self.seconds,
            rows_per_second=self.completed_rows / self.seconds,
            latency=Latency.from_histogram(self.latency),
            service_time=Latency.from_histogram(self.service_time),
            latency_without_send_delay=Latency.from_histogram(self.latency_without_send_delay),
            send_delay_p99_ms=self.send_delay.percentile(99),
            late=dict(self.late),
            protocols={
                name: ProtocolSummary(
                    protocol.requests, protocol.failures, Latency.from_histogram(protocol.latency)
                )
                for name, protocol in sorted(self.protocols.items())
            },
            errors=dict(self.errors.most_common()),
        )


class Summariser:
    """The metrics of a campaign up to now, from the samples up to now."""

    def __init__(self, campaign: Campaign) -> None:
        self._bounds = campaign.bounds()
        self._starts = np.array([bounds.start for bounds in self._bounds])
        self._phases = [_Counts(bounds.duration) for bounds in self._bounds]
        self._series = TimeSeriesCounter(campaign)
        self._recorded_requests = 0

    def add(self, samples: Samples) -> None:
        """Count samples, in any order."""
        self._recorded_requests += len(samples)
        self._series.add(samples)
        started = np.searchsorted(self._starts, samples.intended_start, "right") - 1
        for index, (bounds, counts) in enumerate(zip(self._bounds, self._phases, strict=True)):
            in_phase = started == index
            if in_phase.any():
                counts.add(samples.select(in_phase), bounds.thresholds.max_latency_ms)
            within = (samples.completed >= bounds.start) & (samples.completed < bounds.end)
            counts.add_completed(samples.select(within & samples.successful))

    def summary(self) -> CampaignSummary:
        """Return the metrics."""
        phases = zip(self._bounds, self._phases, strict=True)
        judged = reduce(
            _Counts.__add__,
            (counts for bounds, counts in zip(self._bounds, self._phases, strict=True) if bounds.judged),
        )
        return CampaignSummary(
            phases=tuple(PhaseSummary(bounds, counts.summary()) for bounds, counts in phases),
            judged=judged.summary(),
            latency=judged.latency,
            service_time=judged.service_time,
            series=self._series.series(),
            recorded_requests=self._recorded_requests,
        )
