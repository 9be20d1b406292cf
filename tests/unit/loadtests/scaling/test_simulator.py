# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_loadtests.scaling.hpa_spec import HpaSpec, MetricSpec
from tidegate_loadtests.scaling.replica_model import ReplicaModel
from tidegate_loadtests.scaling.settings import ScalingSettings
from tidegate_loadtests.scaling.simulator import Pipeline, Simulation, simulate
from tidegate_serving.batching.admission import AdmissionController

THRESHOLD = 0.05
REPLICA = ReplicaModel(
    call_seconds=2e-3,
    request_seconds=1e-3,
    jitter=0.0,
    capacity_rate=950.0,
    threshold_seconds=THRESHOLD,
    percentile=99.0,
    startup_seconds=20.0,
)
IN_FLIGHT = MetricSpec("External", "in_flight", "AverageValue", 3000)
CPU = MetricSpec("ContainerResource", "cpu", "Utilization", 80)


def make_settings(metric: MetricSpec = IN_FLIGHT, request: int = 1000, **fields: Any) -> ScalingSettings:
    values = {"min_replicas": 1, "max_replicas": 20, "metrics": (metric,), "behavior": {}}
    return ScalingSettings("tested", HpaSpec.model_validate(values | fields), request, "prometheus")


def step(low: float, high: float, at: int, seconds: int) -> np.ndarray:
    return np.where(np.arange(seconds) < at, low, high).astype(float)


def run(rates: np.ndarray, **options: Any) -> Simulation:
    metric = options.pop("metric", IN_FLIGHT)
    pipeline = options.pop("pipeline", Pipeline())
    return simulate(rates, REPLICA, make_settings(metric, **options), pipeline)


def test_simulate_constant_rate_settles_at_the_target() -> None:
    simulation = run(np.full(1800, 2000.0))
    replicas = int(simulation.desired[-1])
    # In flight per replica is at the target, within the tolerance; one replica less would exceed it.
    in_flight = [
        float(np.interp(2000 / count, REPLICA.rates, REPLICA.in_flight)) for count in (replicas, replicas - 1)
    ]
    assert in_flight[0] <= 3.0 * 1.1 < in_flight[1]
    assert (simulation.desired[900:] == replicas).all()


def test_simulate_cpu_settles_at_the_target_utilization() -> None:
    simulation = run(np.full(1800, 1000.0), metric=CPU)
    replicas = int(simulation.desired[-1])
    cpu = float(np.interp(1000 / replicas, REPLICA.rates, REPLICA.cpu))
    assert replicas > 1
    assert 0.5 < cpu <= 0.8 * 1.1 + 0.01


def test_simulate_step_scales_at_a_sync_and_starts_replicas() -> None:
    simulation = run(step(300, 3000, 600, 1200), pipeline=Pipeline(in_flight_window=15.0))
    risen = int(np.argmax(simulation.desired > simulation.desired[599]))
    ready = int(np.argmax(simulation.ready > simulation.ready[599]))
    assert risen % 15 == 0
    assert 600 < risen <= 600 + 15 + 15 + 15
    assert ready == risen + REPLICA.startup_seconds


def test_simulate_later_metrics_scale_later() -> None:
    rates = step(300, 3000, 600, 1200)
    early, late = (run(rates, pipeline=Pipeline(delay=delay, in_flight_window=15.0)) for delay in (0.0, 60.0))
    assert np.argmax(early.desired > 1) + 60 == np.argmax(late.desired > 1)


def test_simulate_scale_down_waits_for_the_stabilization_window() -> None:
    simulation = run(step(3000, 300, 1800, 3000))
    assert (np.diff(simulation.desired[900:1800]) == 0).all()
    fallen = 1800 + int(np.argmax(np.diff(simulation.desired[1800:]) < 0))
    assert 1800 + 300 <= fallen <= 1800 + 300 + 15 + 60


def test_simulate_overload_rejects_what_would_wait_too_long() -> None:
    simulation = run(np.full(600, 2000.0), min_replicas=1, max_replicas=1)
    assert simulation.rejected_ratio == pytest.approx(0.5, abs=0.01)
    assert simulation.latency.max() <= 2.0 + THRESHOLD
    assert simulation.over_threshold_ratio(THRESHOLD) > 0.98
    assert simulation.max_replicas_ratio > 0.9


@pytest.mark.parametrize(("rate", "replicas"), [(2000.0, 3), (5000.0, 5)])
def test_simulate_overload_metric_counts_waiting_and_held(rate: float, replicas: int) -> None:
    # 1000 responses per second, each of which waited at most a second: 1000 requests in flight. The others
    # are rejected, and in flight for a quarter of a second: 250 or 1000 more. The target is 450.
    metric = MetricSpec("External", "in_flight", "AverageValue", 450_000)
    pipeline = Pipeline(max_queue_delay=1.0, in_flight_window=15.0, delay=0.0)
    simulation = run(np.full(300, rate), metric=metric, pipeline=pipeline)
    assert simulation.desired[15] == replicas


@pytest.mark.parametrize("max_queue_delay", [0.1, 2.0, 4.0, 10.0])
def test_simulated_hold_is_that_of_the_server(max_queue_delay: float) -> None:
    pipeline = Pipeline(max_queue_delay=max_queue_delay)
    assert pipeline.rejection_seconds == AdmissionController(max_queue_delay).rejection_seconds


def test_simulate_short_overload_ends_with_an_empty_queue() -> None:
    rates = np.full(120, 500.0)
    rates[30] = 2000.0  # one second of twice the ceiling: a thousand requests wait
    simulation = run(rates, max_replicas=1)
    assert simulation.rejected.sum() == 0
    assert simulation.latency[30] > 1.0
    assert simulation.latency[33] < THRESHOLD


def test_simulate_without_replicas_rejects_all() -> None:
    spec = make_settings(min_replicas=0, max_replicas=3)
    simulation = simulate(np.full(60, 10.0), REPLICA, spec, initial_replicas=0)
    assert simulation.rejected_ratio == 1.0
    assert simulation.over_threshold_ratio(THRESHOLD) == 1.0
    assert simulation.p99_seconds == float("inf")


def test_simulate_p99_mixes_the_latencies_of_all_seconds() -> None:
    quiet = run(np.full(600, 100.0), max_replicas=1)
    mixed = run(step(100, 900, 500, 600), max_replicas=1)
    busy = run(np.full(600, 900.0), max_replicas=1)
    assert quiet.p99_seconds < mixed.p99_seconds <= busy.p99_seconds * 1.01


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 20_000), min_size=1, max_size=20),
    st.sampled_from([IN_FLIGHT, CPU, MetricSpec("Object", "in_flight", "Value", 3000)]),
    st.integers(1, 4),
    st.integers(4, 12),
)
def test_simulate_any_traffic_keeps_bounds_and_requests(
    levels: list[float], metric: MetricSpec, minimum: int, maximum: int
) -> None:
    rates = np.repeat(levels, 40)
    simulation = run(rates, metric=metric, min_replicas=minimum, max_replicas=maximum)
    assert ((simulation.desired >= minimum) & (simulation.desired <= maximum)).all()
    assert (simulation.ready <= maximum).all()
    assert (simulation.rejected >= 0).all()
    assert simulation.rejected.sum() <= rates.sum() * (1 + 1e-9)
    assert (simulation.latency > 0).all()
