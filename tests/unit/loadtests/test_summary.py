# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import summarise


def make_samples(
    intended_start: list[float],
    sent: list[float] | None = None,
    completed: list[float] | None = None,
    connection_free: list[float] | None = None,
    error: list[str] | None = None,
) -> Samples:
    """Make samples of one protocol and one row; by default sent when intended, with a response at once."""
    count = len(intended_start)
    sent = intended_start if sent is None else sent
    return Samples(
        intended_start=np.array(intended_start, float),
        connection_free=np.array([-10.0] * count if connection_free is None else connection_free, float),
        sent=np.array(sent, float),
        completed=np.array(sent if completed is None else completed, float),
        status=np.full(count, 200),
        protocol=np.array(["v1"] * count, str),
        rows=np.full(count, 1),
        error=np.array([""] * count if error is None else error, str),
    )


def test_latency_shows_a_stall_in_each_delayed_request() -> None:
    # One connection, 100 requests per second, 1 ms each, except the one at 2 s, which takes a second. The
    # requests after it are sent late, one after the other, until the backlog is empty.
    intended, sent, completed, free = [], [], [], []
    available = 0.0
    for index in range(1000):
        due = index / 100
        start = max(due, available)
        intended.append(due)
        free.append(available)
        sent.append(start)
        available = start + (1.0 if index == 200 else 0.001)
        completed.append(available)
    summary = summarise(make_samples(intended, sent, completed, free), duration=10)
    assert summary.service_time.p99_ms == pytest.approx(1.0)
    assert summary.latency.p99_ms == pytest.approx(910, abs=15)
    assert summary.latency.p50_ms == pytest.approx(1.0)
    # The generator itself was never late: each request waited for the schedule or for the connection.
    assert summary.send_delay_p99_ms == pytest.approx(0)
    assert summary.latency_without_send_delay == summary.latency


def test_latency_without_send_delay_excludes_the_generator() -> None:
    samples = make_samples(
        [1.0] * 4, sent=[1.030] * 4, completed=[1.050] * 4, connection_free=[0.5, 1.0, 1.010, 1.030]
    )
    summary = summarise(samples, duration=2)
    assert summary.latency.p50_ms == pytest.approx(50)
    assert summary.latency_without_send_delay.p50_ms == pytest.approx(20)
    assert summary.latency_without_send_delay.max_ms == pytest.approx(50)


def test_summary_excludes_the_warmup_except_in_the_record() -> None:
    samples = make_samples(
        [-1.0, -0.5, 0.0, 0.5], completed=[9.0, -0.4, 0.1, 0.6], error=["late", "", "", ""]
    )
    summary = summarise(samples, duration=1)
    assert (summary.requests, summary.failures, summary.recorded_requests) == (2, 0, 4)
    assert summary.latency.max_ms == pytest.approx(100)


def test_failures_have_no_latency_and_are_counted_by_error() -> None:
    samples = make_samples(
        [0.1, 0.2, 0.3, 0.4],
        completed=[0.2, 5.2, 0.3001, 0.4001],
        error=["", "no response", "status 500", "status 500"],
    )
    summary = summarise(samples, duration=1)
    assert (summary.requests, summary.failures, summary.failure_ratio) == (4, 3, 0.75)
    assert summary.latency.p50_ms == summary.latency.max_ms == pytest.approx(100)
    assert list(summary.errors.items()) == [("status 500", 2), ("no response", 1)]
    assert summary.protocols["v1"].failures == 3


def test_goodput_counts_responses_within_the_measured_time() -> None:
    # An overloaded server sends half of its responses after the end, so goodput is below the rate.
    intended = [index / 100 for index in range(1000)]
    summary = summarise(make_samples(intended, completed=[2 * time for time in intended]), duration=10)
    assert summary.goodput == pytest.approx(50)
    assert summary.rows_per_second == pytest.approx(50)
    assert summary.requests == 1000


def test_summary_without_samples_has_no_latency() -> None:
    summary = summarise(make_samples([]), duration=10)
    assert (summary.requests, summary.goodput) == (0, 0)
    assert (summary.latency.p99_ms, summary.failure_ratio) == (None, None)
