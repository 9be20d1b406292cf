# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.support.tick_server import TickServer
from tidegate_loadtests.capacity.search import (
    MAX_CONSECUTIVE_DISCARDS,
    MAX_WINDOWS,
    Criterion,
    Search,
    SearchResult,
    Window,
    estimate,
    is_warm,
)

CRITERION = Criterion(percentile=99, latency_seconds=0.02, max_failure_ratio=0.0)
BATCHING = TickServer(call=0.002, row=0.001, jitter=0.0)
NOISY = TickServer(call=0.000125, row=0.001, jitter=0.5)


@cache
def true_capacity(server: TickServer) -> float:
    """Return the rate at which half of 200 windows pass."""
    low, high = 100.0, 2000.0
    while high / low > 1.005:
        rate = math.sqrt(low * high)
        source = np.random.default_rng(0)
        passed = [server.window(rate, CRITERION, source).outcome(CRITERION) == "pass" for _ in range(100)]
        low, high = (rate, high) if np.mean(passed) > 0.5 else (low, rate)
    return low


def run_search(server: TickServer, seed: int, start: float = 50.0, **window: float) -> SearchResult:
    return run_counted_search(server, seed, start, **window)[0]


def run_counted_search(
    server: TickServer, seed: int, start: float = 50.0, **window: float
) -> tuple[SearchResult, int]:
    """Return the result and the number of windows."""
    source = np.random.default_rng(seed)
    search = Search(start, CRITERION)
    for windows in range(1, 1000):
        search.record(server.window(search.next_rate, CRITERION, source, **window))
        if search.result is not None:
            return search.result, windows
    raise AssertionError("the search did not end")


def window(rate: float = 100, late: int = 0, **changes: float) -> Window:
    return replace(Window(rate, 1000, late, 0, 0.0, 0.1), **changes)


def decide(search: Search, *outcomes: bool) -> None:
    for passed in outcomes:
        search.record(window(search.next_rate, late=0 if passed else 1000))


@pytest.mark.parametrize("server", [BATCHING, NOISY])
@pytest.mark.parametrize("seed", range(6))
def test_search_finds_true_capacity_or_is_inconclusive(server: TickServer, seed: int) -> None:
    result = run_search(server, seed, rate_noise=0.03)
    if result.inconclusive_reason is None:
        assert result.capacity is not None
        assert result.safe_rate is not None
        assert abs(result.capacity.median / true_capacity(server) - 1) <= 0.1
        assert result.safe_rate <= result.capacity.low
        assert result.safe_rate >= 0.6 * true_capacity(server)


@pytest.mark.parametrize("server", [BATCHING, NOISY])
def test_safe_rates_of_repeats_differ_by_at_most_10_percent(server: TickServer) -> None:
    results = [run_search(server, seed, rate_noise=0.03) for seed in range(9)]
    rates = np.array([result.safe_rate for result in results if result.safe_rate is not None])
    assert len(rates) >= 8
    assert np.abs(rates / np.median(rates) - 1).max() <= 0.1


def test_search_of_a_steady_server_is_decided_in_few_windows() -> None:
    results, windows = zip(*[run_counted_search(BATCHING, seed) for seed in range(6)], strict=True)
    assert [result.inconclusive_reason for result in results] == [None] * 6
    assert max(windows) <= 45


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_search_with_saturated_generator_is_inconclusive(ratio: float, seed: int) -> None:
    result = run_search(BATCHING, seed, generator_rate=ratio * true_capacity(BATCHING))
    assert result.safe_rate is None
    assert "load generator" in str(result.inconclusive_reason)


def test_search_undecided_after_120_windows_is_inconclusive() -> None:
    source = np.random.default_rng(1)
    search = Search(100, CRITERION)
    decide(search, True, False)
    windows = 0
    while search.result is None:
        decide(search, bool(source.random() < 1 / (1 + search.next_rate / 200)))
        windows += 1
    assert windows == MAX_WINDOWS
    assert search.result.safe_rate is None
    assert "after 120 windows: expected a width of at most 20%" in str(search.result.inconclusive_reason)


def test_search_names_a_machine_whose_speed_changed() -> None:
    source = np.random.default_rng(1)
    search = Search(100, CRITERION)
    decide(search, True, False)
    for window in range(MAX_WINDOWS):
        capacity = 400 if window < MAX_WINDOWS / 2 else 200
        decide(search, bool(source.random() < 1 / (1 + (search.next_rate / capacity) ** 3)))
    assert search.result is not None
    reason = str(search.result.inconclusive_reason)
    match = re.search(r"; the first 60 windows give (\S+), and the others (\S+): measure again while", reason)
    assert match
    assert 300 < float(match[1]) < 500
    assert 150 < float(match[2]) < 250


def test_search_doubles_the_rate_until_a_window_fails() -> None:
    search = Search(10, CRITERION)
    rates = []
    for passed in (True, True, True, False):
        rates.append(search.next_rate)
        decide(search, passed)
    assert rates == [10, 20, 40, 80]
    assert 20 < search.next_rate < 120


def test_search_halves_the_rate_until_a_window_passes() -> None:
    search = Search(100, CRITERION)
    decide(search, False, False, True)
    assert 50 / 4 < search.next_rate < 75


def test_search_without_passing_window_is_inconclusive() -> None:
    search = Search(1024, CRITERION)
    decide(search, *[False] * 10)
    assert search.result is not None
    assert search.result.inconclusive_reason == "no window passed, the last at 2 requests per second"


def test_search_recovers_from_a_misleading_first_failure() -> None:
    source = np.random.default_rng(3)
    search = Search(50, CRITERION)
    decide(search, True, False)  # a stall: the true capacity is far above 100 requests per second
    while search.result is None:
        search.record(BATCHING.window(search.next_rate, CRITERION, source))
    assert search.result.capacity is not None
    assert search.result.capacity.median == pytest.approx(true_capacity(BATCHING), rel=0.1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "pass"),
        ({"late": 10}, "pass"),
        ({"late": 11}, "fail"),
        ({"failures": 1}, "fail"),
        ({"send_delay_p99_seconds": 0.002}, "pass"),
        ({"send_delay_p99_seconds": 0.0021}, "discarded"),
        ({"send_delay_p99_seconds": 0.0021, "late": 1000}, "discarded"),
        ({"generator_utilization": 0.85}, "pass"),
        ({"generator_utilization": 0.86, "failures": 9}, "discarded"),
    ],
)
def test_window_outcome_follows_thresholds(changes: dict[str, float], expected: str) -> None:
    assert window(**changes).outcome(CRITERION) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"failures": 200}, "pass"),  # failures have a ratio of their own, and are not late
        ({"failures": 201}, "fail"),
        ({"failures": 200, "late": 8}, "pass"),  # late responses are a ratio of the successful ones
        ({"failures": 200, "late": 9}, "fail"),
        ({"failures": 1000}, "fail"),
    ],
)
def test_window_failures_are_judged_apart(changes: dict[str, float], expected: str) -> None:
    assert window(**changes).outcome(replace(CRITERION, max_failure_ratio=0.2)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # With a threshold of 20 ms, 10,000 requests per second may have 200 in flight.
        ({"waited": 600, "late": 600, "connections": 200}, "fail"),
        ({"waited": 600, "late": 600, "connections": 199}, "discarded"),
        ({"waited": 600, "late": 0, "failures": 600, "connections": 199}, "discarded"),
        ({"waited": 600, "late": 10, "connections": 199}, "pass"),  # in spite of the wait
        ({"waited": 10, "late": 600, "connections": 199}, "fail"),  # too few waited to decide it
        ({"waited": 11, "late": 600, "connections": 199}, "discarded"),
    ],
)
def test_window_that_connections_limited_is_discarded(changes: dict[str, float], expected: str) -> None:
    one = window(10_000, **changes)
    assert one.outcome(CRITERION) == expected
    reason = "600 requests waited for the load generator's 199 connections"
    assert (one.discard_reason(CRITERION) == reason) == (expected == "discarded" and one.waited == 600)


def test_confirmation_counts_successful_responses() -> None:
    search = Search(100, replace(CRITERION, max_failure_ratio=0.5))
    while search.stage != "Confirm":
        decide(search, search.next_rate < 250)
    for _ in range(3):
        # Without a late one, 450 successful responses prove nothing with 99 % confidence, and 459 would.
        search.record(Window(search.next_rate, 300, 0, 150, 0.0, 0.1))
    assert search.result is None


def test_discarded_window_changes_neither_rate_nor_posterior() -> None:
    search, undisturbed = Search(100, CRITERION), Search(100, CRITERION)
    for passed in (True, False, True, False, True):
        for _ in range(MAX_CONSECUTIVE_DISCARDS - 1):
            search.record(window(search.next_rate, late=1000, generator_utilization=1.0))
        assert search.next_rate == undisturbed.next_rate
        decide(search, passed)
        decide(undisturbed, passed)
    assert search.next_rate == undisturbed.next_rate


def confirming_search() -> Search:
    search = Search(100, CRITERION)
    while search.stage != "Confirm":
        decide(search, search.next_rate < 250)
    return search


def test_safe_rate_is_confirmed_by_three_windows() -> None:
    search = confirming_search()
    rate = search.next_rate
    decide(search, True, True)
    assert search.result is None
    decide(search, True)
    assert search.result is not None
    assert search.result.safe_rate == rate < 250


def test_safe_rate_is_lowered_after_a_failed_confirmation() -> None:
    search = confirming_search()
    rate = search.next_rate
    decide(search, True, False)
    assert search.next_rate == pytest.approx(rate * 0.95)
    decide(search, True, True, True)
    assert search.result is not None
    assert search.result.safe_rate == pytest.approx(rate * 0.95)


def test_safe_rate_without_enough_evidence_is_lowered() -> None:
    search = confirming_search()
    rate = search.next_rate
    for _ in range(3):
        search.record(window(rate, late=10))
    assert search.result is None
    assert search.next_rate == pytest.approx(rate * 0.95)


def test_safe_rate_that_fails_four_times_is_inconclusive() -> None:
    search = confirming_search()
    decide(search, *[False] * 4)
    assert search.result is not None
    assert "was not confirmed" in str(search.result.inconclusive_reason)


def test_posterior_median_lies_between_passing_and_failing_rates() -> None:
    posterior = estimate([(90, True), (95, True), (105, False), (110, False)] * 3, 25, 150)
    assert 95 < posterior.median < 105
    assert posterior.low < posterior.median < posterior.high
    assert posterior.safe_rate == pytest.approx(0.95 * posterior.low)


@pytest.mark.parametrize(
    ("medians", "expected"),
    [([1, 1], False), ([5, 1, 1.05, 1.1], True), ([1, 1, 1.2], False), ([], False)],
)
def test_server_is_warm_after_three_similar_windows(medians: list[float], expected: bool) -> None:
    assert is_warm(medians) is expected
