# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The controller of a rollout: observes, decides, acts and saves, until the rollout ends or is held.

Each iteration saves the state after its effect. A process that is killed in between repeats the
effect, which then changes nothing: an upgrade is left out if the release already has the step's values. All
decisions are in :mod:`tidegate_rollout.machine`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from tidegate.errors import ServerError
from tidegate_rollout.lease import LeaseLostError
from tidegate_rollout.machine import Action, Advance, Apply, Observation, Request, Wait, decide, transition
from tidegate_rollout.measurement import POLL_SECONDS, Measurement
from tidegate_rollout.plan import START, RolloutValues
from tidegate_rollout.release import Release
from tidegate_rollout.replay import Replay
from tidegate_rollout.room import ReplicaCapacity, find_shortage, read_scale, required_replicas
from tidegate_rollout.scrape import Get
from tidegate_rollout.state import RolloutState
from tidegate_rollout.status import assess
from tidegate_rollout.verdict import Verdict

UNREACHABLE_SECONDS = 300.0
"""How long the cluster may be unreachable before the command ends. The rollout can be continued."""


class ReleaseWriter(Protocol):
    """Helm, for one release."""

    def verify_version(self) -> None:
        """Check that the installed Helm can keep the other values of a release."""

    def verify_chart(self) -> None:
        """Check that the chart is the one that the release has."""

    def deployed_values(self) -> Mapping[str, Any] | None:
        """Return the values with defaults; None while an upgrade is pending or has failed."""

    def upgrade(self, values: Mapping[str, Any], description: str) -> None:
        """Upgrade the release with these values and otherwise its own."""


class StateStore(Protocol):
    """The lease, which this process holds."""

    def save(self, state: str, *, handled: str | None = None) -> None:
        """Write the state."""

    def renew(self) -> str | None:
        """Renew the lease if it is due, and return a request of another process."""


class Reporter(Protocol):
    """The progress of a rollout: the console, Events, metrics."""

    def notice(self, text: str) -> None:
        """Report a sentence that belongs to no step."""

    def waiting(self, state: RolloutState, reason: str) -> None:
        """Report what the rollout waits for."""

    def acted(self, before: RolloutState, action: Action, after: RolloutState) -> None:
        """Report an action that was taken.

        Args:
            before: The state that led to it.
            action: The action.
            after: The state after it.
        """

    def measured(self, state: RolloutState, verdict: Verdict) -> None:
        """Report a verdict after new evidence."""


@dataclass(frozen=True, slots=True)
class Effects:
    """The world outside: the release, its pods, the lease, the time and the progress."""

    helm: ReleaseWriter
    read_release: Callable[[], Release]
    get: Get
    store: StateStore
    report: Reporter
    clock: Callable[[], float]
    """Seconds since 1970."""
    sleep: Callable[[float], None]


class Controller:
    """The loop of one rollout.

    Args:
        effects: The world outside.
        capacity: The capacity of a replica, if measured.
        replay: Requests to send to both tracks, because no Gateway mirrors any.
    """

    def __init__(
        self, effects: Effects, capacity: ReplicaCapacity | None = None, replay: Replay | None = None
    ) -> None:
        self._effects = effects
        self._capacity = capacity
        notice = effects.report.notice
        self._measurement = Measurement(effects.get, effects.clock, notice, capacity, replay)
        self._applied: tuple[str, float] | None = None
        """The step, with its start, whose values the release is known to have."""

    def run(self, state: RolloutState, request: Request | None = None) -> RolloutState:
        """Continue a rollout until it ends or is held, and return its last state.

        Args:
            state: The state to continue from.
            request: An action that the command itself requests.

        Raises:
            ServerError: If the cluster is unreachable for too long, or another process has taken the lease.
            ConfigurationError: If Helm or the cluster rejects a step.
        """
        effects = self._effects
        reachable_at = effects.clock()
        while state.result is None:
            try:
                state, wait_seconds = self._iterate(state, request)
                reachable_at, request = effects.clock(), None
                self._pause(wait_seconds)
            except LeaseLostError:
                raise
            except ServerError as error:
                if effects.clock() - reachable_at > UNREACHABLE_SECONDS:
                    raise
                effects.report.waiting(state, str(error).rstrip("."))
                effects.sleep(POLL_SECONDS)
        return state

    def _iterate(self, state: RolloutState, request: Request | None) -> tuple[RolloutState, float]:
        """Observe, decide, act and save; return the new state and the seconds to the next iteration."""
        effects = self._effects
        requested = effects.store.renew()
        release = effects.read_release()
        before, verdict, measuring = state, None, self._is_measuring(state)
        # Helm runs for each block, and otherwise until the release has the step's values.
        if measuring or self._applied != (state.step, state.step_started_at):
            values = effects.helm.deployed_values()
            applied = values is not None and RolloutValues.parse(values) == state.current.values
            self._applied = (state.step, state.step_started_at) if applied else None
            if applied and measuring:
                state, verdict = self._measurement.measure(state, release)
        seen = self._observe(state, release, verdict, request or parse_request(requested))
        action = decide(state, seen, effects.clock())
        if isinstance(action, Apply):
            step = state.current
            effects.helm.upgrade(step.values.chart_values(), f"rollout to {state.digest[:12]}: {step.name}")
        learns = not state.by_replicas and (state.current.measured or state.step == START)
        if isinstance(action, Advance) and learns:
            replicas = required_replicas(
                state.replicas,
                read_scale(release, "stable"),
                rate=self._measurement.rate,
                capacity=self._capacity,
            )
            state = state.model_copy(update={"replicas": replicas})
        after = transition(state, action, effects.clock())
        if after != before or requested is not None:
            effects.store.save(after.model_dump_json(), handled=requested)
        if verdict is not None:
            effects.report.measured(state, verdict)
        effects.report.acted(state, action, after)
        return after, self._wait_seconds(after, action)

    def _observe(
        self, state: RolloutState, release: Release, verdict: Verdict | None, request: Request | None
    ) -> Observation:
        stable, canary = read_scale(release, "stable"), read_scale(release, "canary")
        status = assess(release)
        return Observation(
            applied=self._applied is not None,
            shortage=find_shortage(stable, canary, state.replicas, state.current.values),
            pending=status.pending,
            error=status.error,
            canary_available=any(track.replicas for track in status.tracks if track.track == "canary"),
            verdict=verdict,
            request=request,
        )

    def _is_measuring(self, state: RolloutState) -> bool:
        if not state.current.measured or state.ready_at is None:
            return False
        return self._effects.clock() - state.ready_at >= state.policy.settle_seconds

    def _wait_seconds(self, state: RolloutState, action: Action) -> float:
        if not isinstance(action, Wait):
            return 0.0
        if self._is_measuring(state) and state.reading.at is not None:
            return max(0.0, state.reading.at + state.policy.block_seconds - self._effects.clock())
        return POLL_SECONDS

    def _pause(self, seconds: float) -> None:
        """Sleep, and renew the lease meanwhile. A request of another process ends the sleep."""
        end = self._effects.clock() + seconds
        while (rest := end - self._effects.clock()) > 0:
            self._effects.sleep(min(rest, POLL_SECONDS))
            if rest > POLL_SECONDS and self._effects.store.renew() is not None:
                return


def parse_request(text: str | None) -> Request | None:
    """Return the request in a Lease's annotation; None for another text, which a person may have written."""
    return next((request for request in get_args(Request) if request == text), None)
