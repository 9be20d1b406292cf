# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""One replica by the rate of its requests: CPU, requests in flight and latency, from a capacity file.

The simulated batch server gives the shape of each curve. The measurements of the capacity file correct its
level: at a measured rate, a curve has the measured value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tidegate_loadtests.capacity.document import Capacity, RateMeasurement
from tidegate_loadtests.scaling.batch_server import (
    LATENCY_LEVELS,
    UTILIZATIONS,
    BatchServer,
    simulate_batch_server,
)

Floats = NDArray[np.float64]

_P99 = 0.99
_MAX_CALL_RATIO = 1_000.0
"""The largest ratio of a call's time without rows to the time of a request."""


@dataclass(frozen=True)
class ReplicaModel:
    """One replica; rates are in requests per second.

    Args:
        call_seconds: Time of an engine call without rows.
        request_seconds: Time that a request adds to an engine call.
        jitter: Standard deviation of the logarithm of a call's time.
        capacity_rate: The rate at which the latency just keeps the threshold.
        threshold_seconds: The threshold of the latency.
        percentile: The percentile of the latency.
        startup_seconds: Time from a pod's creation until it is ready.
        measured: The measurements of one replica, by ascending rate.
    """

    call_seconds: float
    request_seconds: float
    jitter: float
    capacity_rate: float
    threshold_seconds: float
    percentile: float
    startup_seconds: float
    measured: Sequence[RateMeasurement] = ()

    @classmethod
    def of(cls, capacity: Capacity) -> Self:
        """Return the model of a capacity file."""
        return cls(
            capacity.service_time.call_seconds,
            capacity.service_time.row_seconds * capacity.rows_per_request,
            capacity.service_time.jitter,
            capacity.capacity_rate.median,
            capacity.threshold.latency_ms / 1000,
            capacity.threshold.percentile,
            capacity.startup_seconds,
            capacity.cpu_at_rates,
        )

    @cached_property
    def ceiling(self) -> float:
        """The rate above which the queue grows.

        It is ``1 / request_seconds``, or less if the simulated server would keep the threshold above the
        measured capacity, because that measurement is better evidence than the fitted service time.
        """
        low, high = self.capacity_rate, max(1 / self._request_seconds, self.capacity_rate)
        utilization, latency = self._server.utilization, self._server.latency_at(self.percentile / 100)
        for _ in range(50):
            middle = (low + high) / 2
            at_capacity = np.interp(self.capacity_rate / middle, utilization, latency) / middle
            low, high = (middle, high) if at_capacity > self.threshold_seconds else (low, middle)
        return high

    @cached_property
    def rates(self) -> Floats:
        """The rates of the curves, ``[points]``."""
        simulated = np.array([0.0, *UTILIZATIONS, 1.0]) * self.ceiling
        return np.unique(np.concatenate([simulated, [point.rate for point in self.measured]]))

    @cached_property
    def cpu(self) -> Floats:
        """CPU seconds per second, ``[points]``."""
        measured = [point.cpu_seconds_per_second for point in self.measured]
        return self._corrected(self._server.busy, 0.0, measured)

    @cached_property
    def in_flight(self) -> Floats:
        """Mean requests in flight, ``[points]``."""
        return self._corrected(self._server.in_flight, 0.0, [point.in_flight for point in self.measured])

    @cached_property
    def latency(self) -> Floats:
        """Quantiles of the latency in seconds, ``[levels, points]``."""
        p99 = self._server.latency_at(_P99) / self.ceiling
        measured = [point.latency_p99_ms / 1000 for point in self.measured]
        scale = self._corrected(p99, p99[0], measured) / self._at_rates(p99, p99[0])
        return np.array([self._at_rates(row, row[0]) * scale / self.ceiling for row in self._server.latency])

    @cached_property
    def idle_latency(self) -> float:
        """The median latency in seconds of a request that finds the replica idle."""
        return float(self.latency_at(0.5)[0])

    def latency_at(self, level: float) -> Floats:
        """Return a quantile of the latency in seconds, ``[points]``."""
        return np.array([np.interp(level, LATENCY_LEVELS, point) for point in self.latency.T])

    @property
    def _request_seconds(self) -> float:
        return max(self.request_seconds, self.call_seconds / _MAX_CALL_RATIO)

    @cached_property
    def _server(self) -> BatchServer:
        return simulate_batch_server(self.call_seconds / self._request_seconds, self.jitter)

    def _at_rates(self, simulated: Floats, without_load: float) -> Floats:
        utilization = [0.0, *self._server.utilization]
        return np.asarray(
            np.interp(self.rates / self.ceiling, utilization, np.array([without_load, *simulated]))
        )

    def _corrected(self, simulated: Floats, without_load: float, measured: Sequence[float]) -> Floats:
        """Scale a simulated curve so that it has the measured values at the measured rates.

        Args:
            simulated: The curve by utilization, ``[utilizations]``.
            without_load: The curve's value without requests.
            measured: The values at the measured rates.

        Returns:
            The curve by rate, which never falls, ``[points]``.
        """
        curve = self._at_rates(simulated, without_load)
        if not measured:
            return curve
        rates = [point.rate for point in self.measured]
        factors = np.array(measured) / np.interp(rates, self.rates, curve)
        return np.asarray(np.maximum.accumulate(curve * np.interp(self.rates, rates, factors)))
