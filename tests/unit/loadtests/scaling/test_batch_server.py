# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.stats import percentile
from tidegate_loadtests.scaling.batch_server import (
    LATENCY_LEVELS,
    UTILIZATIONS,
    simulate_batch_server,
    weighted_quantiles,
)


def serve(arrivals: NDArray[np.float64], call_ratio: float) -> NDArray[np.float64]:
    """Return the latency of each arrival, by a simulation request by request."""
    now, first, latency = 0.0, 0, []
    while first < len(arrivals):
        now = max(now, arrivals[first])
        last = int(np.searchsorted(arrivals, now, "right"))
        now += call_ratio + last - first
        latency.append(now - arrivals[first:last])
        first = last
    return np.concatenate(latency)


@pytest.mark.parametrize("call_ratio", [0.125, 1.0, 4.3])
@pytest.mark.parametrize("utilization", [0.1, 0.5, 0.8])
def test_simulate_batch_server_equals_single_requests(call_ratio: float, utilization: float) -> None:
    source = np.random.default_rng(1)
    latency = serve(source.exponential(1 / utilization, 60_000).cumsum(), call_ratio)
    server = simulate_batch_server(call_ratio, 0.0)
    index = UTILIZATIONS.index(utilization)
    assert server.in_flight[index] == pytest.approx(utilization * latency.mean(), rel=0.05)
    assert server.latency[LATENCY_LEVELS.index(0.99), index] == pytest.approx(
        percentile(latency, 99), rel=0.1
    )


def test_simulate_batch_server_low_rate_is_one_call_per_request() -> None:
    server = simulate_batch_server(4.0, 0.0)
    assert server.busy[0] == pytest.approx(0.01 * 5.0, rel=0.1)
    assert server.latency[LATENCY_LEVELS.index(0.5), 0] == 5.0


def test_simulate_batch_server_curves_rise_with_the_rate() -> None:
    server = simulate_batch_server(2.0, 0.3)
    for curve in (server.in_flight, server.busy, *server.latency):
        assert (np.diff(curve) >= 0).all()
    assert server.busy[-1] <= 1.0


def test_weighted_quantiles_integer_weights_equal_repeated_values() -> None:
    values, weights = np.array([5.0, 1.0, 3.0]), np.array([2.0, 3.0, 5.0])
    repeated = np.repeat(values, weights.astype(int))
    levels = (0.25, 0.5, 0.85, 0.99)
    expected = [percentile(repeated, 100 * level) for level in levels]
    assert weighted_quantiles(values, weights, levels).tolist() == expected
