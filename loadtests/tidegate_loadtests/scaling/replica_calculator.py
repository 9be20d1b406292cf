# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The replicas that one metric proposes, by the rules of Kubernetes' ``replica_calculator.go`` (v1.35).

Every function is pure, and its names are the controller's. None instead of a number of replicas means that
the metric is invalid at this sync. Several metrics, limits and stabilization belong to
:mod:`tidegate_loadtests.scaling.hpa`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate_loadtests.scaling.hpa_spec import MetricSpec

MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PodState:
    """The fields of a pod that the controller reads; times are in seconds.

    Args:
        name: The pod's name.
        phase: ``status.phase``.
        ready: The status of the condition Ready; None without the condition.
        ready_changed_at: The condition's last transition.
        started_at: ``status.startTime``.
        deleted: Whether the pod has a deletion timestamp.
        request: The request for the metric's resource, in thousandths.
    """

    name: str
    phase: Literal["Pending", "Running", "Succeeded", "Failed"] = "Running"
    ready: Literal["True", "False", "Unknown"] | None = "True"
    ready_changed_at: float = 0.0
    started_at: float | None = 0.0
    deleted: bool = False
    request: int | None = None


@dataclass(frozen=True, slots=True)
class PodMetric:
    """A pod's usage in thousandths, the end of its measurement and the length of it in seconds."""

    value: int
    timestamp: float
    window: float


PodMetrics = Mapping[str, PodMetric]
"""Usage by pod."""
Metric = PodMetrics | int | None
"""The response of the metrics API: usage by pod, or one value in thousandths; None if the request failed."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The distances of a usage ratio from 1 that change nothing."""

    scale_down: float
    scale_up: float

    def is_within(self, usage_ratio: float) -> bool:
        """Return whether the ratio is near enough to 1."""
        return 1.0 - self.scale_down <= usage_ratio <= 1.0 + self.scale_up


@dataclass(frozen=True, slots=True)
class ReplicaCalculator:
    """The inputs that all metrics of one sync share.

    Args:
        pods: The pods of the scale target's selector.
        replicas: ``spec.replicas`` of the scale target.
        status_replicas: ``status.replicas`` of the scale target.
        tolerances: The tolerances of both directions.
        now: The time in seconds.
        cpu_initialization_period: Seconds after a pod's start in which only metrics since it is ready count.
        initial_readiness_delay: Seconds after a pod's start in which a change to unready is its first state.
    """

    pods: Sequence[PodState]
    replicas: int
    status_replicas: int
    tolerances: Tolerances
    now: float
    cpu_initialization_period: float = 300.0
    initial_readiness_delay: float = 30.0

    def propose(self, spec: MetricSpec, metric: Metric) -> int | None:
        """Return the replicas that a metric proposes.

        Args:
            spec: The metric's source and target.
            metric: The metrics API's response.

        Returns:
            A number of replicas; None if the metric is invalid.
        """
        if metric is None:
            return None
        if isinstance(metric, int):
            if spec.target_type == "AverageValue":
                return self._per_pod_replicas(metric, spec.target)
            return self._value_replicas(metric, spec.target)
        if spec.target_type == "Utilization":
            return self._utilization_replicas(metric, spec)
        return self._average_value_replicas(metric, spec)

    def _value_replicas(self, usage: int, target: int) -> int | None:
        """Return the proposal of one value that all ready pods share: ``getUsageRatioReplicaCount``."""
        usage_ratio = usage / target
        if self.replicas == 0:
            return math.ceil(usage_ratio)
        if self.tolerances.is_within(usage_ratio):
            return self.replicas
        if not self.pods:
            return None
        ready = sum(pod.phase == "Running" and pod.ready == "True" for pod in self.pods)
        return min(math.ceil(usage_ratio * ready), MAX_INT32)

    def _per_pod_replicas(self, usage: int, target: int) -> int:
        """Return the proposal of one value that is divided by the replicas."""
        replicas = self.status_replicas
        if replicas and self.tolerances.is_within(usage / (float(target) * replicas)):
            return replicas
        return min(math.ceil(usage / target), MAX_INT32)

    def _utilization_replicas(self, metrics: PodMetrics, spec: MetricSpec) -> int | None:
        """Return the proposal of a utilization, in whole percent of the requests: ``GetResourceReplicas``."""
        requests: dict[str, int] = {}
        for pod in self.pods:
            if pod.request is None:
                return None
            requests[pod.name] = pod.request

        def usage_ratio(usage: Mapping[str, int]) -> float | None:
            known = [name for name in usage if name in requests]
            requested = sum(requests[name] for name in known)
            if requested == 0:
                return None
            return sum(usage[name] for name in known) * 100 // requested / spec.target

        def whole_usage(name: str) -> int:
            return requests[name] * max(100, spec.target) // 100

        return self._pod_metric_replicas(metrics, spec, usage_ratio, whole_usage)

    def _average_value_replicas(self, metrics: PodMetrics, spec: MetricSpec) -> int | None:
        """Return the proposal of an average over pods: ``calcPlainMetricReplicas``."""

        def usage_ratio(usage: Mapping[str, int]) -> float:
            return sum(usage.values()) // len(usage) / spec.target

        return self._pod_metric_replicas(metrics, spec, usage_ratio, lambda _: spec.target)

    def _pod_metric_replicas(
        self,
        metrics: PodMetrics,
        spec: MetricSpec,
        usage_ratio: Callable[[Mapping[str, int]], float | None],
        whole_usage: Callable[[str], int],
    ) -> int | None:
        """Return the proposal of a metric by pod. Pods without a usage count against the change.

        Args:
            metrics: Usage by pod.
            spec: The metric's source and target.
            usage_ratio: Usage divided by the target.
            whole_usage: The usage of a pod that has as much load as its target allows.
        """
        if not self.pods:
            return None
        is_cpu = spec.source in ("Resource", "ContainerResource") and spec.name == "cpu"
        groups = self.group_pods(metrics, is_cpu)
        excluded = groups.ignored | groups.unready
        usage = {name: metric.value for name, metric in metrics.items() if name not in excluded}
        if not usage:
            return None
        ratio = usage_ratio(usage)
        if ratio is None:
            return None
        scale_up_with_unready = bool(groups.unready) and ratio > 1.0
        if not scale_up_with_unready and not groups.missing:
            return (
                self.replicas if self.tolerances.is_within(ratio) else math.ceil(ratio * groups.ready_count)
            )
        if ratio < 1.0:
            usage |= {name: whole_usage(name) for name in groups.missing}
        elif ratio > 1.0:
            usage |= dict.fromkeys(groups.missing | groups.unready, 0)
        new_ratio = usage_ratio(usage)
        if (
            new_ratio is None
            or self.tolerances.is_within(new_ratio)
            or (ratio < 1.0 < new_ratio)
            or (new_ratio < 1.0 < ratio)
        ):
            return self.replicas
        proposal = math.ceil(new_ratio * len(usage))
        reverses = proposal > self.replicas if new_ratio < 1.0 else proposal < self.replicas
        return self.replicas if reverses else proposal

    def group_pods(self, metrics: PodMetrics, is_cpu: bool) -> "PodGroups":
        """Group the pods by the way in which their usage counts."""
        ready_count = 0
        unready, missing, ignored = set(), set(), set()
        for pod in self.pods:
            if pod.deleted or pod.phase == "Failed":
                ignored.add(pod.name)
            elif pod.phase == "Pending":
                unready.add(pod.name)
            elif pod.name not in metrics:
                missing.add(pod.name)
            elif is_cpu and self._is_unready(pod, metrics[pod.name]):
                unready.add(pod.name)
            else:
                ready_count += 1
        return PodGroups(ready_count, frozenset(unready), frozenset(missing), frozenset(ignored))

    def _is_unready(self, pod: PodState, metric: PodMetric) -> bool:
        """Return whether a pod's CPU is that of its start rather than of its load."""
        if pod.ready is None or pod.started_at is None:
            return True
        if pod.started_at + self.cpu_initialization_period > self.now:
            return pod.ready == "False" or metric.timestamp < pod.ready_changed_at + metric.window
        return pod.ready == "False" and pod.started_at + self.initial_readiness_delay > pod.ready_changed_at


@dataclass(frozen=True, slots=True)
class PodGroups:
    """The pods of one metric.

    Args:
        ready_count: Number of pods whose usage counts.
        unready: Pods whose usage does not count yet.
        missing: Pods without a metric.
        ignored: Pods that end.
    """

    ready_count: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]
