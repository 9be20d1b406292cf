# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The progress of a rollout: lines on standard error, Events about the InferenceService, and metrics."""

from collections.abc import Callable
from typing import Protocol

from tidegate.errors import TidegateError
from tidegate_rollout.machine import Abort, Action, Advance, Apply, Hold, Measure, Promote, Wait
from tidegate_rollout.state import Result, RolloutState
from tidegate_rollout.verdict import Verdict

Print = Callable[[str], None]
Show = Callable[[RolloutState], None]


class Events(Protocol):
    """Events about the InferenceService."""

    def record(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Create an Event.

        Args:
            reason: The kind of event, in CamelCase.
            message: The sentence.
            warning: Whether the event needs attention.
        """


class Progress:
    """Lines and Events of one rollout. An Event that cannot be created becomes a line.

    Args:
        events: Creates the Events.
        write: Prints a line.
        show: Receives each new state, for the metrics.
    """

    def __init__(self, events: Events, write: Print, show: Show = lambda _: None) -> None:
        self._events = events
        self._write = write
        self._show = show
        self._last = ""

    def notice(self, text: str) -> None:
        """Print a sentence that belongs to no step."""
        self._line(text)

    def waiting(self, state: RolloutState, reason: str) -> None:
        """Print the reason of a wait, once until it changes."""
        self._line(f"{state.step}: waiting: {reason}")

    def measured(self, state: RolloutState, verdict: Verdict) -> None:
        """Print the evidence of a step so far."""
        self._show(state)
        passed = sum(check.outcome == "pass" for check in verdict.checks)
        events = next(iter(state.evidence.comparisons.values())).events
        line = (
            f"{state.step}: {verdict.outcome}: {passed} of {len(verdict.checks)} checks pass after "
            f"{state.evidence.seconds:.0f} s, {events.canary:,} requests of the canary and {events.stable:,} "
            "of the stable track"
        )
        self._line(f"{line}; {verdict.reasons[0]}" if verdict.reasons else line)

    def acted(self, before: RolloutState, action: Action, after: RolloutState) -> None:
        """Print an action, and create an Event of one that changes the rollout.

        Args:
            before: The state that led to the action.
            action: The action.
            after: The state after it.
        """
        self._show(after)
        step = before.current
        match action:
            case Apply():
                self._report("RolloutStep", f"{step.name}: {step.purpose}")
            case Measure():
                self._line(f"{step.name}: the release serves the step")
            case Wait(reason):
                if not step.measured or before.ready_at is None:
                    self.waiting(before, reason)
            case Advance(outcome, reason):
                self._advanced(after, f"{step.name}: {outcome}" + (f": {reason}" if reason else ""))
            case Hold(_, reason):
                self._report("RolloutHeld", f"{step.name}: held: {reason}", warning=True)
            case Abort(_, reason):
                self._report("RolloutAborted", f"{step.name}: aborted: {reason}", warning=True)
            case Promote():
                self._report("RolloutPromotedByCommand", f"{step.name}: {after.reason}", warning=True)

    def _advanced(self, after: RolloutState, line: str) -> None:
        if after.result is Result.PROMOTED:
            self._report("RolloutPromoted", f"The stable track serves {after.digest}")
        elif after.result is not None:
            self._report("RolloutEnded", f"The canary is removed: {after.result.value}")
        else:
            self._line(line)

    def _report(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._line(message)
        try:
            self._events.record(reason, message, warning=warning)
        except TidegateError as error:
            # A rollout does not need its Events.
            self._line(f"no Event: {error}")

    def _line(self, text: str) -> None:
        if text != self._last:
            self._last = text
            self._write(text)
