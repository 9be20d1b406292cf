# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

import pytest
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.summary import Latency, Summary
from tidegate_loadtests.verdict import judge

CALM = Generator(core=1, cpu_mean=0.4, cpu_peak=0.6, wait_mean=0.0, saturated_share=0.0)
BUSY = Generator(core=1, cpu_mean=0.97, cpu_peak=1.0, wait_mean=0.02, saturated_share=0.9)
UNSEEN = Generator(core=1, cpu_mean=None, cpu_peak=None, wait_mean=None, saturated_share=0.0)
PLAN = LoadTest(
    rate=100, connections=4, duration=20, warmup=0, objective={"p99_ms": 50, "failure_ratio": 0.01, "rps": 95}
)


def summary(
    requests: int = 2000,
    failures: int = 0,
    rps: float = 99.0,
    p99: float | None = 20.0,
    without_lag: float | None = None,
    recorded: int = 2000,
) -> Summary:
    latency = Latency(1.0, 2.0, p99, p99)
    blameless = latency if without_lag is None else Latency(1.0, 2.0, without_lag, without_lag)
    return Summary(requests, failures, rps, rps, latency, latency, blameless, 0.1, {}, {}, recorded)


@pytest.mark.parametrize(
    ("measured", "generator", "verdict", "reasons"),
    [
        (summary(), CALM, "pass", []),
        (summary(p99=50.0, failures=20, rps=95.0), CALM, "pass", []),
        (summary(p99=51.0), CALM, "fail", ["p99 latency: expected at most 50 ms, measured 51 ms"]),
        (summary(failures=21), CALM, "fail", ["failures: expected at most 1 %, measured 1.1 %"]),
        (summary(rps=94.9), CALM, "fail", ["right answers: expected at least 95 /s, measured 94.9 /s"]),
        (
            summary(failures=2000, p99=None, rps=0.0),
            CALM,
            "fail",
            [
                "p99 latency: expected at most 50 ms, measured nothing",
                "failures: expected at most 1 %, measured 100 %",
                "right answers: expected at least 95 /s, measured 0 /s",
            ],
        ),
        (
            summary(),
            BUSY,
            "void",
            [
                "the load generator was the bottleneck: it needed more than 90 % of a core for 90 % of the "
                "measured time (97 % used and 2 % waited for on average)"
            ],
        ),
        (summary(), UNSEEN, "void", ["the processor time of the load generator could not be measured"]),
        (
            summary(requests=999),
            CALM,
            "void",
            ["999 requests are too few to decide the objective, which needs 1,000"],
        ),
        (summary(recorded=1990), CALM, "void", ["of 2,000 planned requests 1,990 are recorded"]),
        (
            summary(p99=60.0, without_lag=40.0),
            CALM,
            "void",
            [
                "the load generator's own delay decided p99: 60 ms with it, 40 ms without, "
                "the limit being 50 ms",
                "p99 latency: expected at most 50 ms, measured 60 ms",
            ],
        ),
        (
            summary(p99=60.0, without_lag=55.0),
            CALM,
            "fail",
            ["p99 latency: expected at most 50 ms, measured 60 ms"],
        ),
    ],
)
def test_the_verdict_follows_from_figures_and_objective(
    measured: Summary, generator: Generator, verdict: str, reasons: list[str]
) -> None:
    found = judge(PLAN, measured, [generator])
    assert found.verdict == verdict
    assert list(found.reasons) == reasons


def test_nothing_asked_never_passes() -> None:
    nothing = Latency(None, None, None, None)
    empty = Summary(0, 0, 0.0, 0.0, nothing, nothing, nothing, None, {}, {}, 0)
    for plan in (PLAN, LoadTest(users=1, duration=1)):
        assert judge(plan, empty, [CALM]).verdict == "void"


def test_every_limit_of_the_objective_is_measured_and_no_other() -> None:
    assert [measure.name for measure in judge(PLAN, summary(), [CALM]).measures] == [
        "p99_ms",
        "failure_ratio",
        "rps",
    ]
    bare = LoadTest(users=1, duration=1)
    assert [measure.name for measure in judge(bare, summary(), [CALM]).measures] == ["failure_ratio"]


@pytest.mark.parametrize("other", [BUSY, UNSEEN])
def test_one_saturated_worker_voids_the_campaign_of_all(other: Generator) -> None:
    workers = [replace(CALM, worker="worker 0 on a"), replace(other, worker="worker 1 on b")]
    found = judge(PLAN, summary(), workers)
    assert found.verdict == "void"
    (reason,) = found.reasons
    assert "worker 1 on b" in reason
    assert judge(PLAN, summary(), workers[:1]).verdict == "pass"
