# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_serving.batching.service_time import MIN_SAMPLES, SAMPLES_PER_CLASS, ServiceTimeEstimator


def measured(seconds_by_rows: dict[int, float]) -> ServiceTimeEstimator:
    estimator = ServiceTimeEstimator()
    for rows, seconds in seconds_by_rows.items():
        for _ in range(MIN_SAMPLES):
            estimator.record(rows, seconds)
    return estimator


def test_service_time_below_min_samples_is_unknown() -> None:
    estimator = ServiceTimeEstimator()
    for _ in range(MIN_SAMPLES - 1):
        estimator.record(4, 1.0)
    assert estimator.service_time(4) is None
    assert estimator.queue_time(1_000_000) == 0.0
    assert estimator.minimum == 0.0
    estimator.record(4, 1.0)
    assert estimator.service_time(4) == estimator.minimum == 1.0


def test_service_time_one_slow_call_changes_nothing() -> None:
    estimator = measured({4: 0.001})
    estimator.record(4, 60.0)
    assert estimator.service_time(4) == 0.001


def test_service_time_slower_calls_change_the_estimate() -> None:
    estimator = measured({4: 0.001})
    for _ in range(SAMPLES_PER_CLASS):
        estimator.record(4, 0.002)
    assert estimator.service_time(4) == pytest.approx(0.002)


def test_service_time_includes_calls_that_wait_for_the_cpu() -> None:
    """A CPU limit of 0.3 lets two calls of 10 ms end at once and delays the third to the next period."""
    estimator = ServiceTimeEstimator()
    for _ in range(SAMPLES_PER_CLASS // 3):
        for seconds in (0.01, 0.01, 0.08):
            estimator.record(4, seconds)
    assert estimator.service_time(4) == pytest.approx(0.1 / 3, rel=0.2)  # a median would be 0.01


def test_queue_time_without_rows_is_zero() -> None:
    assert measured({1: 0.003}).queue_time(0) == 0.0


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [
        (1, 1.0),
        (4, 1.0),
        (16, 1.0 + 8 * 12 / 60),
        (64, 9.0),
        (128, 9 + 8 * 64 / 60),
        (256, 9 + 8 * 192 / 60),
        (512, None),
    ],
)
def test_service_time_derives_unmeasured_sizes(rows: int, seconds: float | None) -> None:
    assert measured({4: 1.0, 64: 9.0}).service_time(rows) == (
        seconds if seconds is None else pytest.approx(seconds, rel=0.05)
    )


def test_queue_time_long_queue_follows_largest_batches() -> None:
    estimator = measured({1: 0.003, 256: 0.006})
    assert estimator.queue_time(1) == 0.003
    assert estimator.queue_time(255_256) == pytest.approx(3.006)


def test_queue_time_one_measured_size_has_no_slope() -> None:
    assert measured({1: 0.003}).queue_time(10_000) == 0.003


@given(
    st.lists(st.tuples(st.integers(1, 20_000), st.floats(1e-6, 100)), max_size=60), st.integers(0, 200_000)
)
def test_estimates_are_never_negative(calls: list[tuple[int, float]], rows: int) -> None:
    estimator = ServiceTimeEstimator()
    for count, seconds in calls:
        estimator.record(count, seconds)
    assert (estimator.service_time(rows) or 0.0) >= 0.0
    assert estimator.queue_time(rows) >= 0.0


def test_rows_within_is_the_largest_measured_size() -> None:
    assert ServiceTimeEstimator().rows_within(1.0) == 0
    estimator = measured({1: 0.1, 16: 0.2, 64: 0.4})
    assert [estimator.rows_within(seconds) for seconds in (0.05, 0.1, 0.2, 0.3, 9.0)] == [0, 1, 31, 31, 127]
    assert all((estimator.service_time(rows) or 0.0) <= 0.2 for rows in range(1, 32))


def test_row_time_is_one_value_per_size_class() -> None:
    estimator = ServiceTimeEstimator()
    assert estimator.row_time(4) is None
    for rows, seconds in ((4, 0.4), (6, 0.6), (6, 0.6), (7, 9.0)):
        estimator.record(rows, seconds)
    assert estimator.row_time(4) == estimator.row_time(7) == pytest.approx(0.1)
    assert estimator.row_time(16) == pytest.approx(0.1)  # derived: proportional with one class
