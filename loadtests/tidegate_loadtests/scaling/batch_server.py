# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A replica that batches, simulated: latency, requests in flight and busy time by the rate of its requests.

An engine call computes all requests that arrived during the previous one. A call of k requests takes
``a + b * k`` seconds, so batches grow with the rate, and no batch size serves a rate above ``1 / b``. The
simulation follows many independent servers call by call. Time is in units of b.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UTILIZATIONS = (0.01, *(step / 20 for step in range(1, 19)), 0.93, 0.96, 0.98)
"""Rates, as fractions of the largest, at which the servers are simulated."""
LATENCY_LEVELS = (0.25, 0.5, 0.65, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.985, 0.99, 0.995, 0.999)
"""Quantiles of the latency that a simulation returns."""
_SERVERS = 64
_CALLS = 240
_WARM_UP_CALLS = 80
_SLICES = 4
"""Arrivals of one call are uniform over its time, and are placed in the middle of so many equal slices."""


@dataclass(frozen=True, slots=True)
class BatchServer:
    """The behaviour of one server by utilization, ``[utilizations]``; times are in units of b.

    Args:
        utilization: Rates as fractions of the largest.
        latency: Quantiles of the latency, ``[levels, utilizations]``.
        in_flight: Mean requests in flight.
        busy: Fraction of the time in engine calls.
    """

    utilization: Floats
    latency: Floats
    in_flight: Floats
    busy: Floats

    def latency_at(self, level: float) -> Floats:
        """Return a quantile of the latency, ``[utilizations]``."""
        return np.array([np.interp(level, LATENCY_LEVELS, point) for point in self.latency.T])


@lru_cache(maxsize=64)
def simulate_batch_server(call_ratio: float, jitter: float, seed: int = 0) -> BatchServer:
    """Simulate servers at all utilizations at once.

    Args:
        call_ratio: ``a / b``: the cost of a call in requests.
        jitter: Standard deviation of the logarithm of a call's time.
        seed: The same seed gives the same result.

    Returns:
        The behaviour by utilization.
    """
    source = np.random.default_rng(seed)
    rate = np.repeat(np.array(UTILIZATIONS)[:, None], _SERVERS, axis=1)

    def call_time(batch: Floats) -> Floats:
        noise = jitter * source.standard_normal(rate.shape) - jitter**2 / 2
        return np.asarray((call_ratio + batch) * np.exp(noise))

    position = (np.arange(_SLICES)[:, None, None] + 0.5) / _SLICES
    latencies, weights = [], []
    busy, total = np.zeros_like(rate), np.zeros_like(rate)
    current = call_time(np.ones_like(rate))
    for call in range(_CALLS):
        arrived = source.poisson(rate * current).astype(float)
        idle = arrived == 0
        following = call_time(np.maximum(arrived, 1))
        if call >= _WARM_UP_CALLS:
            busy += current
            total += current + np.where(idle, source.exponential(size=rate.shape) / rate, 0.0)
            # The first request of an idle server starts its call at once.
            latencies.append(np.where(idle, 0.0, position * current) + following)
            weights.append(np.broadcast_to(np.maximum(arrived, 1), latencies[-1].shape))
        current = following
    # [utilizations, samples]
    latency = np.stack(latencies).transpose(2, 0, 1, 3).reshape(len(UTILIZATIONS), -1)
    weight = np.stack(weights).transpose(2, 0, 1, 3).reshape(len(UTILIZATIONS), -1)
    mean = (latency * weight).sum(axis=1) / weight.sum(axis=1)
    quantiles = np.array(
        [weighted_quantiles(row, by, LATENCY_LEVELS) for row, by in zip(latency, weight, strict=True)]
    )
    return BatchServer(
        np.array(UTILIZATIONS),
        np.maximum.accumulate(quantiles.T, axis=1),
        np.maximum.accumulate(np.array(UTILIZATIONS) * mean),  # Little's law
        np.maximum.accumulate(busy.sum(axis=1) / total.sum(axis=1)),
    )


def weighted_quantiles(values: Floats, weights: Floats, levels: tuple[float, ...]) -> Floats:
    """Return the smallest values that at least the given fractions of the weight do not exceed.

    >>> weighted_quantiles(np.array([3.0, 1.0]), np.array([1.0, 9.0]), (0.5, 0.9, 0.95)).tolist()
    [1.0, 1.0, 3.0]

    Args:
        values: The values in any order, ``[values]``.
        weights: The weight of each value, ``[values]``.
        levels: Fractions from 0 to 1.

    Returns:
        One value per level, ``[levels]``.
    """
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    index = np.searchsorted(cumulative, np.array(levels) * cumulative[-1])
    return np.asarray(values[order][np.minimum(index, len(values) - 1)])
