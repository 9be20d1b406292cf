# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The decisions of a rollout: pure functions from state, observation and time to the next state.

- A step begins if the autoscalers have room for it, is applied, and is served before anything is measured.
- A failed verdict, or a canary without a ready pod, returns the traffic. Too little evidence waits, and then
  holds or aborts as the policy says. Nothing but a passed verdict or the command ``promote`` leads to the
  next weight.
- From the step ``promote`` on, both tracks have the new digest, so there is no abort: an error there holds.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tidegate_rollout.evidence import Evidence
from tidegate_rollout.measurement import READY_SECONDS
from tidegate_rollout.plan import RETURN
from tidegate_rollout.state import Cause, Course, Reading, Result, RolloutState, StepRecord
from tidegate_rollout.verdict import Verdict

PROMOTED_BY_COMMAND = "the command 'tidegate rollout promote'"

Request = Literal["abort", "promote"]

_RESULTS = {
    Course.ROLLOUT: Result.PROMOTED,
    Course.ABORT: Result.ABORTED,
    Course.REHEARSAL: Result.REHEARSED,
}


@dataclass(frozen=True, slots=True)
class Observation:
    """The inputs of a decision in addition to the state."""

    applied: bool
    """Whether the release has the step's values."""
    shortage: str | None = None
    """Why the autoscalers have no room for the step."""
    pending: tuple[str, ...] = ()
    error: str | None = None
    """Why pods will never start."""
    canary_available: bool = True
    """Whether the canary has an available pod."""
    verdict: Verdict | None = None
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Upgrade the release to the values of the current step."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Observe again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Measure:
    """The release serves the step: begin to measure, or to let the traffic settle."""


@dataclass(frozen=True, slots=True)
class Advance:
    """End the step and go to the next, or end the rollout."""

    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the traffic of the step and end the command."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Return the traffic to the stable track."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Skip the remaining verdicts."""


Action = Apply | Wait | Measure | Advance | Hold | Abort | Promote


def decide(state: RolloutState, seen: Observation, now: float) -> Action:
    """Return the next action of a rollout in progress.

    Args:
        state: The rollout.
        seen: The observation.
        now: Seconds since 1970.
    """
    if seen.request == "abort" and state.is_revocable:
        return Abort(Cause.COMMAND, "the command 'tidegate rollout abort'")
    if seen.request == "promote" and state.is_revocable and state.course is Course.ROLLOUT:
        return Promote()
    if state.ready_at is None:
        return _begin(state, seen, now)
    if not seen.applied:
        return Hold(Cause.RELEASE, "another upgrade has changed the release's values, or is pending")
    step = state.current
    if state.is_revocable and step.values.weight > 0 and not seen.canary_available:
        return Abort(Cause.RELEASE, "no pod of the canary is available")
    if step.settles and now - state.ready_at < state.policy.settle_seconds:
        return Wait("the traffic settles")
    if not step.measured:
        return Advance("done", "")
    return Wait("no evidence yet") if seen.verdict is None else _follow(seen.verdict, state)


def _begin(state: RolloutState, seen: Observation, now: float) -> Action:
    """Apply the step, and wait until the release serves it. An abort waits for nothing."""
    if not seen.applied:
        return Hold(Cause.RELEASE, seen.shortage) if seen.shortage and state.is_revocable else Apply()
    if not seen.pending or state.course is Course.ABORT:
        return Measure()
    if seen.error is not None:
        return Abort(Cause.RELEASE, seen.error) if state.is_revocable else Hold(Cause.RELEASE, seen.error)
    reason = "; ".join(seen.pending)
    if now - state.step_started_at > READY_SECONDS:
        return Hold(Cause.RELEASE, f"the release does not serve the step after {READY_SECONDS:g} s: {reason}")
    return Wait(reason)


def _follow(verdict: Verdict, state: RolloutState) -> Action:
    """Follow a verdict. A rehearsal only records it."""
    reason = "; ".join(verdict.reasons)
    if verdict.outcome == "continue":
        return Wait(reason)
    if verdict.outcome == "pass" or state.course is Course.REHEARSAL:
        return Advance(verdict.outcome, reason)
    if verdict.outcome == "fail":
        return Abort(Cause.VERDICT, reason)
    reason = f"too little evidence after {state.policy.max_seconds:g} s: {reason}"
    abort = state.policy.on_insufficient == "abort"
    return Abort(Cause.VERDICT, reason) if abort else Hold(Cause.VERDICT, reason)


def transition(state: RolloutState, action: Action, now: float) -> RolloutState:
    """Return the state after an action.

    Args:
        state: The rollout.
        action: The action, whose effect on the release has happened.
        now: Seconds since 1970.
    """
    match action:
        case Measure():
            return _changed(state, ready_at=now)
        case Hold(cause, reason):
            return _changed(state, result=Result.HELD, cause=cause, reason=reason)
        case Abort(cause, reason):
            outcome = "fail" if cause is Cause.VERDICT else "aborted"
            aborted = _enter(state, RETURN, now, outcome, reason)
            origin = state.current.values
            return _changed(aborted, course=Course.ABORT, abort_from=origin, cause=cause, reason=reason)
        case Promote():
            promoted = _enter(state, state.promotion.name, now, "skipped", PROMOTED_BY_COMMAND)
            return _changed(promoted, cause=Cause.COMMAND, reason=PROMOTED_BY_COMMAND)
        case Advance(outcome, reason):
            return _advance(state, outcome, reason, now)
        case Apply() | Wait():
            return state


def resume(state: RolloutState, now: float) -> RolloutState:
    """Return a held rollout as one in progress: the step begins again, with the evidence so far.

    Args:
        state: The rollout.
        now: Seconds since 1970.
    """
    if state.result is not Result.HELD:
        return state
    return _changed(
        state,
        result=None,
        cause=None,
        reason="",
        step_started_at=now,
        ready_at=None,
        reading=Reading(),
        evidence=replace(state.evidence, seconds=0.0),
    )


def _advance(state: RolloutState, outcome: str, reason: str, now: float) -> RolloutState:
    following, policy = state.following, state.policy
    if following is None:
        ended = _enter(state, state.step, now, outcome, reason)
        return _changed(ended, result=_RESULTS[state.course])
    if not state.current.measured:
        return _enter(state, following.name, now, outcome, reason)
    if state.course is Course.REHEARSAL and (outcome != "pass" or state.is_last_measured):
        return _end_round(state, outcome, reason, now)
    evidence = state.evidence if state.is_last_measured else state.evidence.next_step(policy)
    return _changed(_enter(state, following.name, now, outcome, reason), evidence=evidence)


def _end_round(state: RolloutState, outcome: str, reason: str, now: float) -> RolloutState:
    """End a round of a rehearsal: the next one begins at the first verdict, with no evidence."""
    if state.rounds == 1:
        return _enter(state, RETURN, now, outcome, reason)
    first = next(step for step in state.steps if step.measured)
    evidence = Evidence.start(state.policy, state.evidence.edges)
    return _changed(
        _enter(state, first.name, now, outcome, reason), evidence=evidence, rounds=state.rounds - 1
    )


def _enter(state: RolloutState, step: str, now: float, outcome: str, reason: str) -> RolloutState:
    """End the current step and begin another."""
    record = StepRecord(
        step=state.step, started_at=state.step_started_at, ended_at=now, outcome=outcome, reason=reason
    )
    return _changed(
        state,
        step=step,
        step_started_at=now,
        ready_at=None,
        reading=Reading(),
        records=(*state.records, record),
    )


def _changed(state: RolloutState, **fields: object) -> RolloutState:
    return state.model_copy(update=fields)
