# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A scenario of the oracle: an autoscaler, and what it observes at each sync, as a JSON document.

Sync number i happens at 15 * (i + 1) seconds. An observation names only the pods that changed. The replicas
are not part of an observation: they follow the decisions, in the controller and in :func:`replay` alike.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate_loadtests.scaling.hpa import (
    DEFAULT_OPTIONS,
    ControllerState,
    Decision,
    Observation,
    decide,
)
from tidegate_loadtests.scaling.hpa_spec import HpaSpec
from tidegate_loadtests.scaling.replica_calculator import Metric, PodMetric, PodState

Json = dict[str, Any]
Decide = Callable[[HpaSpec, Observation, ControllerState, float], Decision]


@dataclass(slots=True)
class Replay:
    """An autoscaler whose replicas follow its decisions.

    Args:
        spec: The autoscaler's spec.
        replicas: The replicas before the first sync.
        decide: The function that decides.
    """

    spec: HpaSpec
    replicas: int
    decide: Decide = decide
    _state: ControllerState = field(default_factory=ControllerState)
    _pods: dict[str, PodState] = field(default_factory=dict)
    _conditions: dict[str, str] = field(default_factory=dict)
    _syncs: int = 0

    def sync(self, observation: Json) -> Json:
        """Apply the changes of an observation, decide, and return the decision as the oracle writes it."""
        self._syncs += 1
        for name, change in observation.get("pods", {}).items():
            if change is None:
                del self._pods[name]
            else:
                self._pods[name] = parse_pod(name, change)
        metrics = observation.get("metrics", {})
        observed = Observation(
            observation.get("scale", self.replicas),
            observation["statusReplicas"],
            tuple(self._pods.values()),
            tuple(parse_metric(metrics.get(metric.name)) for metric in self.spec.metrics),
        )
        decision = self.decide(self.spec, observed, self._state, self._syncs * DEFAULT_OPTIONS.sync_period)
        self.replicas, self._state = decision.replicas, decision.state
        reasons = {
            "ableToScale": decision.able_to_scale,
            "scalingActive": decision.scaling_active,
            "scalingLimited": decision.scaling_limited,
        }
        self._conditions |= {name: reason for name, reason in reasons.items() if reason is not None}
        return {"replicas": self.replicas} | {name: self._conditions.get(name, "") for name in reasons}


def replay(scenario: Json, decide: Decide = decide) -> Iterator[Json]:
    """Yield the decision at each sync of a scenario."""
    replayed = Replay(HpaSpec.model_validate(scenario["hpa"]), scenario["replicas"], decide)
    for observation in scenario["syncs"]:
        yield replayed.sync(observation)


def parse_pod(name: str, document: Mapping[str, Any]) -> PodState:
    """Return a pod from its document; absent fields are unset in Kubernetes."""
    return PodState(
        name,
        phase=document["phase"],
        ready=document.get("ready"),
        ready_changed_at=document.get("readyTime", 0.0),
        started_at=document.get("startTime"),
        deleted=document.get("deleted", False),
        request=document.get("request"),
    )


def parse_metric(document: Any) -> Metric:
    """Return a metric: a number, usage by pod as ``[value, timestamp, window]``, or None if it is absent."""
    if isinstance(document, dict):
        return {pod: PodMetric(*values) for pod, values in document.items()}
    return document if isinstance(document, int) else None
