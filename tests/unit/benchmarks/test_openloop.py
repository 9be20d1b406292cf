# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks.openloop import summarize
from tidegate.protocol.openloop import Outcome


def test_summarize_counts_latency_from_the_intended_start() -> None:
    outcomes = [
        Outcome(
            -0.5, 0.5, 200
        ),  # starts in the warm-up, completes in the measurement: counts in the throughput only
        Outcome(0.1, 0.2, 200),
        Outcome(0.5, 1.5, 200),
        Outcome(1.9, 2.4, 200),  # starts in the measurement, completes after it: counts in the latency only
        Outcome(1.0, 1.1, 429),
        Outcome(1.2, 1.3, 503),
        Outcome(1.4, 1.5, 500),
        Outcome(1.6, None, None),
    ]
    summary = summarize(outcomes, [9.0] + [0.001] * 7, seconds=2.0, cpu=1.0)
    assert summary.offered == 3.5
    assert summary.rps == 1.5
    assert (summary.rejected, summary.failed) == (2, 2)
    assert summary.p50_ms == pytest.approx(500)
    assert summary.p99_ms == pytest.approx(1000)
    assert summary.send_delay_ms == pytest.approx(1.0)
    assert summary.generator_cpu == 0.5


def test_summarize_without_success_has_no_latency() -> None:
    summary = summarize([Outcome(0.0, 0.1, 429)], [0.0], seconds=1.0, cpu=0.1)
    assert (summary.rps, summary.p50_ms, summary.p99_ms) == (0.0, None, None)
