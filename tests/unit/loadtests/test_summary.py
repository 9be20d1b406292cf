# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import percentile, series, summarise


def make_samples(
    intended: list[float],
    start: list[float] | None = None,
    end: list[float] | None = None,
    free: list[float] | None = None,
    error: list[str] | None = None,
) -> Samples:
    """Samples of one protocol and one row; by default sent when intended and answered at once."""
    count = len(intended)
    begun = intended if start is None else start
    return Samples(
        intended=np.array(intended, float),
        free=np.array([-10.0] * count if free is None else free, float),
        start=np.array(begun, float),
        end=np.array(begun if end is None else end, float),
        status=np.full(count, 200),
        protocol=np.array(["v1"] * count, str),
        rows=np.full(count, 1),
        error=np.array([""] * count if error is None else error, str),
    )


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([], 50, None),
        ([7.0], 99, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 75, 3.0),
        (list(range(1, 101)), 99, 99.0),
        (list(range(1, 101)), 100, 100.0),
        (list(range(1, 1001)), 99, 990.0),
    ],
)
def test_a_percentile_is_the_value_at_its_nearest_rank(
    values: list[float], q: float, expected: float | None
) -> None:
    assert percentile(np.array(values, float), q) == expected


def test_a_stall_shows_in_the_latency_of_every_request_that_it_held_up() -> None:
    # One connection, 100 requests a second, each served in 1 ms, but for the one at 2 s that takes a second:
    # those behind it are sent late, one after the other, until the backlog is gone.
    intended, start, end, free = [], [], [], []
    available = 0.0
    for index in range(1000):
        due = index / 100
        sent = max(due, available)
        intended.append(due)
        free.append(available)
        start.append(sent)
        available = sent + (1.0 if index == 200 else 0.001)
        end.append(available)
    summary = summarise(make_samples(intended, start, end, free), duration=10)
    assert summary.service.p99_ms == pytest.approx(1.0)
    assert summary.latency.p99_ms == pytest.approx(910, abs=15)
    assert summary.latency.p50_ms == pytest.approx(1.0)
    # The generator was never late itself: each waited for the schedule or for the connection.
    assert summary.lag_p99_ms == pytest.approx(0)
    assert summary.without_lag == summary.latency


def test_what_the_generator_was_late_is_told_apart() -> None:
    samples = make_samples([1.0] * 4, start=[1.030] * 4, end=[1.050] * 4, free=[0.5, 1.0, 1.010, 1.030])
    summary = summarise(samples, duration=2)
    assert samples.lag_ms == pytest.approx([30, 30, 20, 0])
    assert summary.latency.p50_ms == pytest.approx(50)
    assert summary.without_lag.p50_ms == pytest.approx(20)
    assert summary.without_lag.max_ms == pytest.approx(50)


def test_the_warm_up_counts_in_no_figure_but_the_record() -> None:
    samples = make_samples([-1.0, -0.5, 0.0, 0.5], end=[9.0, -0.4, 0.1, 0.6], error=["late", "", "", ""])
    summary = summarise(samples, duration=1)
    assert (summary.requests, summary.failures, summary.recorded) == (2, 0, 4)
    assert summary.latency.max_ms == pytest.approx(100)


def test_a_failure_has_no_latency_and_is_counted_by_kind() -> None:
    samples = make_samples(
        [0.1, 0.2, 0.3, 0.4],
        end=[0.2, 5.2, 0.3001, 0.4001],
        error=["", "no answer", "status 500", "status 500"],
    )
    summary = summarise(samples, duration=1)
    assert (summary.requests, summary.failures, summary.failure_ratio) == (4, 3, 0.75)
    assert summary.latency.p50_ms == summary.latency.max_ms == pytest.approx(100)
    assert list(summary.errors.items()) == [("status 500", 2), ("no answer", 1)]
    assert summary.protocols["v1"].failures == 3


def test_throughput_is_that_of_answers_within_the_measured_time() -> None:
    # An overloaded server answers the second half after the end: it does not have the rate that was offered.
    intended = [index / 100 for index in range(1000)]
    summary = summarise(make_samples(intended, end=[2 * time for time in intended]), duration=10)
    assert summary.rps == pytest.approx(50)
    assert summary.requests == 1000


def test_no_samples_give_no_figures() -> None:
    summary = summarise(make_samples([]), duration=10)
    assert (summary.requests, summary.rps, summary.latency.p99_ms, summary.failure_ratio) == (
        0,
        0,
        None,
        None,
    )


def test_a_course_has_a_bin_a_second_and_the_ends_at_their_own_length() -> None:
    intended = [-0.25, 0.5, 1.2, 1.6, 2.25]
    course = series(make_samples(intended, error=["", "", "", "status 500", ""]), duration=2.5, warmup=0.5)
    assert course.time.tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert course.answers.tolist() == [2.0, 1.0, 1.0, 2.0]
    assert course.failures.tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_long_course_has_wider_bins_and_gaps_where_nothing_was_answered() -> None:
    course = series(make_samples([0.0, 3599.0], end=[0.01, 3599.01]), duration=3600, warmup=0)
    assert course.width == 30
    assert len(course.time) == 120
    assert course.latency_ms[99.0][0] == pytest.approx(10)
    assert np.isnan(course.latency_ms[99.0][1:-1]).all()
