# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict about a release's present canary, for pipelines that change the release themselves.

It changes nothing and keeps no state, so it needs neither Helm nor a Lease.
"""

from collections.abc import Callable

from tidegate.errors import ConfigurationError
from tidegate.kubernetes.pods import Object
from tidegate_rollout.evidence import Evidence
from tidegate_rollout.measurement import Measurement, await_ready, read_edges
from tidegate_rollout.plan import FULL_WEIGHT, RolloutValues
from tidegate_rollout.policy import RolloutPolicy, Step
from tidegate_rollout.release import Release
from tidegate_rollout.room import read_scale
from tidegate_rollout.scrape import Get
from tidegate_rollout.state import RolloutState
from tidegate_rollout.status import assess
from tidegate_rollout.verdict import Verdict


def judge_present_step(
    read_release: Callable[[], Release],
    get: Get,
    policy: RolloutPolicy,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    notice: Callable[[str], None],
) -> tuple[RolloutState, Verdict]:
    """Measure the present traffic until the verdict, and return it with the state behind it.

    Args:
        read_release: Reads the release.
        get: Reads a path of a pod.
        policy: The policy; the release's traffic replaces its steps.
        clock: Seconds since 1970.
        sleep: Waits for a number of seconds.
        notice: Reports a wait, or a pod that does not respond.

    Raises:
        ConfigurationError: If the canary receives no requests, or the cluster denies access.
        ServerError: If the release does not become ready, or the cluster fails.
    """
    release = await_ready(read_release, clock=clock, sleep=sleep, notice=notice)
    step = present_step(release)
    # Only a mirrored request is served by both tracks.
    predictions = None if step.mirror is None else policy.predictions
    policy = policy.model_copy(update={"steps": (step,), "predictions": predictions})
    state = _state(release, policy, read_edges(release, get, policy), clock())
    sleep(policy.settle_seconds)
    measurement = Measurement(get, clock, notice)
    while True:
        state, verdict = measurement.measure(state, read_release())
        if verdict is not None and verdict.outcome != "continue":
            return state, verdict
        if verdict is not None:
            notice(f"{step}: {verdict.outcome}: {verdict.reasons[0]}")
        sleep(policy.block_seconds)


def present_step(release: Release) -> Step:
    """Return the canary's present traffic as a step of a policy.

    Raises:
        ConfigurationError: If the canary receives no requests, or all of them.
    """
    stable, canary = read_scale(release, "stable"), read_scale(release, "canary")
    weight = next((track.weight for track in assess(release).tracks if track.track == "canary"), 0)
    if weight is None:  # no Gateway: one Service divides the requests by replicas
        weight = round(FULL_WEIGHT * canary.replicas / max(1, canary.replicas + stable.replicas))
    if percent := _mirror_percent(release.route):
        return Step(mirror=percent)
    if not 0 < weight < FULL_WEIGHT:
        raise ConfigurationError(
            f"The canary of {release.name} receives {weight} % of the requests, so there is nothing to "
            "compare: set canary.digest, and then canary.mirrorPercent or canary.weight."
        )
    return Step(weight=weight)


def _mirror_percent(route: Object | None) -> int:
    filters = [] if route is None else route["spec"]["rules"][0].get("filters") or []
    return sum(int(item["requestMirror"]["percent"]) for item in filters if item["type"] == "RequestMirror")


def _state(release: Release, policy: RolloutPolicy, edges: tuple[float, ...], now: float) -> RolloutState:
    digests = {track.track: track.digest for track in assess(release).tracks}
    replicas = read_scale(release, "stable").replicas
    baseline = RolloutValues(
        digest=digests["stable"],
        previous=(),
        canary_digest="",
        weight=0,
        mirror_percent=0,
        split_by_replicas=False,
        canary_min_replicas=replicas,
        min_replicas=replicas,
    )
    state = RolloutState(
        digest=digests["canary"],
        policy=policy,
        baseline=baseline,
        replicas=replicas,
        evidence=Evidence.start(policy, edges),
        step="",
        step_started_at=now,
        ready_at=now,
    )
    measured = next(step.name for step in state.steps if step.measured)
    return state.model_copy(update={"step": measured})
