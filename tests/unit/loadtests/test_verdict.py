# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

import pytest

from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.summary import Latency, Summary
from tidegate_loadtests.verdict import judge

IDLE = Generator(
    pinned_cpu=1, utilization_mean=0.4, utilization_max=0.6, run_queue_wait_mean=0.0, saturated_ratio=0.0
)
BUSY = Generator(
    pinned_cpu=1, utilization_mean=0.97, utilization_max=1.0, run_queue_wait_mean=0.02, saturated_ratio=0.9
)
UNMEASURED = Generator(
    pinned_cpu=1, utilization_mean=None, utilization_max=None, run_queue_wait_mean=None, saturated_ratio=0.0
)
PLAN = LoadTest(
    rate=100,
    connections=4,
    duration=20,
    warmup=0,
    thresholds={"max_p99_ms": 50, "max_failure_ratio": 0.01, "min_goodput": 95},
)


def make_summary(
    requests: int = 2000,
    failures: int = 0,
    goodput: float = 99.0,
    p99_ms: float | None = 20.0,
    without_send_delay: float | None = None,
    recorded_requests: int = 2000,
) -> Summary:
    latency = Latency(1.0, 2.0, p99_ms, p99_ms)
    return Summary(
        requests=requests,
        failures=failures,
        goodput=goodput,
        rows_per_second=goodput,
        latency=latency,
        service_time=latency,
        latency_without_send_delay=(
            latency
            if without_send_delay is None
            else Latency(1.0, 2.0, without_send_delay, without_send_delay)
        ),
        send_delay_p99_ms=0.1,
        protocols={},
        errors={},
        recorded_requests=recorded_requests,
    )


@pytest.mark.parametrize(
    ("summary", "generator", "outcome", "reasons"),
    [
        (make_summary(), IDLE, "pass", []),
        (make_summary(p99_ms=50.0, failures=20, goodput=95.0), IDLE, "pass", []),
        (make_summary(p99_ms=51.0), IDLE, "fail", [("p99 latency", "at most 50 ms", "measured 51 ms")]),
        (make_summary(failures=21), IDLE, "fail", [("failure ratio", "at most 1 %", "measured 1.1 %")]),
        (make_summary(goodput=94.9), IDLE, "fail", [("goodput", "at least 95 /s", "measured 94.9 /s")]),
        (
            make_summary(failures=2000, p99_ms=None, goodput=0.0),
            IDLE,
            "fail",
            [
                ("p99 latency", "at most 50 ms", "measured nothing"),
                ("failure ratio", "at most 1 %", "measured 100 %"),
                ("goodput", "at least 95 /s", "measured 0 /s"),
            ],
        ),
        (
            make_summary(),
            BUSY,
            "inconclusive",
            [
                (
                    "the load generator was the bottleneck",
                    "more than 90 % of a CPU",
                    "90 % of the measured time",
                    "97 % used",
                    "2 % waited for",
                )
            ],
        ),
        (make_summary(), UNMEASURED, "inconclusive", [("CPU time of the load generator", "measured")]),
        (make_summary(requests=999), IDLE, "inconclusive", [("999 requests", "at least 1,000")]),
        (
            make_summary(recorded_requests=1990),
            IDLE,
            "inconclusive",
            [("samples are missing", "expected 2,000", "received 1,990")],
        ),
        (
            make_summary(p99_ms=60.0, without_send_delay=40.0),
            IDLE,
            "inconclusive",
            [
                ("send delay decided p99", "60 ms with", "40 ms without", "threshold 50 ms"),
                ("p99 latency", "at most 50 ms", "measured 60 ms"),
            ],
        ),
        (
            make_summary(p99_ms=60.0, without_send_delay=55.0),
            IDLE,
            "fail",
            [("p99 latency", "at most 50 ms", "measured 60 ms")],
        ),
    ],
)
def test_verdict_follows_from_metrics_and_thresholds(
    summary: Summary, generator: Generator, outcome: str, reasons: list[tuple[str, ...]]
) -> None:
    verdict = judge(PLAN, summary, [generator])
    assert verdict.outcome == outcome
    assert len(verdict.reasons) == len(reasons)
    for reason, texts in zip(verdict.reasons, reasons, strict=True):
        for text in texts:
            assert text in reason


def test_verdict_without_requests_is_inconclusive() -> None:
    none = Latency(None, None, None, None)
    empty = Summary(0, 0, 0.0, 0.0, none, none, none, None, {}, {}, 0)
    for plan in (PLAN, LoadTest(users=1, duration=1)):
        assert judge(plan, empty, [IDLE]).outcome == "inconclusive"


def test_verdict_has_a_result_per_threshold() -> None:
    metrics = [result.metric for result in judge(PLAN, make_summary(), [IDLE]).thresholds]
    assert metrics == ["p99_ms", "failure_ratio", "goodput"]
    bare = LoadTest(users=1, duration=1)
    assert [result.metric for result in judge(bare, make_summary(), [IDLE]).thresholds] == ["failure_ratio"]


@pytest.mark.parametrize("other", [BUSY, UNMEASURED])
def test_verdict_with_one_saturated_worker_is_inconclusive(other: Generator) -> None:
    workers = [replace(IDLE, worker="worker 0 on a"), replace(other, worker="worker 1 on b")]
    verdict = judge(PLAN, make_summary(), workers)
    assert verdict.outcome == "inconclusive"
    (reason,) = verdict.reasons
    assert "worker 1 on b" in reason
    assert judge(PLAN, make_summary(), workers[:1]).outcome == "pass"
