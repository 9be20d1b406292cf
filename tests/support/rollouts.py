# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated rollouts: random traffic of two tracks, judged by the real verdict after every block.

The baseline is not constant: the rate of requests and the rates of errors and slow requests drift, and
incidents hit both tracks for a few blocks. The Gateway draws the track of each request. A canary's fault
multiplies its odds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidegate_rollout.evidence import Block, Evidence, TrackCounts
from tidegate_rollout.pairs import PairCounts
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.verdict import Outcome, assess

EDGES = (0.05, 0.1, 0.25)
INCIDENT_PROBABILITY = 0.02
INCIDENT_BLOCKS = 4
INCIDENT_FACTOR = 10.0
DRIFT = 0.15
"""Standard deviation per block of the logarithms of the rates, which return to their means."""


@dataclass(frozen=True)
class Traffic:
    """A service, and the fault of its canary."""

    requests: int = 2000
    """Requests per block, on average."""
    error_ratio: float = 0.005
    slow_ratios: tuple[float, float, float] = (0.05, 0.01, 0.003)
    """By edge, the ratio of the stable track's requests that take longer."""
    error_odds: float = 1.0
    """The canary's odds of an error, divided by those on the stable track."""
    slow_odds: float = 1.0
    disagreement: float = 0.0
    """Ratio of the pairs with different labels."""
    pairs_per_block: int = 50


@dataclass(frozen=True)
class Run:
    """The end of a simulated rollout."""

    outcome: Outcome
    step: int
    blocks: int
    requests: int
    """Requests of both tracks until the decision, without copies."""
    canary_users: int
    """User requests that the canary served."""
    failed_checks: tuple[str, ...]


def simulate(policy: RolloutPolicy, traffic: Traffic, random: np.random.Generator) -> Run:
    """Simulate one rollout up to its end.

    Args:
        policy: The policy.
        traffic: The traffic and the fault.
        random: The source of randomness.
    """
    evidence = Evidence.start(policy, EDGES if policy.latency else ())
    conditions = _conditions(random)
    blocks = requests = users = 0
    while True:
        step = policy.steps[evidence.step]
        rate, severity = next(conditions)
        block = draw_block(traffic, step.mirror, step.weight, rate, severity, policy.block_seconds, random)
        evidence = evidence.add(block, policy)
        if policy.predictions is not None and step.mirror is not None:
            evidence = replace(evidence, pairs=_add_pairs(evidence.pairs, traffic, random))
        blocks += 1
        requests += block.stable.timed + (0 if step.mirror else block.canary.timed)
        users += 0 if step.mirror else block.canary.timed
        verdict = assess(policy, evidence)
        if verdict.outcome == "pass" and evidence.step + 1 < len(policy.steps):
            evidence = evidence.next_step(policy)
        elif verdict.outcome != "continue":
            failed = tuple(check.name for check in verdict.checks if check.outcome == "fail")
            return Run(verdict.outcome, evidence.step, blocks, requests, users, failed)


def draw_block(
    traffic: Traffic,
    mirror: float | None,
    weight: int | None,
    rate: float,
    severity: float,
    seconds: float,
    random: np.random.Generator,
) -> Block:
    """Draw the requests of one block.

    Args:
        traffic: The traffic and the fault.
        mirror: The percentage of copies; None at a step with a weight.
        weight: The canary's percentage of the requests; None at a step with copies.
        rate: The factor of the rate of requests.
        severity: The factor of the odds of errors and of slow requests on both tracks.
        seconds: The duration of the block.
        random: The source of randomness.
    """
    total = int(random.poisson(traffic.requests * rate))
    canary = int(random.binomial(total, (mirror or weight or 0) / 100))
    return Block(
        canary=_draw_track(traffic, canary, severity, traffic.error_odds, traffic.slow_odds, random),
        stable=_draw_track(traffic, total if mirror else total - canary, severity, 1.0, 1.0, random),
        seconds=seconds,
    )


def study(policy: RolloutPolicy, traffic: Traffic, runs: int, seed: int) -> list[Run]:
    """Simulate rollouts with random sources of their own.

    Args:
        policy: The policy.
        traffic: The traffic and the fault.
        runs: The number of rollouts.
        seed: The seed of all of them.
    """
    seeds = np.random.SeedSequence(seed).spawn(runs)
    return [simulate(policy, traffic, np.random.default_rng(one)) for one in seeds]


def summarize(runs: Iterable[Run]) -> dict[str, Any]:
    """Return the counts of the outcomes, and the length of the rollouts."""
    runs = list(runs)
    failed = [run for run in runs if run.outcome == "fail"]
    return {
        "runs": len(runs),
        **{
            outcome: sum(run.outcome == outcome for run in runs)
            for outcome in ("fail", "pass", "insufficient")
        },
        "median_blocks": float(np.median([run.blocks for run in runs])),
        "requests_until_fail": _quantiles([run.requests for run in failed]),
        "canary_users_until_fail": _quantiles([run.canary_users for run in failed]),
    }


def _quantiles(values: list[int]) -> dict[str, float] | None:
    return {f"p{q}": float(np.percentile(values, q)) for q in (50, 95)} if values else None


def _conditions(random: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Yield per block the factor of the rate, and that of the odds of events."""
    rate = severity = 0.0
    incident = 0
    while True:
        rate = 0.95 * rate + random.normal(0, DRIFT)
        severity = 0.95 * severity + random.normal(0, DRIFT)
        incident = INCIDENT_BLOCKS if random.random() < INCIDENT_PROBABILITY else max(0, incident - 1)
        yield np.exp(rate), np.exp(severity) * (INCIDENT_FACTOR if incident else 1.0)


def _draw_track(
    traffic: Traffic,
    requests: int,
    severity: float,
    error_odds: float,
    slow_odds: float,
    random: np.random.Generator,
) -> TrackCounts:
    bad = int(random.binomial(requests, _scale(traffic.error_ratio, severity * error_odds)))
    slow, slower = [], requests
    longer = 1.0
    for ratio in traffic.slow_ratios:
        tail = _scale(ratio, severity * slow_odds)
        slower = int(random.binomial(slower, min(1.0, tail / longer)))
        longer = tail
        slow.append(slower)
    return TrackCounts(requests=requests, bad=bad, timed=requests, slow=tuple(slow))


def _scale(ratio: float, factor: float) -> float:
    odds = ratio / (1 - ratio) * factor
    return odds / (1 + odds)


def _add_pairs(pairs: PairCounts, traffic: Traffic, random: np.random.Generator) -> PairCounts:
    count = traffic.pairs_per_block
    return replace(
        pairs,
        pairs=pairs.pairs + count,
        labelled=pairs.labelled + count,
        disagreements=pairs.disagreements + int(random.binomial(count, traffic.disagreement)),
    )
