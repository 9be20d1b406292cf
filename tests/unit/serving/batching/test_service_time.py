# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_serving.batching.service_time import ServiceTimeEstimator


def learned(**seconds: float) -> ServiceTimeEstimator:
    """A cost with three measurements at each of these numbers of rows, like ``r16=0.1``."""
    cost = ServiceTimeEstimator()
    for rows, each in seconds.items():
        for _ in range(3):
            cost.measured(int(rows[1:]), each)
    return cost


def test_nothing_is_known_before_enough_was_measured() -> None:
    cost = ServiceTimeEstimator()
    cost.measured(4, 1.0)
    cost.measured(4, 1.0)
    assert cost.seconds(4) is None
    assert cost.drain(1_000_000) == 0.0
    assert cost.smallest == 0.0
    cost.measured(4, 1.0)
    assert cost.seconds(4) == cost.smallest == 1.0


def test_one_slow_outlier_changes_nothing_and_a_new_normal_is_learned() -> None:
    cost = learned(r4=0.001)
    cost.measured(4, 60.0)
    assert cost.seconds(4) == 0.001
    for _ in range(5):
        cost.measured(4, 0.002)
    assert cost.seconds(4) == 0.002


@pytest.mark.parametrize(
    ("rows", "seconds"), [(1, 1.0), (4, 1.0), (16, 13 / 5), (64, 9.0), (128, 18.0), (256, 36.0), (512, None)]
)
def test_between_measured_sizes_it_interpolates_and_far_beyond_it_knows_nothing(
    rows: int, seconds: float | None
) -> None:
    assert learned(r4=1.0, r64=9.0).seconds(rows) == (
        seconds if seconds is None else pytest.approx(seconds, rel=0.05)
    )


def test_a_long_queue_drains_at_the_rate_of_the_largest_batches_measured() -> None:
    cost = learned(r1=0.003, r256=0.006)
    assert cost.drain(1) == 0.003
    assert cost.drain(384_000) == pytest.approx(3.0, rel=0.02)


def test_single_rows_say_nothing_of_what_many_together_take() -> None:
    assert learned(r1=0.003).drain(10_000) == 0.003


@given(
    st.lists(st.tuples(st.integers(1, 20_000), st.floats(1e-6, 100)), max_size=60), st.integers(0, 200_000)
)
def test_an_estimate_is_never_negative_and_never_fails(measured: list[tuple[int, float]], rows: int) -> None:
    cost = ServiceTimeEstimator()
    for count, seconds in measured:
        cost.measured(count, seconds)
    assert (cost.seconds(rows) or 0.0) >= 0.0
    assert cost.drain(rows) >= 0.0


def test_so_many_rows_are_known_to_take_no_longer_as_some_that_were_measured() -> None:
    assert ServiceTimeEstimator().rows_within(1.0) == 0
    cost = learned(r1=0.1, r16=0.2, r64=0.4)
    assert [cost.rows_within(seconds) for seconds in (0.05, 0.1, 0.2, 0.3, 9.0)] == [0, 1, 31, 31, 127]
    assert all((cost.seconds(rows) or 0.0) <= 0.2 for rows in range(1, 32))
