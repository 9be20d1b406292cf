# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The readiness of Kubernetes objects, and the reason if one is not ready.

Pure functions from an object to the reason why it is not ready, or to None if it is: the values of a probe
for :meth:`tools.cluster.progress.Progress.wait`.
"""

from collections.abc import Iterable

from tidegate.kubernetes.pods import Object


def find_condition(resource: Object, kind: str) -> Object:
    """Return an object's condition of a type; empty if its status does not report it."""
    conditions = (resource.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


def unmet_condition(resource: Object, kind: str) -> str | None:
    """Return why a condition is not True, or None if it is."""
    entry = find_condition(resource, kind)
    if not entry:
        return f"{kind} is not reported yet"
    if entry["status"] == "True":
        return None
    reason = entry.get("message") or entry.get("reason", "no reason given")
    return f"{kind} is {entry['status']}: {reason}"


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


def unready_pod(pod: Object) -> str | None:
    """Return why a pod is not ready, or None if it is ready or has succeeded."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded" or unmet_condition(pod, "Ready") is None:
        return None
    for entry in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        for state in ("waiting", "terminated"):
            detail = entry.get("state", {}).get(state)
            if detail and detail.get("reason") not in {None, "Completed", "PodInitializing"}:
                return f"{entry['name']}: {detail['reason']} {detail.get('message', '')}".strip()
    return unmet_condition(pod, "PodScheduled") or unmet_condition(pod, "Ready")
