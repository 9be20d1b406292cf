# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.campaigns import make_campaign, make_phase
from tests.support.samples import make_samples
from tests.support.timelines import make_timeline
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import CampaignSummary, summarise
from tidegate_loadtests.timeline.records import Gap
from tidegate_loadtests.verdict import Verdict, judge

IDLE = Generator(
    pinned_cpu=1, utilization_mean=0.4, utilization_max=0.6, run_queue_wait_mean=0.0, saturated_ratio=0.0
)
BUSY = Generator(
    pinned_cpu=1, utilization_mean=0.97, utilization_max=1.0, run_queue_wait_mean=0.02, saturated_ratio=0.9
)
UNMEASURED = Generator(
    pinned_cpu=1, utilization_mean=None, utilization_max=None, run_queue_wait_mean=None, saturated_ratio=0.0
)
CAMPAIGN = make_campaign(
    make_phase(thresholds={"max_p99_ms": 50, "max_failure_ratio": 0.01, "min_goodput": 95})
)
CLOSED_LOOP = make_campaign(make_phase(load={"model": "closed", "users": 2}))
SCALING = make_campaign(
    make_phase("warm-up", judged=False),
    make_phase(),
    target={"watch": {"deployment": "iris"}},
    scaling={"min_replicas": 1},
)


def make_requests(
    count: int = 2000,
    late: int = 0,
    failures: int = 0,
    latency: float = 0.02,
    send_delay: float = 0.0,
    seconds: float = 20.0,
    error: str = "status 503",
) -> Samples:
    """Make requests at equal intervals; the last ones fail, and those before them take 80 ms.

    Args:
        count: Number of requests.
        late: Number of requests with a latency of 80 ms.
        failures: Number of failures.
        latency: Seconds from send to response of the others.
        send_delay: Seconds between intended start and send.
        seconds: The time in which they start.
        error: The error of failures.
    """
    starts = np.arange(count) * seconds / max(count, 1)
    durations = np.full(count, latency)
    durations[count - failures - late : count - failures] = 0.08
    return make_samples(
        starts,
        sent=starts + send_delay,
        completed=starts + send_delay + durations,
        error=[""] * (count - failures) + [error] * failures,
    )


def judge_requests(samples: Samples, campaign: Campaign = CAMPAIGN, generator: Generator = IDLE) -> Verdict:
    return judge(campaign, summarise(campaign, [samples]), [generator])


@pytest.mark.parametrize(
    ("samples", "outcome", "reasons"),
    [
        (make_requests(), "pass", []),
        (make_requests(latency=0.04999), "pass", []),
        (make_requests(late=9), "pass", []),
        (
            make_requests(late=21),
            "fail",
            [("p99 latency in phase 'main'", "at most 50 ms", "first at 19.5 s")],
        ),
        (make_requests(failures=20), "pass", []),
        (
            make_requests(failures=21),
            "fail",
            [("failure ratio", "at most 1 %", "measured 1.1 %", "status 503")],
        ),
        (
            make_requests(late=21, failures=21),
            "fail",
            [("p99 latency",), ("failure ratio", "at most 1 %", "measured 1.1 %")],
        ),
        (
            make_requests(failures=2000),
            "fail",
            [
                ("p99 latency", "at most 50 ms", "measured nothing", "every request failed"),
                ("failure ratio", "at most 1 %", "measured 100 %"),
                ("goodput", "at least 95 /s", "measured 0 /s"),
            ],
        ),
    ],
)
def test_verdict_follows_from_metrics_and_thresholds(
    samples: Samples, outcome: str, reasons: list[tuple[str, ...]]
) -> None:
    verdict = judge_requests(samples)
    assert verdict.outcome == outcome
    assert len(verdict.reasons) == len(reasons)
    for reason, texts in zip(verdict.reasons, reasons, strict=True):
        for text in texts:
            assert text in reason


@pytest.mark.parametrize(
    ("samples", "campaign", "generator", "texts"),
    [
        (make_requests(), CAMPAIGN, BUSY, ("the load generator was the bottleneck", "90 %", "97 % used")),
        (make_requests(), CAMPAIGN, UNMEASURED, ("CPU time of the load generator", "could not be measured")),
        (make_requests(1990), CAMPAIGN, IDLE, ("samples are missing", "expected 2,000", "received 1,990")),
        (make_requests(0), CLOSED_LOOP, IDLE, ("failure ratio", "measured nothing")),
        (
            make_requests(latency=0.04, send_delay=0.02),
            CAMPAIGN,
            IDLE,
            (
                "p99 latency",
                "measured 60 ms",
                "the load generator's own send delay decided it, 40 ms without",
            ),
        ),
        (
            make_requests(late=15),
            CAMPAIGN,
            IDLE,
            ("p99 latency", "measured 20 ms", "15 of 2,000 requests were later", "requests would"),
        ),
        (
            make_requests(458),
            make_campaign(make_phase(load={"model": "closed", "users": 2}, thresholds={"max_p99_ms": 50})),
            IDLE,
            ("p99 latency", "0 of 458 requests were later", "459 requests would"),
        ),
        (
            make_requests(300, late=10),
            make_campaign(make_phase(load={"model": "closed", "users": 2}, thresholds={"max_p99_ms": 50})),
            IDLE,
            ("p99 latency", "300 requests are too few, at least 459 decide it"),
        ),
    ],
)
def test_verdict_without_evidence_is_inconclusive(
    samples: Samples, campaign: Campaign, generator: Generator, texts: tuple[str, ...]
) -> None:
    verdict = judge_requests(samples, campaign, generator)
    assert verdict.outcome == "inconclusive"
    for text in texts:
        assert text in verdict.reasons[0]


@pytest.mark.parametrize(
    ("samples", "generator", "outcome"),
    [
        (make_requests(late=100, failures=100), BUSY, "inconclusive"),  # a defect spoils each check
        (make_requests(late=15, failures=100), IDLE, "fail"),  # one check is undecided, another failed
        (make_requests(late=15), IDLE, "inconclusive"),
    ],
)
def test_verdict_ranks_defect_above_failure_above_missing_evidence(
    samples: Samples, generator: Generator, outcome: str
) -> None:
    assert judge_requests(samples, generator=generator).outcome == outcome


def test_verdict_judges_each_phase_by_its_own_thresholds() -> None:
    campaign = make_campaign(
        make_phase("warm-up", judged=False),
        make_phase("strict", thresholds={"max_p99_ms": 10}),
        make_phase("loose", thresholds={"max_p50_ms": 100}),
    )
    samples = make_requests(6000, failures=0, seconds=60)
    verdict = judge_requests(samples, campaign)
    assert [(check.phase, check.name, check.outcome) for check in verdict.checks] == [
        ("strict", "p99_ms", "fail"),
        ("strict", "failure_ratio", "pass"),
        ("loose", "p50_ms", "pass"),
        ("loose", "failure_ratio", "pass"),
    ]


def test_failed_check_marks_the_first_second_that_shows_it() -> None:
    # The last 200 of 2,000 requests in 20 s fail; the 400 before them are late.
    samples = make_requests(late=400, failures=200)
    marks = {check.name: check.mark_seconds for check in judge_requests(samples).checks}
    assert (marks["p99_ms"], marks["failure_ratio"]) == (14.5, 18.5)
    marks = {check.name: check.mark_seconds for check in judge_requests(make_requests(failures=200)).checks}
    assert (marks["p99_ms"], marks["goodput"]) == (None, 18.5)
    assert all(check.mark_seconds is None for check in judge_requests(make_requests()).checks)


@pytest.mark.parametrize("other", [BUSY, UNMEASURED])
def test_verdict_with_one_saturated_worker_is_inconclusive(other: Generator) -> None:
    workers = [replace(IDLE, worker="worker 0 on a"), replace(other, worker="worker 1 on b")]
    summary = summarise(CAMPAIGN, [make_requests()])
    verdict = judge(CAMPAIGN, summary, workers)
    assert verdict.outcome == "inconclusive"
    (reason,) = verdict.reasons
    assert "worker 1 on b" in reason
    assert judge(CAMPAIGN, summary, workers[:1]).outcome == "pass"


def summarise_scaling() -> CampaignSummary:
    return summarise(SCALING, [make_requests(4000, seconds=40)])


@pytest.mark.parametrize(
    ("start", "end", "outcome"),
    [
        (5.0, 19.9, "pass"),  # the warm-up is not judged
        (19.0, 20.1, "inconclusive"),
        (30.0, 31.0, "inconclusive"),
        (40.0, 50.0, "pass"),
    ],
)
def test_gap_in_a_judged_phase_is_inconclusive(start: float, end: float, outcome: str) -> None:
    gap = Gap(resource="pods", start=start, end=end, reason="the server closed the watch")
    verdict = judge(SCALING, summarise_scaling(), [IDLE], make_timeline([(0, 1, 1)], gaps=[gap]))
    assert verdict.outcome == outcome
    if outcome == "inconclusive":
        assert "the timeline of pods has a gap" in verdict.reasons[0]
        assert "in phase 'main': the server closed the watch" in verdict.reasons[0]


@pytest.mark.parametrize("timeline", [None, make_timeline([])])
def test_scaling_without_a_timeline_is_inconclusive(timeline: Any) -> None:
    verdict = judge(SCALING, summarise_scaling(), [IDLE], timeline)
    assert verdict.outcome == "inconclusive"
    assert "no timeline of the replicas was recorded" in verdict.reasons[0]


def test_scaling_check_that_fails_fails_the_campaign() -> None:
    verdict = judge(SCALING, summarise_scaling(), [IDLE], make_timeline([(0, 1, 0)]))
    assert verdict.outcome == "fail"
    assert verdict.reasons == ("least ready replicas: expected at least 1, measured 0",)


def test_scaling_step_that_needs_nothing_is_inconclusive() -> None:
    campaign = make_campaign(
        make_phase("low", rate=100),
        make_phase("high", rate=200, thresholds={"max_p50_ms": 50}),
        target={"watch": {"deployment": "iris"}},
        scaling={"max_reaction_seconds": 30},
    )
    starts = np.concatenate([np.arange(2000) / 100, 20 + np.arange(4000) / 200])
    summary = summarise(campaign, [make_samples(starts, completed=starts + 0.01)])
    verdict = judge(campaign, summary, [IDLE], make_timeline([(0, 1, 1)]))
    assert verdict.outcome == "inconclusive"
    assert "the load never needed more replicas" in verdict.reasons[0]
    scaled = judge(campaign, summary, [IDLE], make_timeline([(0, 1, 1), (30, 2, 2)]))
    assert scaled.outcome == "pass"
    assert [response.reaction_seconds for response in scaled.responses] == [None, 10]
