# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.campaigns import make_campaign, make_phase
from tests.support.samples import make_samples
from tidegate.stats import percentile
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.error_texts import OTHER_ERRORS
from tidegate_loadtests.histogram import BUCKETS
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import Summariser, Summary, summarise

TEN_SECONDS = make_campaign(make_phase(duration=10))


def judged(samples: Samples, campaign: Campaign = TEN_SECONDS) -> Summary:
    return summarise(campaign, [samples]).judged


def near(milliseconds: float) -> object:
    return pytest.approx(milliseconds, rel=BUCKETS.relative_error)


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
    summary = judged(make_samples(intended, sent, completed, free))
    assert summary.service_time.p99_ms == near(1.0)
    assert summary.latency.p99_ms == pytest.approx(910, abs=15)
    assert summary.latency.p50_ms == near(1.0)
    # The generator itself was never late: each request waited for the schedule or for the connection.
    assert summary.send_delay_p99_ms == pytest.approx(0, abs=0.002)
    assert summary.latency_without_send_delay == summary.latency


def test_latency_without_send_delay_excludes_the_generator() -> None:
    samples = make_samples(
        [1.0] * 4, sent=[1.030] * 4, completed=[1.050] * 4, connection_free=[0.5, 1.0, 1.010, 1.030]
    )
    summary = judged(samples)
    assert summary.latency.p50_ms == near(50)
    assert summary.latency_without_send_delay.p50_ms == near(20)
    assert summary.latency_without_send_delay.max_ms == pytest.approx(50)


def test_phases_have_metrics_of_their_own_by_intended_start() -> None:
    campaign = make_campaign(
        make_phase("warm-up", duration=2, judged=False),
        make_phase("low", duration=10, thresholds={"max_p50_ms": 150}),
        make_phase("high", duration=10, thresholds={"max_p99_ms": 250}),
    )
    samples = make_samples(
        [0.5, 1.9, 2.0, 3.0, 12.0, 13.0],
        completed=[0.6, 2.5, 2.1, 3.2, 12.3, 22.5],
        error=["", "", "", "", "", "no response"],
    )
    summary = summarise(campaign, [samples])
    assert [phase.bounds.name for phase in summary.phases] == ["warm-up", "low", "high"]
    warmup, low, high = (phase.metrics for phase in summary.phases)
    assert [(one.requests, one.failures) for one in (warmup, low, high)] == [(2, 0), (2, 0), (2, 1)]
    # The response to a request of the warm-up arrives in the next phase, and counts there.
    assert [one.goodput for one in (warmup, low, high)] == [0.5, 0.3, 0.1]
    assert low.latency.max_ms == pytest.approx(200)
    assert (low.late, high.late) == ({50.0: 1}, {99.0: 1})
    assert (summary.judged.requests, summary.judged.failures, summary.recorded_requests) == (4, 1, 6)
    assert summary.judged.goodput == pytest.approx(4 / 20)
    assert summary.judged.latency.max_ms == pytest.approx(300)
    assert summary.latency.counts.sum() == summary.service_time.counts.sum() == 3


def test_failures_have_no_latency_and_are_counted_by_error() -> None:
    samples = make_samples(
        [0.1, 0.2, 0.3, 0.4],
        completed=[0.2, 5.2, 0.3001, 0.4001],
        error=["", "no response", "status 500", "status 500"],
    )
    summary = judged(samples)
    assert (summary.requests, summary.failures, summary.failure_ratio) == (4, 3, 0.75)
    assert summary.latency.p50_ms == summary.latency.max_ms == pytest.approx(100)
    assert list(summary.errors.items()) == [("status 500", 2), ("no response", 1)]
    assert summary.protocols["v1"].failures == 3


def test_protocols_are_summarised_apart() -> None:
    samples = make_samples(
        [1.0, 1.0, 2.0],
        completed=[1.1, 1.2, 2.3],
        protocol=["v1", "grpc", "grpc"],
        error=["", "", "status 8"],
    )
    summary = judged(samples)
    assert {name: (one.requests, one.failures) for name, one in summary.protocols.items()} == {
        "grpc": (2, 1),
        "v1": (1, 0),
    }
    assert summary.protocols["grpc"].latency.max_ms == pytest.approx(200)
    assert summary.latency.max_ms == pytest.approx(200)


def test_goodput_counts_responses_within_the_phase() -> None:
    # An overloaded server sends half of its responses after the end, so goodput is below the rate.
    intended = [index / 100 for index in range(1000)]
    summary = judged(make_samples(intended, completed=[2 * time for time in intended]))
    assert summary.goodput == pytest.approx(50)
    assert summary.rows_per_second == pytest.approx(50)
    assert summary.requests == 1000


def test_summary_without_samples_has_no_latency() -> None:
    for batches in ([], [make_samples([])]):
        summary = summarise(TEN_SECONDS, batches).judged
        assert (summary.requests, summary.goodput) == (0, 0)
        assert (summary.latency.p99_ms, summary.failure_ratio, summary.send_delay_p99_ms) == (
            None,
            None,
            None,
        )


def test_errors_of_unlimited_kinds_are_counted_together() -> None:
    campaign = make_campaign(make_phase("a", duration=10), make_phase("b", duration=10))
    starts = [index / 100 for index in range(2000)]
    errors = [f"status 500: at {start}" for start in starts]
    summary = judged(make_samples(starts, error=errors), campaign)
    assert len(summary.errors) == 101
    assert sum(summary.errors.values()) == 2000
    assert next(iter(summary.errors)) == OTHER_ERRORS


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_percentiles_agree_with_those_of_all_values(count: int, seed: int, batch: int) -> None:
    source = np.random.default_rng(seed)
    starts = np.sort(source.uniform(0, 10, count))
    samples = make_samples(starts, completed=starts + source.lognormal(-5, 2, count))
    batches = [samples.select(np.arange(count) // batch == index) for index in range(-(-count // batch))]
    summary = summarise(TEN_SECONDS, batches)
    for q in (50.0, 95.0, 99.0):
        exact = percentile(samples.latency_ms, q)
        assert summary.judged.latency.at(q) == pytest.approx(exact, rel=1.0001 * BUCKETS.relative_error)
    assert summary.judged.latency.max_ms == samples.latency_ms.max()


def retained_bytes(requests: int) -> int:
    """Return the memory that a summariser keeps after a number of requests of one campaign."""
    campaign = make_campaign(make_phase(rate=2000, duration=1000, thresholds={"max_p99_ms": 50}))
    source = np.random.default_rng(0)
    tracemalloc.start()
    summariser = Summariser(campaign)
    for begin in range(0, requests, 2000):
        starts = (begin + np.arange(2000)) / requests * 1000
        completed = starts + source.lognormal(-4, 1, 2000)
        summariser.add(make_samples(starts, completed=completed, error=["", "status 503"] * 1000))
    del starts, completed
    retained, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert summariser.summary().judged.requests == requests
    return retained


def test_memory_does_not_grow_with_the_requests() -> None:
    retained_bytes(2000)  # caches of the modules
    # One byte per request would be 180,000. Other threads of this process may allocate something meanwhile.
    assert retained_bytes(200_000) - retained_bytes(20_000) < 90_000
