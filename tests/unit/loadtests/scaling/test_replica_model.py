# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

import numpy as np
import pytest

from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.scaling.replica_model import ReplicaModel


def test_replica_model_unmeasured_has_the_simulated_curves(replica: ReplicaModel) -> None:
    simulated = replace(replica, measured=(), capacity_rate=1 / replica.request_seconds)
    # One call per request at a low rate: 60 + 14 µs.
    assert simulated.latency_at(0.5)[0] == pytest.approx(74e-6, rel=0.1)
    assert simulated.cpu[-1] == pytest.approx(1.0, abs=0.01)


def test_replica_model_measured_rate_has_the_measured_value(
    capacity: Capacity, replica: ReplicaModel
) -> None:
    measured = capacity.cpu_at_rates
    rates = [point.rate for point in measured]
    for curve, expected in (
        (replica.cpu, [point.cpu_seconds_per_second for point in measured]),
        (replica.in_flight, [point.in_flight for point in measured]),
        (1000 * replica.latency_at(0.99), [point.latency_p99_ms for point in measured]),
    ):
        assert np.interp(rates, replica.rates, curve) == pytest.approx(expected)


def make_model(request_seconds: float, capacity_rate: float) -> ReplicaModel:
    return ReplicaModel(2e-3, request_seconds, 0.0, capacity_rate, 0.05, 99.0, 5.0)


@pytest.mark.parametrize(
    ("request_seconds", "capacity_rate", "low", "high"),
    [
        pytest.param(1e-3, 990.0, 1000.0, 1000.0, id="fit_explains_the_capacity"),
        pytest.param(1e-3, 2000.0, 2000.0, 2100.0, id="capacity_above_the_fit"),
        pytest.param(1e-4, 900.0, 900.0, 2000.0, id="capacity_below_the_fit"),
    ],
)
def test_replica_model_ceiling_agrees_with_the_capacity(
    request_seconds: float, capacity_rate: float, low: float, high: float
) -> None:
    assert low <= make_model(request_seconds, capacity_rate).ceiling <= high


@pytest.mark.parametrize("request_seconds", [1e-4, 1e-5, 0.0])
def test_replica_model_threshold_is_reached_at_the_capacity(request_seconds: float) -> None:
    model = make_model(request_seconds, 900.0)
    latency = np.interp(900.0, model.rates, model.latency_at(0.99))
    assert latency == pytest.approx(model.threshold_seconds, rel=0.01)
