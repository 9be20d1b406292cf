# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A release as the cluster has it now: its tracks, their Deployments, pods and autoscalers, its route.

It reads, by the labels and names that the chart ``helm/tidegate`` gives, and decides nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import NotFoundError

if TYPE_CHECKING:
    from tidegate.kubernetes.client import Cluster
    from tidegate.kubernetes.pods import Object

CHART = "tidegate"
POD_LABEL = "serving.kserve.io/inferenceservice"


@dataclass(frozen=True, slots=True)
class Track:
    """One InferenceService of a release, and what KServe and the chart made for it."""

    name: str
    """``stable`` or ``canary``."""
    service: "Object"
    deployment: "Object | None"
    autoscaler: "Object | None"
    pods: "tuple[Object, ...]"


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the chart ``helm/tidegate``."""

    name: str
    namespace: str
    tracks: tuple[Track, ...]
    route: "Object | None"


def read_release(cluster: "Cluster", name: str, namespace: str) -> Release:
    """Read a release.

    Raises:
        NotFoundError: The namespace has no release of this name.
        ServerError: The cluster does not answer.
    """
    selector = f"app.kubernetes.io/name={CHART},app.kubernetes.io/instance={name}"
    services = cluster.objects("serving.kserve.io/v1beta1", namespace, "inferenceservices", selector)
    if not services:
        raise NotFoundError(
            f"The namespace {namespace} has no release '{name}' of the chart {CHART}: "
            "name another with --namespace, or see helm list."
        )
    deployments = {
        deployment["metadata"]["name"]: deployment
        for deployment in cluster.objects("apps/v1", namespace, "deployments")
    }
    scalers = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler
        for scaler in cluster.objects("autoscaling/v2", namespace, "horizontalpodautoscalers")
    }
    routes = cluster.objects("gateway.networking.k8s.io/v1", namespace, "httproutes", selector)
    tracks = []
    for service in services:
        isvc = service["metadata"]["name"]
        tracks.append(
            Track(
                name=service["metadata"]["labels"]["app.kubernetes.io/component"],
                service=service,
                deployment=deployments.get(f"{isvc}-predictor"),
                autoscaler=scalers.get(f"{isvc}-predictor"),
                pods=cluster.pods(namespace, f"{POD_LABEL}={isvc}"),
            )
        )
    return Release(name, namespace, tuple(tracks), routes[0] if routes else None)
