# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reports of simulated campaigns: an autoscaler that follows a load step, one that does not, and a gap."""

from functools import cache
from typing import Literal

import numpy as np

from tests.support.campaigns import make_campaign, make_phase
from tests.support.samples import make_samples
from tests.support.timelines import make_timeline
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.report import Report
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import summarise
from tidegate_loadtests.timeline.records import Gap, Timeline
from tidegate_loadtests.verdict import judge

GENERATOR = Generator(
    pinned_cpu=1, utilization_mean=0.25, utilization_max=0.5, run_queue_wait_mean=0.1, saturated_ratio=0.0
)
SCALING = make_campaign(
    make_phase("warm-up", rate=100, duration=10, judged=False),
    {
        "name": "step",
        "duration": 120,
        "load": {"model": "steps", "rates": [100, 200], "step_seconds": 60},
        "thresholds": {"max_p99_ms": 250, "max_failure_ratio": 0.01},
    },
    protocols={"v1": 1, "v2": 1},
    target={"url": "http://stub", "watch": {"deployment": "stub"}},
    scaling={"max_reaction_seconds": 30, "max_recovery_seconds": 50, "max_replicas": 4},
)
STEP_AT = 70.0


def simulate(campaign: Campaign, slow_seconds: float = 0.0, error: str = "") -> Samples:
    """Make samples at the intended rate with 20 ms each; they take 2 s for a time after :data:`STEP_AT`.

    Args:
        campaign: An open loop.
        slow_seconds: The time with slow responses.
        error: The error of every fourth request in that time; none by default.
    """
    source = np.random.default_rng(0)
    starts = np.concatenate(
        [
            bounds.start
            + np.interp(
                np.sort(source.uniform(0, phase.planned_requests, phase.planned_requests)),
                phase.load.expected_requests(grid, phase.duration),
                grid,
            )
            for phase, bounds in zip(campaign.phases, campaign.bounds(), strict=True)
            for grid in [np.linspace(0, phase.duration, 1001)]
        ]
    )
    slow = (starts >= STEP_AT) & (starts < STEP_AT + slow_seconds)
    failed = slow & (np.arange(len(starts)) % 4 == 0)
    return make_samples(
        starts,
        completed=starts + np.where(slow, 2.0, 0.02),
        error=np.where(failed, error, "").tolist(),
        protocol=["v1", "v2"] * (len(starts) // 2),
    )


def make_report(
    samples: Samples,
    campaign: Campaign,
    timeline: Timeline | None = None,
    generators: tuple[Generator, ...] = (GENERATOR,),
) -> Report:
    """Make the report of a campaign.

    Args:
        samples: The requests.
        campaign: The load.
        timeline: The replicas; None if they were not recorded.
        generators: The CPU use of the load generators.
    """
    summary = summarise(campaign, [samples])
    return Report(
        model="stub",
        digest="0" * 64,
        started_at="2026-01-01T00:00:00+00:00",
        campaign=campaign,
        summary=summary,
        generators=generators,
        verdict=judge(campaign, summary, generators, timeline, safe_rate=100.0),
        timeline=timeline,
    )


@cache
def make_scaling_report(outcome: Literal["pass", "fail", "inconclusive"]) -> Report:
    """Make the report of a load step with this outcome."""
    scaled = [(0.0, 1, 1), (85.0, 2, 1), (95.0, 2, 2)]
    if outcome == "fail":
        error = (
            "status 429: Server overloaded: a queue delay of up to 2.31 s exceeds 2.00 s. Retry after 1 s."
        )
        return make_report(simulate(SCALING, 60, error), SCALING, make_timeline([(0.0, 1, 1)], hpa_max=6))
    gaps = [Gap(resource="pods", start=80, end=90, reason="the watch expired")]
    timeline = make_timeline(scaled, gaps=gaps if outcome == "inconclusive" else [], hpa_max=6)
    return make_report(simulate(SCALING), SCALING, timeline)
