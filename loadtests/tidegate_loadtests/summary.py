# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The summary: metrics computed from raw samples over the measured time.

All functions are pure. The thresholds are the verdict's concern. Latency percentiles exclude failed requests,
which have a threshold of their own.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tidegate.stats import percentile
from tidegate_loadtests.samples import Floats, Samples

PERCENTILES = (50.0, 95.0, 99.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds; None without a successful response."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def from_values(cls, values_ms: Floats) -> "Latency":
        """Compute the percentiles of latencies in milliseconds, ``[requests]``."""
        return cls(*(percentile(values_ms, q) for q in (*PERCENTILES, 100.0)))

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
    """The metrics of a campaign."""

    requests: int
    """Requests whose intended start is within the measured time."""
    failures: int
    """Requests without a correct response in time."""
    goodput: float
    """Successful responses within the measured time, per second."""
    rows_per_second: float
    """Rows in the successful responses within the measured time, per second."""
    latency: Latency
    """From the intended start to the response."""
    service_time: Latency
    """From the send to the response."""
    latency_without_send_delay: Latency
    """From the intended start to the response, less the load generator's own delay."""
    send_delay_p99_ms: float | None
    """The load generator's own delay."""
    protocols: dict[str, ProtocolSummary]
    errors: dict[str, int]
    """Number of failures by error, the most frequent first."""
    recorded_requests: int
    """All requests in the samples, with those of the warm-up."""

    @property
    def failure_ratio(self) -> float | None:
        """The ratio of failed requests to all requests; None without requests."""
        return self.failures / self.requests if self.requests else None


def summarise(samples: Samples, duration: float) -> Summary:
    """Compute the metrics of a campaign.

    Args:
        samples: All samples, with those of the warm-up.
        duration: The measured time in seconds.
    """
    measured = samples.measured
    successful = measured.select(measured.successful)
    completed = samples.select(samples.successful & (samples.completed >= 0) & (samples.completed < duration))
    return Summary(
        requests=len(measured),
        failures=len(measured) - len(successful),
        goodput=len(completed) / duration,
        rows_per_second=float(completed.rows.sum()) / duration,
        latency=Latency.from_values(successful.latency_ms),
        service_time=Latency.from_values(successful.service_time_ms),
        latency_without_send_delay=Latency.from_values(successful.latency_ms - successful.send_delay_ms),
        send_delay_p99_ms=percentile(measured.send_delay_ms, 99),
        protocols={
            str(protocol): _summarise_protocol(measured.select(measured.protocol == protocol))
            for protocol in np.unique(measured.protocol)
        },
        errors=dict(Counter(measured.error[~measured.successful].tolist()).most_common()),
        recorded_requests=len(samples),
    )


def _summarise_protocol(samples: Samples) -> ProtocolSummary:
    successful = samples.select(samples.successful)
    return ProtocolSummary(
        requests=len(samples),
        failures=len(samples) - len(successful),
        latency=Latency.from_values(successful.latency_ms),
    )
