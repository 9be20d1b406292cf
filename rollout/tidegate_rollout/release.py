# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A release's objects on the cluster: its route, and its tracks with pods and autoscaler.

It finds the objects by the names that the chart ``helm/tidegate`` gives them, because Argo CD overwrites the
label with the release's name. It does not assess them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import NotFoundError

if TYPE_CHECKING:
    from tidegate.kubernetes.client import Cluster
    from tidegate.kubernetes.pods import Object

CHART = "tidegate"
POD_LABEL = "serving.kserve.io/inferenceservice"
INSTANCE_LABEL = "app.kubernetes.io/instance"
"""The release's name in Helm."""


@dataclass(frozen=True, slots=True)
class Track:
    """One InferenceService of a release, with the objects that KServe and the chart created for it."""

    name: str
    """``stable`` or ``canary``."""
    service: "Object"
    deployment: "Object | None"
    autoscaler: "Object | None"
    replica_sets: "tuple[Object, ...]"
    """Those of the Deployment, one per pod template."""
    pods: "tuple[Object, ...]"


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the chart ``helm/tidegate``."""

    name: str
    namespace: str
    tracks: tuple[Track, ...]
    route: "Object | None"


def read_release(cluster: "Cluster", name: str, namespace: str) -> Release:
    """Read a release's objects from the cluster.

    Args:
        cluster: The cluster.
        name: The Helm release, or the name of its InferenceService.
        namespace: The release's namespace.

    Raises:
        NotFoundError: If the namespace has no release of this name.
        ServerError: If the cluster is unreachable or fails.
        ConfigurationError: If the cluster denies access.
    """
    selector = f"app.kubernetes.io/name={CHART}"
    services = [
        service
        for service in cluster.objects("serving.kserve.io/v1beta1", namespace, "inferenceservices", selector)
        if name in _names(service["metadata"])
    ]
    if not services:
        raise NotFoundError(
            f"The namespace {namespace} has no release '{name}' of the chart {CHART}: "
            "select another namespace with --namespace, or list the releases with 'helm list'."
        )
    deployments = {
        deployment["metadata"]["name"]: deployment
        for deployment in cluster.objects("apps/v1", namespace, "deployments")
    }
    autoscalers = {
        autoscaler["spec"]["scaleTargetRef"]["name"]: autoscaler
        for autoscaler in cluster.objects("autoscaling/v2", namespace, "horizontalpodautoscalers")
    }
    routes = cluster.objects("gateway.networking.k8s.io/v1", namespace, "httproutes", selector)
    stable_name = _names(services[0]["metadata"])[0]
    route = next((route for route in routes if route["metadata"]["name"] == stable_name), None)
    tracks = []
    for service in services:
        service_name = service["metadata"]["name"]
        tracks.append(
            Track(
                name=service["metadata"]["labels"]["app.kubernetes.io/component"],
                service=service,
                deployment=deployments.get(f"{service_name}-predictor"),
                autoscaler=autoscalers.get(f"{service_name}-predictor"),
                replica_sets=tuple(
                    cluster.objects("apps/v1", namespace, "replicasets", f"{POD_LABEL}={service_name}")
                ),
                pods=cluster.pods(namespace, f"{POD_LABEL}={service_name}"),
            )
        )
    return Release(name, namespace, tuple(tracks), route)


def _names(metadata: "Object") -> tuple[str, str]:
    """Return the names of an InferenceService's release: its objects' name, and the release's in Helm."""
    labels, name = metadata["labels"], metadata["name"]
    canary = labels["app.kubernetes.io/component"] == "canary"
    return name.removesuffix("-canary") if canary else name, labels[INSTANCE_LABEL]
