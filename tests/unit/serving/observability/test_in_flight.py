# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_serving.observability.in_flight import RESOLUTION_SECONDS, WINDOW_SECONDS, RequestsInFlight

BOOT = 4_000_000.0
"""A machine that runs for weeks has a large monotonic clock."""


def replay(requests: list[tuple[float, float]]) -> RequestsInFlight:
    """Return the state after these requests, as (start, end) in seconds from the server's start."""
    in_flight = RequestsInFlight(BOOT)
    changes = [(start, True) for start, _ in requests] + [(end, False) for _, end in requests]
    for time, starts in sorted(changes, key=lambda change: change[0]):
        (in_flight.start if starts else in_flight.end)(BOOT + time)
    return in_flight


def overlap(requests: list[tuple[float, float]], now: float) -> float:
    """Return the average number of requests in flight over the window, from its definition."""
    return sum(max(0.0, min(end, now) - max(start, now - WINDOW_SECONDS)) for start, end in requests) / (
        WINDOW_SECONDS
    )


@pytest.mark.parametrize(
    ("requests", "now", "expected"),
    [
        ([], 100, 0),
        ([(0, 15)], 15, 1),
        ([(0, 3)], 15, 0.2),
        ([(5, 8)], 10, 0.2),  # before the start, none were in flight
        ([(0, 10)] * 10, 15, 10 * 10 / 15),
        ([(0, 10)] * 10, 25, 0),  # no request starts or ends afterwards
        ([(0, 10)] * 10, 1000, 0),
        ([(0, 60)] * 4, 60, 4),  # no request starts or ends within the window
        ([(0, 20), (20, 20)], 30, 5 / 15),
    ],
)
def test_average_is_the_integral_over_the_window(
    requests: list[tuple[float, float]], now: float, expected: float
) -> None:
    assert replay(requests).average(BOOT + now) == pytest.approx(expected, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.floats(0, 60), st.floats(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])),
        max_size=40,
    ),
    st.floats(0, 30),
)
def test_average_error_is_below_its_bound(requests: list[tuple[float, float]], pause: float) -> None:
    now = max([0.0, *(end for _, end in requests)]) + pause
    bound = len(requests) * RESOLUTION_SECONDS / WINDOW_SECONDS
    assert abs(replay(requests).average(BOOT + now) - overlap(requests, now)) <= bound + 1e-6


def test_current_requests_count_without_an_end() -> None:
    in_flight = RequestsInFlight(BOOT)
    in_flight.start(BOOT)
    in_flight.start(BOOT + 5)
    assert in_flight.count == 2
    assert in_flight.average(BOOT + 15) == pytest.approx((15 + 10) / 15)


@pytest.mark.parametrize(
    ("call_seconds", "row_seconds"), [(60e-6, 14e-6), (5e-3, 1e-4)], ids=["compiled", "scikit-learn"]
)
def test_mean_of_scrapes_follows_littles_law(call_seconds: float, row_seconds: float) -> None:
    """Poisson load at half of the capacity, on an event loop whose scrapes run between two iterations."""
    random, rate = np.random.default_rng(10), 0.5 / row_seconds
    arrivals = np.cumsum(random.exponential(1 / rate, int(rate * 40)))
    scrapes = np.linspace(WINDOW_SECONDS, 38, 100)
    in_flight, averages, at_the_moment, durations = RequestsInFlight(BOOT), [], [], []
    now, first = 0.0, 0
    while first < len(arrivals):
        now = max(now, arrivals[first])
        last = int(np.searchsorted(arrivals, now, "right"))
        starts = now + row_seconds / 2 * np.arange(last - first)  # half of the row's cost is its parsing
        for start in starts:
            in_flight.start(BOOT + start)
        now += call_seconds + row_seconds * (last - first)
        for start in starts:
            in_flight.end(BOOT + now)
            durations.append(now - start)
        first = last
        while len(averages) < len(scrapes) and scrapes[len(averages)] <= now:
            averages.append(in_flight.average(BOOT + now))
            at_the_moment.append(in_flight.count)
    assert len(averages) == 100
    assert not any(at_the_moment)
    assert np.mean(averages) == pytest.approx(rate * np.mean(durations), rel=0.25)
    assert min(averages) > 0
