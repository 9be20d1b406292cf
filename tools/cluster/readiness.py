# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The readiness of custom resource definitions and Deployments.

Pure functions from objects to the reason why one is not ready, or to None if all are: the values of a probe
for :meth:`tools.cluster.progress.Progress.wait`. Conditions and pods are in :mod:`tidegate.kubernetes.pods`.
"""

from collections.abc import Iterable

from tidegate.kubernetes.pods import Object, unmet_condition


def unserved_kinds(definitions: Iterable[Object]) -> str | None:
    """Name the custom resource definitions that the API server does not serve yet."""
    names = [
        item["metadata"]["name"] for item in definitions if unmet_condition(item, "Established") is not None
    ]
    return f"not served yet: {', '.join(names)}" if names else None


def unfinished_rollout(deployment: Object) -> str | None:
    """Return why a Deployment is not fully rolled out."""
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return "its controller has not observed it yet"
    desired = deployment["spec"].get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < desired or available < desired or status.get("replicas", 0) > desired:
        return f"{available} of {desired} available"
    return None


def unfinished_rollouts(deployments: Iterable[Object]) -> str | None:
    """Name the Deployments that are not fully rolled out, each with its reason."""
    reasons = []
    for deployment in deployments:
        reason = unfinished_rollout(deployment)
        if reason is not None:
            metadata = deployment["metadata"]
            reasons.append(f"{metadata['namespace']}/{metadata['name']} ({reason})")
    return ", ".join(reasons) or None
