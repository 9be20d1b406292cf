# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The resources that a timeline watches, and the facts that it keeps of their objects.

The table :data:`RESOURCES` is the only list of them: the recorder's requests and the chart's Role follow from
it. Everything else of an object is dropped at once, so memory depends only on the number of objects.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, AppsV1Api, AutoscalingV2Api, CoreV1Api, DiscoveryV1Api
from kubernetes.utils import parse_quantity

from tidegate.kubernetes.pods import is_ready
from tidegate_loadtests.campaign import Watch
from tidegate_loadtests.timeline.reflector import Object

VERBS = ("list", "watch")


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """The replica counts of the Deployment."""

    desired: int
    current: int
    ready: int


@dataclass(frozen=True, slots=True)
class AutoscalerFacts:
    """The decision of the HorizontalPodAutoscaler."""

    desired: int
    maximum: int
    metric: float | None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """The state of a pod."""

    phase: str
    ready: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class EventFacts:
    """An event."""

    kind: str
    name: str
    type: str
    reason: str
    message: str
    count: int


def deployment_name(watch: Watch) -> str:
    """Return the name of the watched Deployment.

    >>> deployment_name(Watch(inference_service="iris"))
    'iris-predictor'
    """
    return watch.deployment or f"{watch.inference_service}-predictor"


def _read_deployment(item: Object, name: str) -> DeploymentFacts | None:
    if item["metadata"]["name"] != name:
        return None
    status = item.get("status") or {}
    return DeploymentFacts(
        desired=item["spec"].get("replicas", 1),
        current=status.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
    )


def _read_autoscaler(item: Object, name: str) -> AutoscalerFacts | None:
    spec, status = item["spec"], item.get("status") or {}
    if (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) != ("Deployment", name):
        return None
    metrics = status.get("currentMetrics") or []
    return AutoscalerFacts(
        desired=status.get("desiredReplicas") or 0,
        maximum=spec["maxReplicas"],
        metric=_read_metric(metrics[0]) if metrics else None,
    )


def _read_metric(metric: Object) -> float | None:
    """Return the value that the autoscaler compares with its target: a percentage or a quantity."""
    current: dict[str, Any] = next(
        (source["current"] for source in metric.values() if isinstance(source, dict) and "current" in source),
        {},
    )
    if "averageUtilization" in current:
        return float(current["averageUtilization"])
    quantity = current.get("averageValue") or current.get("value")
    return None if quantity is None else float(parse_quantity(quantity))


def _read_pod(item: Object, name: str) -> PodFacts | None:
    owners = [str(owner["name"]) for owner in item["metadata"].get("ownerReferences") or []]
    # The owner is a ReplicaSet with the Deployment's name and a hash; long names of pods are truncated.
    if not any(re.fullmatch(f"{re.escape(name)}-[a-z0-9]+", owner) for owner in owners):
        return None
    return PodFacts(
        phase=(item.get("status") or {}).get("phase") or "Unknown",
        ready=is_ready(item),
        deleted=item["metadata"].get("deletionTimestamp") is not None,
    )


def _read_endpoints(item: Object, _name: str) -> frozenset[str]:
    """Return the pods that are ready endpoints, also of other Deployments."""
    return frozenset(
        str((endpoint.get("targetRef") or {}).get("name"))
        for endpoint in item.get("endpoints") or []
        # The API defines an absent condition as ready.
        if (endpoint.get("conditions") or {}).get("ready") is not False
    )


def _read_event(item: Object, name: str) -> EventFacts | None:
    about = item["involvedObject"]
    kind, of = str(about.get("kind")), str(about.get("name"))
    if kind not in ("Deployment", "ReplicaSet", "Pod", "HorizontalPodAutoscaler"):
        return None
    if of != name and not re.fullmatch(f"{re.escape(name)}(-[a-z0-9]+){{1,2}}", of):
        return None
    return EventFacts(
        kind=kind,
        name=of,
        type=str(item.get("type") or "Normal"),
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or ""),
        count=(item.get("series") or {}).get("count") or item.get("count") or 1,
    )


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that the timeline watches."""

    group: str
    """The API group; empty for the core group."""
    plural: str
    list_function: Callable[[ApiClient], Callable[..., Any]]
    """Returns the client's function that lists and watches the resource."""
    read: Callable[[Object, str], Any]
    """Returns the facts of an object, given the Deployment's name; None if the timeline does not need it."""
    by_name: bool = False
    """Whether the requests select the one object that has the Deployment's name."""

    def selector(self, deployment: str) -> dict[str, str]:
        """Return the selecting parameters of the requests."""
        return {"field_selector": f"metadata.name={deployment}"} if self.by_name else {}


DEPLOYMENTS = Resource(
    "apps",
    "deployments",
    lambda api: AppsV1Api(api).list_namespaced_deployment,
    _read_deployment,
    by_name=True,
)
AUTOSCALERS = Resource(
    "autoscaling",
    "horizontalpodautoscalers",
    lambda api: AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler,
    _read_autoscaler,
)
PODS = Resource("", "pods", lambda api: CoreV1Api(api).list_namespaced_pod, _read_pod)
ENDPOINT_SLICES = Resource(
    "discovery.k8s.io",
    "endpointslices",
    lambda api: DiscoveryV1Api(api).list_namespaced_endpoint_slice,
    _read_endpoints,
)
EVENTS = Resource("", "events", lambda api: CoreV1Api(api).list_namespaced_event, _read_event)

RESOURCES = (DEPLOYMENTS, AUTOSCALERS, PODS, ENDPOINT_SLICES, EVENTS)
