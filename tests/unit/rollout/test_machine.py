# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from tests.support.rollout_world import NEW, POLICY, World
from tidegate_rollout.machine import (
    PROMOTED_BY_COMMAND,
    Abort,
    Advance,
    Apply,
    Hold,
    Measure,
    Observation,
    Promote,
    Wait,
    decide,
    resume,
    transition,
)
from tidegate_rollout.measurement import READY_SECONDS
from tidegate_rollout.preflight import first_state
from tidegate_rollout.state import Cause, Course, Result, RolloutState
from tidegate_rollout.verdict import Verdict

NOW = 1_000.0
SERVED = Observation(applied=True)


def verdict(outcome, *reasons):
    return replace(SERVED, verdict=Verdict(outcome, (), reasons))


def state(step, *, ready=True, policy=POLICY, course=Course.ROLLOUT, rounds=1):
    digest = NEW if course is not Course.REHEARSAL else World().rollout_values.digest
    initial = first_state(
        World().values, digest, policy, course=course, replicas=2, edges=(), now=NOW, rounds=rounds
    )
    return initial.model_copy(update={"step": step, "ready_at": NOW if ready else None})


ABORTED = transition(state("weight-5"), Abort(Cause.VERDICT, "errors"), NOW)
LATER = NOW + POLICY.settle_seconds
PENDING = replace(SERVED, pending=("stable: 1 of 2 pods are available",))
LATE = "the release does not serve the step after 900 s: stable: 1 of 2 pods are available"


@pytest.mark.parametrize(
    ("current", "seen", "now", "action"),
    [
        # A step begins.
        (state("start", ready=False), Observation(applied=False), NOW, Apply()),
        (state("start", ready=False), PENDING, NOW, Wait(PENDING.pending[0])),
        (state("start", ready=False), SERVED, NOW, Measure()),
        (state("start", ready=False), PENDING, NOW + READY_SECONDS + 1, Hold(Cause.RELEASE, LATE)),
        (state("start", ready=False), replace(PENDING, error="wrong"), NOW, Abort(Cause.RELEASE, "wrong")),
        (
            state("weight-50", ready=False),
            Observation(applied=False, shortage="no room"),
            NOW,
            Hold(Cause.RELEASE, "no room"),
        ),
        # A step without a verdict ends when it is served, or when its traffic has settled.
        (state("start"), SERVED, NOW, Advance("done", "")),
        (state("weight-100"), SERVED, NOW, Wait("the traffic settles")),
        (state("weight-100"), SERVED, LATER, Advance("done", "")),
        # A step with a verdict.
        (state("weight-5"), verdict("pass"), NOW, Wait("the traffic settles")),
        (state("weight-5"), SERVED, LATER, Wait("no evidence yet")),
        (state("weight-5"), verdict("continue", "too few"), LATER, Wait("too few")),
        (state("weight-5"), verdict("pass"), LATER, Advance("pass", "")),
        (state("weight-5"), verdict("fail", "errors"), LATER, Abort(Cause.VERDICT, "errors")),
        (
            state("weight-5"),
            verdict("insufficient", "too few"),
            LATER,
            Hold(Cause.VERDICT, "too little evidence after 60 s: too few"),
        ),
        (
            state("weight-5", policy=POLICY.model_copy(update={"on_insufficient": "abort"})),
            verdict("insufficient", "too few"),
            LATER,
            Abort(Cause.VERDICT, "too little evidence after 60 s: too few"),
        ),
        # The canary is lost: users wait only where it has a weight.
        (
            state("weight-5"),
            replace(SERVED, canary_available=False),
            NOW,
            Abort(Cause.RELEASE, "no pod of the canary is available"),
        ),
        (state("mirror-10"), replace(SERVED, canary_available=False), LATER, Wait("no evidence yet")),
        # Another upgrade.
        (
            state("weight-5"),
            Observation(applied=False),
            NOW,
            Hold(Cause.RELEASE, "another upgrade has changed the release's values, or is pending"),
        ),
        # Commands.
        (
            state("weight-5"),
            replace(verdict("pass"), request="abort"),
            LATER,
            Abort(Cause.COMMAND, "the command 'tidegate rollout abort'"),
        ),
        (state("weight-5", ready=False), replace(SERVED, request="promote"), NOW, Promote()),
        # From the step promote on, the stable track may have the new digest.
        (state("promote"), replace(SERVED, request="abort"), NOW, Advance("done", "")),
        (
            state("promote", ready=False),
            replace(PENDING, error="wrong"),
            NOW,
            Hold(Cause.RELEASE, "wrong"),
        ),
        (
            state("promote", ready=False),
            Observation(applied=False, shortage="no room"),
            NOW,
            Apply(),
        ),
        (state("return"), replace(SERVED, canary_available=False), LATER, Advance("done", "")),
        # An abort waits for nothing but the traffic.
        (ABORTED, Observation(applied=False, shortage="no room"), NOW, Apply()),
        (ABORTED, replace(PENDING, error="wrong"), NOW, Measure()),
        (transition(ABORTED, Measure(), NOW), SERVED, NOW, Wait("the traffic settles")),
        (transition(ABORTED, Measure(), NOW), SERVED, LATER, Advance("done", "")),
        (ABORTED, replace(SERVED, request="promote"), NOW, Measure()),
        # A rehearsal follows no verdict.
        (
            state("weight-5", course=Course.REHEARSAL),
            verdict("fail", "errors"),
            LATER,
            Advance("fail", "errors"),
        ),
        (
            state("weight-5", course=Course.REHEARSAL),
            verdict("insufficient", "too few"),
            LATER,
            Advance("insufficient", "too few"),
        ),
        (
            state("weight-5", course=Course.REHEARSAL),
            replace(SERVED, request="promote"),
            NOW,
            Wait("the traffic settles"),
        ),
    ],
)
def test_decide(current, seen, now, action):
    assert decide(current, seen, now) == action


def test_no_observation_but_a_passed_verdict_or_promote_raises_the_weight():
    current = state("weight-5")
    outcomes = [None, "continue", "insufficient", "fail"]
    for outcome in outcomes:
        seen = SERVED if outcome is None else verdict(outcome, "reason")
        after = transition(current, decide(current, seen, LATER), LATER)
        assert after.current.values.weight <= 5, outcome


def test_advance_follows_the_plan_to_its_end():
    current, visited = state("start"), []
    while current.result is None:
        visited.append(current.step)
        current = transition(current, Advance("pass" if current.current.measured else "done", ""), NOW)
    assert visited == [step.name for step in current.steps]
    assert current.result is Result.PROMOTED
    assert [record.step for record in current.records] == visited
    # The evidence stays that of the last verdict.
    assert current.evidence.step == len(POLICY.steps) - 1


def test_abort_ends_as_aborted_with_its_cause():
    current = transition(transition(ABORTED, Advance("done", ""), NOW), Advance("done", ""), NOW)
    assert (current.result, current.cause, current.reason) == (Result.ABORTED, Cause.VERDICT, "errors")
    assert [record.outcome for record in current.records] == ["fail", "done", "done"]


def test_promote_skips_to_the_first_step_after_the_verdicts():
    current = transition(state("mirror-10"), Promote(), NOW)
    assert current.step == "weight-100"
    assert (current.cause, current.reason) == (Cause.COMMAND, PROMOTED_BY_COMMAND)


def test_resume_begins_the_held_step_again():
    current = state("weight-5")
    evidence = replace(current.evidence, seconds=60.0)
    held = transition(current.model_copy(update={"evidence": evidence}), Hold(Cause.VERDICT, "few"), NOW)
    resumed = resume(held, LATER)
    assert (resumed.result, resumed.ready_at, resumed.step_started_at) == (None, None, LATER)
    assert resumed.evidence.seconds == 0
    assert resume(current, LATER) is current


def test_rehearsal_begins_each_round_without_evidence():
    current = state("weight-5", course=Course.REHEARSAL, rounds=3)
    current = current.model_copy(update={"evidence": replace(current.evidence, elapsed=30.0)})
    second = transition(current, Advance("fail", "errors"), NOW)
    assert (second.step, second.rounds, second.evidence.elapsed) == ("mirror-10", 2, 0)
    third = transition(second.model_copy(update={"step": "weight-50"}), Advance("pass", ""), NOW)
    assert (third.step, third.rounds) == ("mirror-10", 1)
    last = transition(third, Advance("insufficient", "few"), NOW)
    assert last.step == "return"
    assert last.rehearsed_rounds == 3


def test_state_survives_its_annotation():
    assert RolloutState.parse(ABORTED.model_dump_json()) == ABORTED
