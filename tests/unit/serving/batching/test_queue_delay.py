# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import FakeClock
from tidegate_serving.batching.queue_delay import (
    AVERAGED_BATCHES,
    MAX_GROWTH,
    EventLoopLag,
    QueueDelayEstimator,
)
from tidegate_serving.batching.service_time import MIN_SAMPLES, ServiceTimeEstimator


def socket_delay(*iterations: tuple[float, float]) -> float:
    """Return the delay in the socket at the start of the iteration after these.

    Args:
        iterations: Busy seconds and following idle seconds of each.
    """
    lag, now = EventLoopLag(), 100.0
    for busy_seconds, idle_seconds in iterations:
        lag.start_iteration(now)
        lag.end_iteration(now + busy_seconds)
        now += busy_seconds + idle_seconds
    lag.start_iteration(now)
    return now - lag.earliest_arrival


@pytest.mark.parametrize(
    ("iterations", "seconds"),
    [
        pytest.param([], 0.0, id="no iteration"),
        pytest.param([(0.2, 1.0), (0.2, 1.0)], 0.0, id="idle for longer than busy"),
        pytest.param([(0.2, 0.0), (0.2, 0.0)], 0.2, id="busy all the time"),
        pytest.param([(0.2, 0.0), (0.2, 0.05)], 0.15, id="idle for a part"),
        pytest.param([(0.01, 0.0), (5.0, 0.0)], 0.01, id="one long iteration, the last"),
        pytest.param([(5.0, 0.0), (0.01, 0.0)], 0.01, id="one long iteration, the one before"),
    ],
)
def test_lag_is_the_shorter_of_two_iterations(iterations: list[tuple[float, float]], seconds: float) -> None:
    assert socket_delay(*iterations) == pytest.approx(seconds)


def test_lag_includes_work_between_iterations() -> None:
    lag = EventLoopLag()
    for now in (0.0, 0.2):
        lag.start_iteration(now)
        lag.end_iteration(now + 0.1)
        lag.add_busy_time(now + 0.1, now + 0.2)
    lag.start_iteration(0.4)
    assert 0.4 - lag.earliest_arrival == pytest.approx(0.2)


def test_lag_grows_within_an_iteration() -> None:
    lag = EventLoopLag()
    lag.start_iteration(5.0)
    assert 5.3 - lag.earliest_arrival == pytest.approx(0.3)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=8))
def test_lag_is_at_most_the_longest_iteration(iterations: list[tuple[float, float]]) -> None:
    longest = max((busy_seconds for busy_seconds, _ in iterations), default=0.0)
    assert 0.0 <= socket_delay(*iterations) <= longest + 1e-9


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


SHORT_DELAY = 0.03


def estimator(clock: FakeClock, seconds_by_rows: dict[int, float]) -> QueueDelayEstimator:
    """Return an estimator with these service times, at the start of an iteration without lag."""
    delay = QueueDelayEstimator(clock, ServiceTimeEstimator(), SHORT_DELAY)
    for rows, seconds in seconds_by_rows.items():
        for _ in range(MIN_SAMPLES):
            delay.record_service_time(rows, seconds)
    delay.lag.start_iteration(clock())
    return delay


@pytest.mark.parametrize(("queued_rows", "seconds"), [(0, 0.0), (1, 0.01), (8, 0.08), (15, 0.08), (16, 0.16)])
def test_queue_delay_idle_engine_is_queue_time(clock: FakeClock, queued_rows: int, seconds: float) -> None:
    delay = estimator(clock, {1: 0.01, 8: 0.08})
    assert delay.queue_delay(clock(), queued_rows) == pytest.approx(seconds, rel=0.01)


def test_queue_delay_unknown_service_time_is_zero(clock: FakeClock) -> None:
    assert estimator(clock, {}).queue_delay(clock(), 1_000) == 0.0


def test_queue_delay_includes_delay_in_socket(clock: FakeClock) -> None:
    delay = estimator(clock, {})
    clock.advance(0.3)
    assert delay.queue_delay(clock(), 0) == pytest.approx(0.3)


@pytest.mark.parametrize(("elapsed", "seconds"), [(0.0, 0.5), (0.4, 0.5), (0.5, 0.5), (0.6, 0.6)])
def test_queue_delay_includes_rest_of_running_batch(clock: FakeClock, elapsed: float, seconds: float) -> None:
    delay = estimator(clock, {})
    delay.start_batch(0.5)
    clock.advance(elapsed)  # in the socket, and in parallel the batch runs
    assert delay.queue_delay(clock(), 0) == pytest.approx(seconds)


def test_queue_delay_after_early_end_has_no_running_batch(clock: FakeClock) -> None:
    delay = estimator(clock, {})
    delay.start_batch(5.0)
    clock.advance(0.1)
    assert delay.end_batch() == clock()
    delay.lag.start_iteration(clock())
    assert delay.queue_delay(clock(), 0) == 0.0


@pytest.mark.parametrize(
    ("batches", "queued_rows", "seconds"),
    [
        pytest.param([(8, None)], 24, 0.24, id="every batch empties the queue"),
        pytest.param([(8, 4)], 24, 0.24, id="a batch leaves rows"),
        pytest.param([(8, 4)], 25, 0.25, id="and there is a rest"),
        pytest.param([(8, 4), (8, None)], 24, 0.24, id="a later batch empties the queue"),
        pytest.param([(1, 8)], 24, 0.24, id="the next request is larger than the batch"),
    ],
)
def test_queue_delay_full_batches_run_one_by_one(
    clock: FakeClock, batches: list[tuple[int, int | None]], queued_rows: int, seconds: float
) -> None:
    delay = estimator(clock, {1: 0.01, 8: 0.08})
    for rows, next_request_rows in batches:
        delay.record_batch(clock(), rows, next_request_rows)
        clock.advance(0.08)
    delay.lag.start_iteration(clock())
    assert delay.queue_delay(clock(), queued_rows) == pytest.approx(seconds, rel=0.05)


def full_batches(delay: QueueDelayEstimator, clock: FakeClock, *seconds: float) -> None:
    """Record full batches of eight rows, each with its time until the next."""
    for each in seconds:
        delay.record_batch(clock(), 8, 8)
        clock.advance(each)
    delay.record_batch(clock(), 8, None)
    delay.lag.start_iteration(clock())


def test_queue_delay_uses_the_whole_time_of_full_batches(clock: FakeClock) -> None:
    """The engine call is a part of it: the event loop also reads requests and writes responses."""
    delay = estimator(clock, {8: 0.08})
    full_batches(delay, clock, *[0.1] * AVERAGED_BATCHES)
    assert delay.queue_delay(clock(), 16) == pytest.approx(2 * 0.1)


@pytest.mark.parametrize(("elapsed", "seconds"), [(0.02, 0.08), (0.09, 0.01), (0.15, 0.0)])
def test_queue_delay_includes_rest_of_a_full_batch(clock: FakeClock, elapsed: float, seconds: float) -> None:
    """The rest is that of the whole time, also while the event loop writes the responses of the batch."""
    delay = estimator(clock, {8: 0.08})
    full_batches(delay, clock, *[0.1] * AVERAGED_BATCHES)
    delay.record_batch(clock(), 8, 8)
    delay.start_batch(0.08)
    clock.advance(elapsed)
    delay.lag.start_iteration(clock())
    assert delay.queue_delay(clock(), 0) == pytest.approx(seconds)
    delay.end_batch()
    assert delay.queue_delay(clock(), 0) == pytest.approx(seconds)


def test_queue_delay_one_stall_hardly_changes_it(clock: FakeClock) -> None:
    delay = estimator(clock, {8: 0.1})
    full_batches(delay, clock, *[0.1] * AVERAGED_BATCHES, 60.0)
    most = 0.1 * (1 + (MAX_GROWTH - 1) / AVERAGED_BATCHES)
    assert delay.queue_delay(clock(), 8) == pytest.approx(most)


def test_queue_delay_time_without_queue_is_no_batch(clock: FakeClock) -> None:
    delay = estimator(clock, {8: 0.1})
    full_batches(delay, clock, 0.1)
    clock.advance(60.0)
    full_batches(delay, clock, 0.1)
    assert delay.queue_delay(clock(), 8) == pytest.approx(0.1)


def test_short_delay_rows_follow_service_time(clock: FakeClock) -> None:
    assert estimator(clock, {}).short_delay_rows == 0
    assert estimator(clock, {8: SHORT_DELAY / 2, 64: SHORT_DELAY * 2}).short_delay_rows == 15
