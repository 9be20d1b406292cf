# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from typing import Any

import pytest

from tests.support.rollouts import Traffic, study, summarize
from tidegate_rollout.evidence import Block, Evidence, TrackCounts
from tidegate_rollout.pairs import PairCounts
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.verdict import Check, Verdict, assess

NO_PAIRS = RolloutPolicy(predictions=None)
EDGES = (0.05, 0.1, 0.25)


def track(requests: int, bad: int = 0, slow: int = 0, **counts: int) -> TrackCounts:
    return TrackCounts(requests, bad, timed=requests, slow=(slow, slow, 0), **counts)


def after(blocks: list[Block], policy: RolloutPolicy = NO_PAIRS, pairs: PairCounts | None = None) -> Evidence:
    evidence = Evidence.start(policy, EDGES)
    for block in blocks:
        evidence = evidence.add(block, policy)
    return evidence if pairs is None else replace(evidence, pairs=pairs)


def check_of(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


GOOD = [Block(track(200, 1, 4), track(1800, 9, 36), 15)] * 20


def test_equal_canary_passes_with_every_check() -> None:
    verdict = assess(NO_PAIRS, after(GOOD))
    assert (verdict.outcome, verdict.reasons) == ("pass", ())
    assert {check.outcome for check in verdict.checks} == {"pass"}
    assert [check.name for check in verdict.checks] == [
        "errors",
        "slow_50ms",
        "slow_100ms",
        "slow_250ms",
        "client_errors",
        "overload",
    ]


def test_service_without_errors_passes_within_the_budget() -> None:
    verdict = assess(NO_PAIRS, after([Block(track(200), track(1800), 15)] * 5))
    assert verdict.outcome == "pass"
    assert check_of(verdict, "errors").figure is None


def test_worse_canary_fails_and_the_reason_has_the_counts() -> None:
    verdict = assess(NO_PAIRS, after([Block(track(200, 12), track(1800, 9), 15)] * 3))
    assert verdict.outcome == "fail"
    errors = check_of(verdict, "errors")
    assert errors.figure == pytest.approx(12.7, rel=0.1)
    assert errors.interval[0] > 1
    assert verdict.reasons[0].startswith("server errors: expected an odds ratio of at most 1, received 12")
    assert verdict.reasons[0].endswith(
        "in this step 36 of 600 requests on the canary, 27 of 5,400 on the stable track"
    )


def test_slow_tail_fails_at_the_edge_that_shows_it() -> None:
    verdict = assess(NO_PAIRS, after([Block(track(400, slow=24), track(3600, slow=72), 15)] * 6))
    assert [check.name for check in verdict.checks if check.outcome == "fail"] == ["slow_50ms", "slow_100ms"]


def test_evidence_against_the_canary_outlives_its_step() -> None:
    bad = after([Block(track(200, 12), track(1800, 9), 15)] * 3).next_step(NO_PAIRS)
    assert assess(NO_PAIRS, bad).outcome == "fail"


def test_each_step_has_to_prove_the_pass_anew() -> None:
    verdict = assess(NO_PAIRS, after(GOOD).next_step(NO_PAIRS))
    assert verdict.outcome == "continue"
    assert {check.outcome for check in verdict.checks if check.name.startswith(("errors", "slow"))} == {
        "continue"
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"min_seconds": 301}, "expected at least 301 s, received 300 s"),
        ({"min_requests": 5000}, "expected at least 5,000 requests of the canary, received 4,000"),
    ],
)
def test_minimums_delay_a_pass(fields: dict[str, Any], reason: str) -> None:
    policy = NO_PAIRS.model_copy(update=fields)
    verdict = assess(policy, after(GOOD, policy))
    assert (verdict.outcome, verdict.reasons) == ("continue", (reason,))


def test_no_traffic_is_insufficient_at_the_end_of_the_time() -> None:
    empty = [Block(TrackCounts(), TrackCounts(), NO_PAIRS.max_seconds / 2)]
    assert assess(NO_PAIRS, after(empty)).outcome == "continue"
    verdict = assess(NO_PAIRS, after(empty * 2))
    assert verdict.outcome == "insufficient"
    assert "requests of the canary, received 0" in verdict.reasons[0]


def test_client_errors_on_both_tracks_decide_nothing() -> None:
    canary, stable = GOOD[0].canary, GOOD[0].stable
    rubbish = [Block(replace(canary, client_errors=300), replace(stable, client_errors=2700), 15)] * len(GOOD)
    assert assess(NO_PAIRS, after(rubbish)).outcome == "pass"


@pytest.mark.parametrize(
    ("kind", "label"), [("client_errors", "client errors"), ("overloaded", "rejections by load")]
)
def test_client_errors_or_load_of_the_canary_hold_it(kind: str, label: str) -> None:
    blocks = [replace(block, canary=replace(block.canary, **{kind: 100})) for block in GOOD]
    verdict = assess(NO_PAIRS, after(blocks))
    assert verdict.outcome == "continue"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(f"{label}: expected an odds ratio of at most 1, received")


def test_load_of_the_canary_fails_where_stable_has_room() -> None:
    blocks = [
        replace(block, canary=replace(block.canary, overloaded=100), stable_has_room=True) for block in GOOD
    ]
    assert assess(NO_PAIRS, after(blocks)).outcome == "fail"


POLICY = RolloutPolicy()


def pairs_of(total: int, disagreements: int = 0, shifted: int = 0) -> PairCounts:
    crossings = (0,) * 9 + (shifted,) + (0,) * 9
    return PairCounts(total, labelled=total, disagreements=disagreements, scored=total, fallen=crossings)


@pytest.mark.parametrize(
    ("pairs", "outcome", "failed"),
    [
        (pairs_of(1000), "pass", []),
        (pairs_of(1000, disagreements=20), "pass", []),
        (pairs_of(60), "continue", []),
        (pairs_of(30, disagreements=15), "fail", ["disagreement"]),
        (pairs_of(1000, shifted=250), "fail", ["score_shift"]),
        (PairCounts(600, valued=600, differing=3), "pass", []),
        (PairCounts(600, valued=600, differing=120), "fail", ["differing"]),
        (PairCounts(), "continue", []),
    ],
)
def test_pairs_decide_by_their_limits(pairs: PairCounts, outcome: str, failed: list[str]) -> None:
    verdict = assess(POLICY, after(GOOD, POLICY, pairs))
    assert verdict.outcome == outcome
    assert [check.name for check in verdict.checks if check.outcome == "fail"] == failed


@pytest.mark.parametrize(
    ("pairs", "outcome"),
    [(pairs_of(100, disagreements=50), "pass"), (pairs_of(5000), "continue"), (PairCounts(), "continue")],
)
def test_expected_change_must_be_seen(pairs: PairCounts, outcome: str) -> None:
    policy = RolloutPolicy(expect="changed")
    verdict = assess(policy, after(GOOD, policy, pairs))
    assert verdict.outcome == outcome
    assert check_of(verdict, "change").outcome == outcome


def test_interval_of_the_score_shift_contains_the_figure() -> None:
    check = check_of(assess(POLICY, after(GOOD, POLICY, pairs_of(1000, shifted=40))), "score_shift")
    assert check.figure == 0.04
    assert check.interval[0] < 0.04 < check.interval[1]
    assert check.interval[1] - check.interval[0] < 0.1


def simulate(traffic: Traffic, alpha: float) -> dict[str, Any]:
    policy = RolloutPolicy(
        predictions=None, alpha=alpha, block_seconds=60, max_seconds=1200, steps=NO_PAIRS.steps[1:3]
    )
    return summarize(study(policy, traffic, runs=50, seed=7))


def test_simulated_equal_canary_rarely_fails_at_large_alpha() -> None:
    # A test that is read after every block without a correction would fail most of these rollouts.
    summary = simulate(Traffic(requests=6000), alpha=0.2)
    assert summary["fail"] <= 10
    assert summary["pass"] >= 40


def test_simulated_doubled_errors_fail() -> None:
    summary = simulate(Traffic(requests=6000, error_odds=2, error_ratio=0.02), alpha=0.01)
    assert summary["fail"] >= 47
    assert summary["pass"] <= 2
