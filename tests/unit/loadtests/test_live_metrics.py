# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from tests.support.samples import make_samples
from tidegate_loadtests.live_metrics import LiveMetrics, SampleCounter


def test_counter_without_samples_has_no_latency() -> None:
    assert SampleCounter(lambda: 7.0).read() == LiveMetrics()


def test_counter_covers_the_last_seconds_and_counts_all() -> None:
    now = 0.0
    counter = SampleCounter(lambda: now)
    now = 1.0
    counter.add(make_samples([0.0] * 8, completed=[0.5] * 8))
    assert counter.read() == LiveMetrics(requests=8, failures=0, rate=8.0, p99_ms=500.0)
    now = 5.0
    counter.add(make_samples([4.0, 4.0], completed=[4.1, 9.0], error=["", "no response"]))
    assert counter.read() == LiveMetrics(requests=10, failures=1, rate=2.0, p99_ms=500.0)
    now = 6.0
    metrics = counter.read()
    assert (metrics.requests, metrics.failures, metrics.rate) == (10, 1, 0.4)
    assert metrics.p99_ms == pytest.approx(100)


def test_counter_forgets_old_batches_without_a_reader() -> None:
    now = 0.0
    counter = SampleCounter(lambda: now)
    for second in range(100):
        now = float(second)
        counter.add(make_samples([now]))
    assert len(counter._recent) == 5
