# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The control of one release's rollout: start or continue it, or have it aborted or promoted.

A command takes the lease and continues the rollout to its end. If another process holds the lease, ``abort``
and ``promote`` leave a request in it, which that process follows, and take over if it does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.errors import ConfigurationError, ServerError
from tidegate_rollout.controller import Controller, Effects
from tidegate_rollout.lease import LeaseHeldError, LeaseLostError, LeaseRecord, RolloutLease
from tidegate_rollout.machine import Request, resume
from tidegate_rollout.measurement import await_ready, read_edges
from tidegate_rollout.plan import parse_digest
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.preflight import first_state, verify_continuation, verify_values
from tidegate_rollout.replay import Post, Replay
from tidegate_rollout.room import ReplicaCapacity, read_scale
from tidegate_rollout.state import Course, Result, RolloutState

FOLLOW_SECONDS = 2.0


@dataclass(frozen=True)
class Session:
    """One release, and the way to everything that a rollout needs."""

    release: str
    namespace: str
    effects: Effects
    lease: RolloutLease
    post: Post
    """Sends a request to a pod."""

    def last_state(self) -> RolloutState | None:
        """Return the state of the last rollout; None without one."""
        return _state_of(self.lease.read())

    def deployed_values(self) -> Mapping[str, Any]:
        """Return the release's values with defaults.

        Raises:
            ConfigurationError: If the last upgrade is pending or has failed.
            ServerError: If the cluster is unreachable or fails.
        """
        values = self.effects.helm.deployed_values()
        if values is None:
            raise ConfigurationError(
                f"The last upgrade of {self.release} is pending or has failed: run 'helm history "
                f"{self.release}', and upgrade the release before the rollout."
            )
        return values

    def start(
        self,
        digest: str | None,
        policy: RolloutPolicy | None,
        *,
        rounds: int = 1,
        capacity: ReplicaCapacity | None = None,
        replay: Replay | None = None,
    ) -> RolloutState:
        """Start a rollout or continue it, and return its last state.

        Args:
            digest: The new digest; None to rehearse with the release's own.
            policy: The policy; None for the defaults, or for that of the rollout in progress.
            rounds: The rounds of a rehearsal.
            capacity: The capacity of a replica, if measured.
            replay: Requests to send to both tracks, because no Gateway mirrors any.

        Raises:
            ConfigurationError: If the release, the policy or another rollout does not allow it.
            ServerError: If another process holds the lease, or the cluster is unreachable for too long.
        """
        state = _state_of(self.lease.acquire())
        try:
            if state is None or state.has_ended:
                if state is not None and self._is_promoted(state, digest):
                    return state
                state = self._first_state(
                    digest, policy or RolloutPolicy(), rounds, replays=replay is not None
                )
                self.lease.save(state.model_dump_json())
            else:
                course = Course.REHEARSAL if digest is None else Course.ROLLOUT
                verify_continuation(state, digest or state.baseline.digest, policy, course)
            return self._run(state, None, Controller(self.effects, capacity, replay))
        finally:
            self._release_lease()

    def request(self, request: Request) -> RolloutState:
        """Abort or promote the rollout, and return its last state.

        Args:
            request: The action.

        Raises:
            ConfigurationError: If there is no rollout in progress, or the action is not possible any more.
            ServerError: If the cluster is unreachable for too long.
        """
        self._verify_request(request)
        requested = False
        while True:
            try:
                state = _state_of(self.lease.acquire())
            except LeaseHeldError:
                if not requested:
                    requested = self._leave(request)
                self.effects.sleep(FOLLOW_SECONDS)
                continue
            try:
                assert state is not None, "the lease had a state before"
                if state.has_ended:
                    return state
                return self._run(state, request, Controller(self.effects))
            finally:
                self._release_lease()

    def _is_promoted(self, state: RolloutState, digest: str | None) -> bool:
        """Return whether the last rollout has promoted the digest, so that a start has no steps."""
        if (state.result, state.digest) != (Result.PROMOTED, digest):
            return False
        values = self.effects.helm.deployed_values()
        return values is not None and parse_digest(values["model"]["digest"]) == digest

    def _first_state(
        self, digest: str | None, policy: RolloutPolicy, rounds: int, *, replays: bool
    ) -> RolloutState:
        effects = self.effects
        effects.helm.verify_version()
        effects.helm.verify_chart()
        values = self.deployed_values()
        release = await_ready(
            effects.read_release, clock=effects.clock, sleep=self._sleep, notice=effects.report.notice
        )
        course = Course.REHEARSAL if digest is None else Course.ROLLOUT
        digest = parse_digest(digest or values["model"]["digest"])
        verify_values(values, digest, policy, course, replays=replays)
        return first_state(
            values,
            digest,
            policy,
            course=course,
            replicas=read_scale(release, "stable").replicas,
            edges=read_edges(release, effects.get, policy),
            now=effects.clock(),
            rounds=rounds,
        )

    def _run(self, state: RolloutState, request: Request | None, controller: Controller) -> RolloutState:
        return controller.run(resume(state, self.effects.clock()), request)

    def _verify_request(self, request: Request) -> None:
        state = self.last_state()
        if state is None or state.has_ended:
            raise ConfigurationError(f"{self.release} has no rollout in progress to {request}.")
        if request == "promote" and state.course is not Course.ROLLOUT:
            raise ConfigurationError(
                f"The {state.course} of {self.release} cannot be promoted: wait for its end."
            )
        if request == "abort" and not state.is_revocable and state.course is not Course.ABORT:
            raise ConfigurationError(
                f"{self.release} is at the step {state.step}, where the stable track has the new digest: run "
                f"'tidegate rollout start {self.release} {state.digest}' to finish, and then start a rollout "
                f"of {state.baseline.digest}."
            )

    def _sleep(self, seconds: float) -> None:
        self.effects.sleep(seconds)
        self.lease.keep()

    def _leave(self, request: Request) -> bool:
        """Leave the request in the lease, and return whether it is there."""
        try:
            self.lease.request(request)
        except LeaseLostError:
            return False
        self.effects.report.notice(f"{request}: requested from the process that controls the rollout")
        return True

    def _release_lease(self) -> None:
        try:
            self.lease.release()
        except ServerError as error:
            # The lease ends by itself, and the rollout's own result or error counts.
            self.effects.report.notice(f"the lease stays until it expires: {error}")


def _state_of(record: LeaseRecord | None) -> RolloutState | None:
    return None if record is None or record.state is None else RolloutState.parse(record.state)
