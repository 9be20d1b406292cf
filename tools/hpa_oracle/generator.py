# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Random scenarios: a deployment whose pods start, fail and end, under a load that jumps.

The replicas follow the decisions of our own algorithm while a scenario is drawn, so that the observations fit
them. Many loads lie at the edges of the rules, where a wrong comparison changes a decision.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from tidegate_loadtests.scaling.hpa_spec import HpaSpec, MetricSpec
from tools.hpa_oracle.scenario import Json, Replay

SYNC_PERIOD = 15.0
RATIOS = (0.0, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.89, 0.9, 0.95, 1.0, 1.05, 1.1, 1.11, 1.2, 1.35, 1.5, 2.0, 3.0)
"""Loads, as multiples of that at which the replicas are right."""
CONTAINER = "kserve-container"


def draw_scenario(seed: int, number: int) -> Json:
    """Return the scenario of a seed and a number; the same two give the same scenario."""
    source = random.Random(f"{seed}/{number}")
    hpa = _draw_hpa(source)
    replicas = source.choice([1, 1, 2, 3, 4, 5, 8, 12, 40]) if source.random() < 0.97 else 0
    deployment = _Deployment(source, HpaSpec.model_validate(hpa), replicas)
    replayed = Replay(deployment.spec, replicas)
    syncs = []
    for index in range(source.randint(6, 40)):
        observation = deployment.observe(SYNC_PERIOD * (index + 1), replayed.replicas)
        replayed.sync(observation)
        syncs.append(observation)
    return {"id": number, "hpa": hpa, "replicas": replicas, "syncs": syncs}


def _draw_hpa(source: random.Random) -> Json:
    minimum = source.choice([0, 1, 1, 1, 2, 3])
    hpa: Json = {
        "minReplicas": minimum,
        "maxReplicas": max(1, minimum) + source.choice([0, 3, 6, 12, 20, 40, 40]),
        "metrics": [metric(source) for metric in source.sample(_METRICS, source.choice([1, 1, 1, 2, 2, 3]))],
    }
    if source.random() < 0.7:
        hpa["behavior"] = {
            direction: _draw_rules(source) for direction in ("scaleUp", "scaleDown") if source.random() < 0.8
        }
    return hpa


def _draw_rules(source: random.Random) -> Json:
    fields: Json = {
        "stabilizationWindowSeconds": source.choice([0, 0, 0, 15, 30, 45, 60, 120, 300]),
        "selectPolicy": source.choice(["Max", "Max", "Max", "Min", "Min", "Min", "Disabled"]),
        "policies": [
            {
                "type": kind,
                "value": source.choice([1, 2, 4] if kind == "Pods" else [5, 10, 33, 50, 100, 300]),
                "periodSeconds": source.choice([1, 15, 30, 60, 90, 300]),
            }
            for kind in source.choices(["Pods", "Percent"], k=source.randint(1, 3))
        ],
        "tolerance": source.choice(["0", "0", "0", "0.05", "100m", "0.2", "0.35", "0.5"]),
    }
    return {name: value for name, value in fields.items() if source.random() < 0.6}


def _resource(source: random.Random, name: str) -> Json:
    if source.random() < 0.7:
        target: Json = {"type": "Utilization", "averageUtilization": source.choice([30, 50, 80, 100, 140])}
    else:
        target = {"type": "AverageValue", "averageValue": source.choice(["100m", "400m", "1"])}
    if source.random() < 0.5:
        return {"type": "Resource", "resource": {"name": name, "target": target}}
    fields = {"name": name, "container": CONTAINER, "target": target}
    return {"type": "ContainerResource", "containerResource": fields}


def _draw_value(source: random.Random) -> Json:
    quantity = source.choice(["3", "8", "2500m", "100", "1234567u"])
    if source.random() < 0.5:
        return {"type": "AverageValue", "averageValue": quantity}
    return {"type": "Value", "value": quantity}


def _cpu(source: random.Random) -> Json:
    return _resource(source, "cpu")


def _memory(source: random.Random) -> Json:
    return _resource(source, "memory")


def _external(source: random.Random) -> Json:
    fields = {"metric": {"name": "requests_in_flight"}, "target": _draw_value(source)}
    return {"type": "External", "external": fields}


def _object(source: random.Random) -> Json:
    service = {"apiVersion": "v1", "kind": "Service", "name": "model"}
    fields = {"describedObject": service, "metric": {"name": "queue"}, "target": _draw_value(source)}
    return {"type": "Object", "object": fields}


def _pods(source: random.Random) -> Json:
    target = {"type": "AverageValue", "averageValue": source.choice(["3", "8", "2500m"])}
    return {"type": "Pods", "pods": {"metric": {"name": "rows"}, "target": target}}


_METRICS = (_cpu, _cpu, _external, _external, _memory, _object, _pods)


@dataclass
class _Deployment:
    """A deployment, its pods as documents, and the load on it."""

    source: random.Random
    spec: HpaSpec
    load: float
    pods: dict[str, Json] = field(default_factory=dict)
    created: int = 0

    def __post_init__(self) -> None:
        source = self.source
        self.request = source.choice([100, 137, 250, 333, 500, 1000])
        self.has_request = source.random() < 0.97
        self.startup = source.choice([0.0, 5.0, 15.0, 30.0, 90.0])
        self.missing = source.choice([0.0, 0.0, 0.05, 0.4])
        self.outage = source.choice([0.0, 0.0, 0.05, 0.4])
        self.disturbance = source.choice([0.0, 0.0, 0.05, 0.3])
        self.restlessness = source.choice([0.1, 0.4, 0.8])
        self.age = source.choice([600.0, 600.0, 0.0, 270.0])

    def observe(self, now: float, replicas: int) -> Json:
        """Move the deployment on to a sync and return the observation."""
        source = self.source
        observation: Json = {}
        if source.random() < 0.02:
            replicas = observation["scale"] = source.choice([0, 1, 2, 4, 4, 9, 9, 20])
        before = {name: dict(pod) for name, pod in self.pods.items()}
        self._reconcile(now, replicas)
        for pod in self.pods.values():
            self._age(pod, now)
        if source.random() < self.restlessness:
            self.load = (
                max(1, replicas) * source.choice(RATIOS) * source.choice([1, 1, source.uniform(0.8, 1.2)])
            )
        observation["statusReplicas"] = (
            sum(not pod.get("deleted") for pod in self.pods.values()) if source.random() < 0.9 else replicas
        )
        changed: dict[str, Any] = {
            name: dict(pod) for name, pod in self.pods.items() if pod != before.get(name)
        }
        observation["pods"] = changed | {name: None for name in before if name not in self.pods}
        observation["metrics"] = {
            metric.name: self._measure(metric, now)
            for metric in self.spec.metrics
            if source.random() >= self.outage
        }
        return observation

    def _reconcile(self, now: float, replicas: int) -> None:
        for name in [name for name, pod in self.pods.items() if pod.get("deleted")]:
            if self.source.random() < 0.6:
                del self.pods[name]
        alive = [name for name, pod in self.pods.items() if not pod.get("deleted")]
        for name in alive[replicas:]:
            self.pods[name]["deleted"] = True
        for _ in range(replicas - len(alive)):
            first = now == SYNC_PERIOD
            started = (
                now
                - SYNC_PERIOD
                - (self.age if first else 0.0)
                + self.source.choice([0.0, 0.0, 5.0, 0.5 * self.source.randint(0, 20)])
            )
            pod: Json = {"phase": "Pending", "startTime": started}
            if self.has_request or self.source.random() < 0.9:
                pod["request"] = self.request
            self.pods[f"p{self.created}"] = pod
            self.created += 1

    def _age(self, pod: Json, now: float) -> None:
        source = self.source
        started = pod.get("startTime")
        if pod["phase"] == "Pending" and started is not None and now >= started + min(self.startup, 5.0):
            pod |= {"phase": "Running", "ready": "False", "readyTime": started}
        if pod.get("ready") == "False" and started is not None and started + self.startup <= now:
            pod |= {"ready": "True", "readyTime": started + self.startup}
        if source.random() >= self.disturbance:
            return
        event = source.randrange(7)
        if event == 0:
            pod["phase"] = source.choice(["Failed", "Pending", "Succeeded", "Running"])
        elif event == 1:
            pod.pop("ready", None)
        elif event == 2:
            pod.pop("startTime", None)
        elif event == 3:
            pod |= {"ready": "Unknown", "readyTime": now - 3.0}
        else:
            changed_at = [
                now,
                now - 5.0,
                now - 31.0,
                *([] if started is None else [started + 15.0, started + 30.0]),
            ]
            pod |= {"ready": "False", "readyTime": source.choice(changed_at)}

    def _measure(self, metric: MetricSpec, now: float) -> Any:
        source = self.source
        if metric.source in ("External", "Object"):
            per_replica = metric.target_type == "AverageValue"
            scale = self.load if per_replica else self.load / max(1, len(self.pods))
            return round(scale * metric.target)
        serving = [name for name, pod in self.pods.items() if pod["phase"] == "Running"] or list(self.pods)
        target = metric.target
        if metric.target_type == "Utilization":
            target = self.request * metric.target // 100
        usage = {}
        for name in self.pods:
            if source.random() < self.missing:
                continue
            value = round(target * self.load / max(1, len(serving)) * source.choice([1, 1, 1, 0.5, 0.7, 1.3]))
            usage[name] = [value, now - source.choice([0, 5, 10, 15, 20, 30, 45]), source.choice([15, 30])]
        if source.random() < 0.02:
            usage["gone"] = [target, now, 15]
        return usage
