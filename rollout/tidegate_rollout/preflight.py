# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The start of a rollout: conditions that would stop it later, and its first state, by pure functions."""

from collections.abc import Mapping
from typing import Any

from tidegate.errors import ConfigurationError
from tidegate_rollout.evidence import Evidence
from tidegate_rollout.plan import START, RolloutValues, baseline_of, parse_digest, policy_by_replicas
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.state import Course, RolloutState


def verify_values(
    values: Mapping[str, Any], digest: str, policy: RolloutPolicy, course: Course, *, replays: bool = False
) -> None:
    """Check that the release's values allow every step.

    Args:
        values: The release's values with defaults.
        digest: The new digest, or the release's own for a rehearsal.
        policy: The policy.
        course: A rollout or a rehearsal.
        replays: Whether the rollout sends requests to both tracks itself.

    Raises:
        ConfigurationError: If a step would be rejected, or could never pass.
    """
    served = parse_digest(values["model"]["digest"])
    if course is Course.ROLLOUT and digest == served:
        raise ConfigurationError(
            f"The release already serves {digest[:12]}: give another digest, or run 'tidegate rollout "
            "rehearse' to measure false alarms."
        )
    gateway = values["route"]["enabled"]
    if not gateway and not values["service"]["enabled"]:
        raise ConfigurationError(
            "The release has no route, and only a Gateway sends or mirrors requests by weight: set "
            "route.enabled, route.parentRefs and route.hostnames. In a cluster without a Gateway, set "
            "service.enabled, whose Service divides requests by replicas."
        )
    if not gateway and not replays and policy.predictions is not None:
        raise ConfigurationError(
            "The policy compares predictions, and without a Gateway no request reaches both tracks: give the "
            "stable track's bundle with --bundle, whose rows both tracks then receive, or set 'predictions: "
            "null' in the policy."
        )
    if policy.predictions is not None and not values["server"]["pairsSampleRate"]:
        raise ConfigurationError(
            "The policy compares predictions, and server.pairsSampleRate is 0: set it, for example to 1, or "
            "set 'predictions: null' in the policy."
        )
    measured = values["capacity"]["digest"].removeprefix("sha256:")
    if (
        course is Course.ROLLOUT
        and measured not in ("", digest)
        and not values["capacity"]["allowOtherDigest"]
    ):
        raise ConfigurationError(
            f"capacity.digest is {measured[:12]}, so the chart would reject the promotion to {digest[:12]}: "
            "set the values of the new bundle's capacity file, or capacity.allowOtherDigest."
        )


def first_state(
    values: Mapping[str, Any],
    digest: str,
    policy: RolloutPolicy,
    *,
    course: Course,
    replicas: int,
    edges: tuple[float, ...],
    now: float,
    rounds: int = 1,
) -> RolloutState:
    """Return the state at the start.

    Args:
        values: The release's values with defaults.
        digest: The new digest, or the release's own for a rehearsal.
        policy: The policy.
        course: A rollout or a rehearsal.
        replicas: The stable track's replicas.
        edges: The durations whose tails are compared.
        now: Seconds since 1970.
        rounds: The rounds of a rehearsal.

    Raises:
        ConfigurationError: If the release has a canary of another digest.
    """
    by_replicas = not values["route"]["enabled"]
    return RolloutState(
        digest=digest,
        policy=policy_by_replicas(policy, replicas) if by_replicas else policy,
        baseline=baseline_of(RolloutValues.parse(values), digest),
        replicas=replicas,
        evidence=Evidence.start(policy, edges),
        step=START,
        step_started_at=now,
        course=course,
        rounds=rounds,
        by_replicas=by_replicas,
    )


def verify_continuation(
    state: RolloutState, digest: str, policy: RolloutPolicy | None, course: Course
) -> None:
    """Check that a command continues the rollout in progress.

    Args:
        state: The rollout in progress.
        digest: The digest of the command.
        policy: The policy of the command; None without a file.
        course: A rollout or a rehearsal.

    Raises:
        ConfigurationError: If the rollout in progress is another one.
    """
    if state.course is not Course.ABORT and (state.course, state.digest) != (course, digest):
        raise ConfigurationError(
            f"A {state.course} of {state.digest[:12]} is at the step {state.step}: continue it with its "
            "digest, or run 'tidegate rollout abort' first."
        )
    if policy is not None and state.by_replicas:
        policy = policy_by_replicas(policy, state.replicas)
    if policy is not None and policy != state.policy:
        raise ConfigurationError(
            f"The {state.course} in progress has another policy: run 'tidegate rollout abort' first, or "
            "continue without --policy."
        )
