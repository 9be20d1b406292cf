# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A release's objects on the cluster: its route, and its tracks with pods and autoscaler.

It finds the objects by the names that the chart ``helm/tidegate`` gives them, because labels change: Argo CD
overwrites that with the release, and the alias of a subchart that with the chart. It does not assess them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from tidegate.kubernetes.client import Cluster
    from tidegate.kubernetes.pods import Object

CHART = "tidegate"
COMPONENT_LABEL = "app.kubernetes.io/component"
TRACKS = f"{COMPONENT_LABEL} in (stable, canary)"
"""The selector of the tracks. In a parent chart, app.kubernetes.io/name has the alias of the chart."""
POD_LABEL = "serving.kserve.io/inferenceservice"
INSTANCE_LABEL = "app.kubernetes.io/instance"
"""The release's name in Helm."""
KEDA_SUFFIX = "-keda"
"""The end of the name of an autoscaler that KEDA creates."""


@dataclass(frozen=True, slots=True)
class Track:
    """One InferenceService of a release, with the objects that KServe and the chart created for it."""

    name: str
    """``stable`` or ``canary``."""
    service: "Object"
    deployment: "Object | None"
    autoscaler: "Object | None"
    scaled_object: "Object | None"
    """The origin of the autoscaler, if that is KEDA's."""
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
        ConfigurationError: If the cluster denies access, or the Helm release has several models.
    """
    services = read_services(cluster, name, namespace)
    deployments = {
        deployment["metadata"]["name"]: deployment
        for deployment in cluster.objects("apps/v1", namespace, "deployments")
    }
    autoscalers = {
        autoscaler["spec"]["scaleTargetRef"]["name"]: autoscaler
        for autoscaler in cluster.objects("autoscaling/v2", namespace, "horizontalpodautoscalers")
    }
    scaled_objects = {
        scaled["metadata"]["name"]: scaled
        for scaled in (
            cluster.objects("keda.sh/v1alpha1", namespace, "scaledobjects")
            if any(
                autoscaler["metadata"]["name"].endswith(KEDA_SUFFIX) for autoscaler in autoscalers.values()
            )
            else ()
        )
    }
    routes = cluster.objects("gateway.networking.k8s.io/v1", namespace, "httproutes")
    stable_name = _stable_name(services[0])
    route = next((route for route in routes if route["metadata"]["name"] == stable_name), None)
    tracks = []
    for service in services:
        service_name = service["metadata"]["name"]
        tracks.append(
            Track(
                name=service["metadata"]["labels"][COMPONENT_LABEL],
                service=service,
                deployment=deployments.get(f"{service_name}-predictor"),
                autoscaler=autoscalers.get(f"{service_name}-predictor"),
                scaled_object=scaled_objects.get(service_name),
                replica_sets=tuple(
                    cluster.objects("apps/v1", namespace, "replicasets", f"{POD_LABEL}={service_name}")
                ),
                pods=cluster.pods(namespace, f"{POD_LABEL}={service_name}"),
            )
        )
    return Release(name, namespace, tuple(tracks), route)


def read_services(cluster: "Cluster", name: str, namespace: str) -> "list[Object]":
    """Read the InferenceServices of a release: one per track.

    Args:
        cluster: The cluster.
        name: The Helm release, or the name of its InferenceService, which comes first.
        namespace: The release's namespace.

    Raises:
        NotFoundError: If the namespace has no release of this name.
        ServerError: If the cluster is unreachable or fails.
        ConfigurationError: If the cluster denies access, or the Helm release has several models.
    """
    services = cluster.objects("serving.kserve.io/v1beta1", namespace, "inferenceservices", TRACKS)
    selected = [service for service in services if _stable_name(service) == name] or [
        service for service in services if service["metadata"]["labels"].get(INSTANCE_LABEL) == name
    ]
    if not selected:
        raise NotFoundError(
            f"The namespace {namespace} has no release '{name}' of the chart {CHART}: "
            "select another namespace with --namespace, or list the releases with 'helm list'."
        )
    if len(models := sorted(set(map(_stable_name, selected)))) > 1:
        raise ConfigurationError(
            f"The release '{name}' has the models {', '.join(models)}: expected the name of one of them."
        )
    return selected


def _stable_name(service: "Object") -> str:
    """Return the name of a release's objects, which is that of its stable track."""
    metadata = service["metadata"]
    name: str = metadata["name"]
    is_canary = metadata["labels"][COMPONENT_LABEL] == "canary"
    return name.removesuffix("-canary") if is_canary else name
