# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of a simulated replica, whose service time is known."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.support.tick_server import TickServer
from tidegate_loadtests.capacity.fit import fit_service_time
from tidegate_loadtests.capacity.measurement import (
    MEASURED_RATIOS,
    Progress,
    WindowResult,
    measure,
    window_seconds,
)
from tidegate_loadtests.capacity.search import MAX_CONSECUTIVE_DISCARDS, Criterion

CRITERION = Criterion(percentile=99, latency_seconds=0.02, max_failure_ratio=0.0)
SERVER = TickServer(call=0.002, row=0.001, jitter=0.1)


class SimulatedReplica:
    def __init__(
        self,
        generator_rate: float = np.inf,
        warm_after: int = 0,
        latency: float = SERVER.call + SERVER.row,
        cold_request_seconds: float = 0.0,
    ) -> None:
        self.source = np.random.default_rng(5)
        self.generator_rate = generator_rate
        self.warm_after = warm_after
        self.latency = latency
        self.cold_request_seconds = cold_request_seconds
        self.probes: list[tuple[int, float]] = []
        self.rates: list[float] = []

    def probe(self, requests: int, seconds: float) -> np.ndarray:
        cold = 2.0 ** max(0, self.warm_after - len(self.probes))
        latencies = np.full(requests, cold * self.latency)
        if not self.probes:
            latencies[0] += self.cold_request_seconds
        assert latencies.sum() <= seconds, "the probe timed out"
        self.probes.append((requests, seconds))
        return latencies

    def run_window(self, rate: float, seconds: float) -> WindowResult:
        self.rates.append(rate)
        count = round(rate * seconds)
        window = SERVER.window(
            rate, CRITERION, self.source, requests=count, generator_rate=self.generator_rate
        )
        calls = count / (1 + rate / 500)  # batches grow with the rate
        return WindowResult(
            window=window,
            seconds=seconds,
            latency_p50_seconds=0.01,
            latency_p99_seconds=0.02,
            cpu_seconds=SERVER.call * calls + SERVER.row * count,
            request_seconds=0.01 * count,
            calls=calls,
            rows=count,
            memory_bytes=1,
        )


def test_measurement_finds_capacity_and_service_time() -> None:
    replica = SimulatedReplica()
    progress: list[Progress] = []
    result = measure(replica, CRITERION, lambda state: progress.append(replace(state)))
    assert result.search.safe_rate is not None
    ratios = [one.window.rate / result.search.safe_rate for one in result.at_rates]
    assert ratios == pytest.approx(MEASURED_RATIOS)
    fitted = fit_service_time(result.calls(cpus=1), result.probe_seconds)
    assert (fitted.call_seconds, fitted.row_seconds) == pytest.approx((0.002, 0.001), rel=1e-3)
    last = result.at_rates[-1].rate_measurement
    assert last.rate == pytest.approx(result.search.safe_rate, rel=0.01)
    assert last.in_flight == pytest.approx(0.01 * last.rate, rel=0.01)
    assert last.latency_p99_ms == 20
    assert progress[0].stage == "Warm up"
    assert {state.stage for state in progress} == {"Warm up", "Bracket", "Bisect", "Confirm", "Measure"}


def test_busy_time_of_a_fraction_of_a_cpu_is_longer() -> None:
    result = measure(SimulatedReplica(), CRITERION)
    [full, *_], [throttled, *_] = result.calls(cpus=1), result.calls(cpus=0.5)
    assert throttled.busy_seconds == pytest.approx(2 * full.busy_seconds)
    assert result.calls(cpus=4)[0] == full  # one event loop uses one CPU


def test_measurement_starts_when_the_server_is_warm() -> None:
    replica = SimulatedReplica(warm_after=4)
    result = measure(replica, CRITERION)
    # After the first requests, the fourth probe is warm, and two more are like it.
    assert [requests for requests, _ in replica.probes] == [3] + [100] * (4 + 2)
    assert replica.rates[0] == pytest.approx(0.5 / 0.003)
    assert result.probe_seconds == pytest.approx(np.full(100, 0.003))


@pytest.mark.parametrize(
    ("latency", "requests", "seconds"),
    [(0.003, 100, 60), (0.2, 100, 60), (0.7, 28, 60), (4.0, 5, 60), (15.0, 5, 225)],
)
def test_probes_of_a_slow_model_are_fewer(latency: float, requests: int, seconds: float) -> None:
    replica = SimulatedReplica(latency=latency, cold_request_seconds=10.0)
    result = measure(replica, replace(CRITERION, latency_seconds=latency / 2))
    assert replica.probes == [(3, 60), *3 * [(requests, seconds)]]
    assert len(result.probe_seconds) == requests


def test_measurement_of_a_model_above_the_threshold_is_inconclusive() -> None:
    replica = SimulatedReplica(latency=6.0)
    result = measure(replica, replace(CRITERION, latency_seconds=5.0))
    assert (result.search.safe_rate, result.capacity_rate, result.history) == (None, None, ())
    assert result.inconclusive_reason == "single requests take 6 s, and the latency threshold is 5 s"
    assert replica.rates == []  # a window of 1,000 requests would take hours


def test_measurement_with_saturated_generator_is_inconclusive() -> None:
    result = measure(SimulatedReplica(generator_rate=300), CRITERION)
    assert result.search.safe_rate is None
    assert result.at_rates == ()
    assert result.discarded >= MAX_CONSECUTIVE_DISCARDS


def test_measurement_without_metrics_at_a_rate_is_inconclusive() -> None:
    replica = SimulatedReplica()

    def saturate(state: Progress) -> None:
        replica.generator_rate = 1.0 if state.stage == "Measure" else np.inf

    result = measure(replica, CRITERION, saturate)
    assert result.search.safe_rate is not None
    assert result.inconclusive_reason is not None
    assert re.match(r"the load generator used 100% .* 10 windows in a row", result.inconclusive_reason)
    assert result.at_rates == ()
    assert [one.outcome for one in result.history if one.stage == "Measure"] == 10 * ["discarded"]


@pytest.mark.parametrize(
    ("rate", "latency", "expected"), [(10_000, 0.01, 4), (100, 0.01, 10), (10_000, 0.5, 10), (50, 0.01, 20)]
)
def test_window_is_long_enough_for_rate_and_threshold(rate: float, latency: float, expected: float) -> None:
    assert window_seconds(rate, replace(CRITERION, latency_seconds=latency)) == pytest.approx(expected)
