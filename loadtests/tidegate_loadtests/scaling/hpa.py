# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The algorithm of Kubernetes' HorizontalPodAutoscaler (``horizontal.go``, v1.35) as pure functions.

:func:`decide` is one sync of the controller: the spec, an observation and the controller's state in, the
desired replicas and the next state out. The names are the controller's. ``make hpa-oracle`` compares each
decision with that of Kubernetes' own HorizontalController.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tidegate_loadtests.scaling.hpa_spec import Behavior, HpaSpec, ScalingPolicy, ScalingRules
from tidegate_loadtests.scaling.replica_calculator import (
    Metric,
    PodState,
    ReplicaCalculator,
    Tolerances,
)


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """The options of kube-controller-manager that begin with ``--horizontal-pod-autoscaler``, in seconds."""

    sync_period: float = 15.0
    downscale_stabilization: float = 300.0
    tolerance: float = 0.1
    cpu_initialization_period: float = 300.0
    initial_readiness_delay: float = 30.0


DEFAULT_OPTIONS = ControllerOptions()


@dataclass(frozen=True, slots=True)
class Observation:
    """The cluster at one sync.

    Args:
        replicas: ``spec.replicas`` of the scale target.
        status_replicas: ``status.replicas`` of the scale target.
        pods: The pods of its selector.
        metrics: One response of the metrics API per metric of the spec.
    """

    replicas: int
    status_replicas: int
    pods: Sequence[PodState]
    metrics: Sequence[Metric]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The replicas that the metrics proposed at a time, before stabilization."""

    replicas: int
    time: float


@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """The number of replicas that one decision added or removed."""

    change: int
    time: float


@dataclass(frozen=True, slots=True)
class ControllerState:
    """The controller's memory of one autoscaler. It is lost when the controller restarts."""

    recommendations: tuple[Recommendation, ...] = ()
    scale_up_events: tuple[ScaleEvent, ...] = ()
    scale_down_events: tuple[ScaleEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a sync.

    Args:
        replicas: The desired replicas.
        state: The controller's state for the next sync.
        able_to_scale: The reason of the condition AbleToScale.
        scaling_active: The reason of the condition ScalingActive; None if the sync keeps the last one.
        scaling_limited: The reason of the condition ScalingLimited; None if the sync keeps the last one.
    """

    replicas: int
    state: ControllerState
    able_to_scale: str = "SucceededGetScale"
    scaling_active: str | None = None
    scaling_limited: str | None = None


def decide(
    spec: HpaSpec,
    observation: Observation,
    state: ControllerState,
    now: float,
    options: ControllerOptions = DEFAULT_OPTIONS,
) -> Decision:
    """Decide the desired replicas: ``reconcileAutoscaler``.

    Args:
        spec: The autoscaler's spec.
        observation: The cluster at this sync.
        state: The state that the last sync returned.
        now: The time in seconds.
        options: The options of the controller.

    Returns:
        The decision, with the state for the next sync.
    """
    current = observation.replicas
    if not state.recommendations:
        state = replace(state, recommendations=(Recommendation(current, now),))
    if current == 0 and spec.min_replicas != 0:
        return Decision(0, state, scaling_active="ScalingDisabled")
    if current > spec.max_replicas:
        return _rescale(spec, current, Decision(spec.max_replicas, state), now)
    if current < spec.min_replicas:
        return _rescale(spec, current, Decision(spec.min_replicas, state), now)
    proposal, scaling_active = compute_replicas_for_metrics(spec, observation, now, options)
    if proposal is None:
        return Decision(current, state, scaling_active=scaling_active)
    if spec.behavior is None:
        decision = _normalize(spec, current, proposal, state, now, options)
    else:
        decision = _normalize_with_behavior(spec, spec.behavior, current, proposal, state, now, options)
    return _rescale(spec, current, replace(decision, scaling_active=scaling_active), now)


def compute_replicas_for_metrics(
    spec: HpaSpec, observation: Observation, now: float, options: ControllerOptions
) -> tuple[int | None, str]:
    """Return the highest proposal of all metrics, and the reason of ScalingActive.

    An invalid metric forbids to scale down, because it might have proposed more.

    Args:
        spec: The autoscaler's spec.
        observation: The cluster at this sync.
        now: The time in seconds.
        options: The options of the controller.

    Returns:
        The replicas, or None to keep them; the reason.
    """
    calculator = ReplicaCalculator(
        observation.pods,
        observation.replicas,
        observation.status_replicas,
        tolerances_of(spec.behavior, options),
        now,
        options.cpu_initialization_period,
        options.initial_readiness_delay,
    )
    valid: list[int] = []
    invalid: list[str] = []
    for metric_spec, metric in zip(spec.metrics, observation.metrics, strict=True):
        proposal = calculator.propose(metric_spec, metric)
        if proposal is None:
            invalid.append(f"FailedGet{metric_spec.source}Metric")
        else:
            valid.append(proposal)
    if not valid or (invalid and max(valid) < observation.replicas):
        return None, invalid[0]
    return max(valid), "ValidMetricFound"


def tolerances_of(behavior: Behavior | None, options: ControllerOptions) -> Tolerances:
    """Return the tolerances of both directions: those of ``behavior``, or the controller's."""
    down = up = None
    if behavior is not None:
        down, up = behavior.scale_down.tolerance, behavior.scale_up.tolerance
    return Tolerances(
        options.tolerance if down is None else down,
        options.tolerance if up is None else up,
    )


def _rescale(spec: HpaSpec, current: int, decision: Decision, now: float) -> Decision:
    """Record a change of the replicas, which limits the next changes if ``behavior`` is set."""
    if decision.replicas == current:
        return decision
    change, state = decision.replicas - current, decision.state
    if spec.behavior is not None and change > 0:
        events = _store_scale_event(state.scale_up_events, change, spec.behavior.scale_up, now)
        state = replace(state, scale_up_events=events)
    elif spec.behavior is not None:
        events = _store_scale_event(state.scale_down_events, -change, spec.behavior.scale_down, now)
        state = replace(state, scale_down_events=events)
    return replace(decision, state=state, able_to_scale="SucceededRescale")


def _store_scale_event(
    events: tuple[ScaleEvent, ...], change: int, rules: ScalingRules, now: float
) -> tuple[ScaleEvent, ...]:
    """Add an event, in the place of the last outdated one if there is one.

    The controller keeps the other outdated events. The rules of the opposite direction still count them if
    their period is longer.
    """
    event = ScaleEvent(change, now)
    cutoff = now - rules.longest_period_seconds
    outdated = [index for index, earlier in enumerate(events) if earlier.time < cutoff]
    if outdated:
        return (*events[: outdated[-1]], event, *events[outdated[-1] + 1 :])
    return (*events, event)


def _normalize(
    spec: HpaSpec,
    current: int,
    proposal: int,
    state: ControllerState,
    now: float,
    options: ControllerOptions,
) -> Decision:
    """Stabilize and limit a proposal without ``behavior``: ``normalizeDesiredReplicas``."""
    cutoff = now - options.downscale_stabilization
    recent = tuple(made for made in state.recommendations if made.time >= cutoff)
    stabilized = max([proposal, *(made.replicas for made in recent)])
    scale_up_limit = max(2 * current, 4)
    if spec.max_replicas > scale_up_limit:
        maximum, limited = scale_up_limit, "ScaleUpLimit"
    else:
        maximum, limited = spec.max_replicas, "TooManyReplicas"
    if stabilized < spec.min_replicas:
        desired, limited = spec.min_replicas, "TooFewReplicas"
    elif stabilized > maximum:
        desired = maximum
    else:
        desired, limited = stabilized, "DesiredWithinRange"
    return Decision(
        desired,
        replace(state, recommendations=(*recent, Recommendation(proposal, now))),
        able_to_scale="ReadyForNewScale" if stabilized == proposal else "ScaleDownStabilized",
        scaling_limited=limited,
    )


def _normalize_with_behavior(
    spec: HpaSpec,
    behavior: Behavior,
    current: int,
    proposal: int,
    state: ControllerState,
    now: float,
    options: ControllerOptions,
) -> Decision:
    """Stabilize and limit a proposal with ``behavior``: ``normalizeDesiredReplicasWithBehaviors``."""
    down_window = behavior.scale_down.stabilization_window_seconds
    up_cutoff = now - behavior.scale_up.stabilization_window_seconds
    down_cutoff = now - (options.downscale_stabilization if down_window is None else down_window)
    made = state.recommendations
    lowest = min([proposal, *(recent.replicas for recent in made if recent.time > up_cutoff)])
    highest = max([proposal, *(recent.replicas for recent in made if recent.time > down_cutoff)])
    stabilized = min(max(current, lowest), highest)
    if stabilized == proposal:
        able_to_scale = "ReadyForNewScale"
    else:
        able_to_scale = "ScaleUpStabilized" if proposal >= current else "ScaleDownStabilized"
    desired, limited = stabilized, "DesiredWithinRange"
    if stabilized > current:
        limit = max(current, _scale_up_limit(current, state, behavior.scale_up, now))
        if stabilized > min(spec.max_replicas, limit):
            desired = min(spec.max_replicas, limit)
            limited = "ScaleUpLimit" if spec.max_replicas > limit else "TooManyReplicas"
    elif stabilized < current:
        limit = min(current, _scale_down_limit(current, state, behavior.scale_down, now))
        if stabilized < max(spec.min_replicas, limit):
            desired = max(spec.min_replicas, limit)
            limited = "ScaleDownLimit" if spec.min_replicas < limit else "TooFewReplicas"
    kept = tuple(earlier for earlier in made if earlier.time >= min(up_cutoff, down_cutoff))
    return Decision(
        desired,
        replace(state, recommendations=(*kept, Recommendation(proposal, now))),
        able_to_scale=able_to_scale,
        scaling_limited=limited,
    )


def _scale_up_limit(current: int, state: ControllerState, rules: ScalingRules, now: float) -> int:
    """Return the most replicas that the policies allow: ``calculateScaleUpLimitWithScalingRules``."""

    def limit(policy: ScalingPolicy) -> int:
        start = _period_start_replicas(current, state, policy, now)
        if policy.type == "Pods":
            return start + policy.value
        return math.ceil(start * (1 + policy.value / 100))

    if rules.select_policy == "Disabled":
        return current
    return (min if rules.select_policy == "Min" else max)(map(limit, rules.policies))


def _scale_down_limit(current: int, state: ControllerState, rules: ScalingRules, now: float) -> int:
    """Return the fewest replicas that the policies allow: ``calculateScaleDownLimitWithBehaviors``."""

    def limit(policy: ScalingPolicy) -> int:
        start = _period_start_replicas(current, state, policy, now)
        if policy.type == "Pods":
            return start - policy.value
        return int(start * (1 - policy.value / 100))

    if rules.select_policy == "Disabled":
        return current
    return (max if rules.select_policy == "Min" else min)(map(limit, rules.policies))


def _period_start_replicas(current: int, state: ControllerState, policy: ScalingPolicy, now: float) -> int:
    """Return the replicas at the start of a policy's period, from the changes since then."""
    cutoff = now - policy.period_seconds
    added = sum(event.change for event in state.scale_up_events if event.time > cutoff)
    removed = sum(event.change for event in state.scale_down_events if event.time > cutoff)
    return current - added + removed
