# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Read from Kubernetes objects whether something is ready, and if not, what is missing.

Pure functions from what the API server says to a sentence, or to None for ready: the form that
Progress.wait asks for.
"""

from typing import Any

Object = dict[str, Any]


def condition(thing: Object, kind: str) -> str | None:
    """Tell what a condition lacks to be True."""
    for entry in (thing.get("status") or {}).get("conditions") or []:
        if entry["type"] == kind:
            if entry["status"] == "True":
                return None
            reason = entry.get("message") or entry.get("reason", "no reason given")
            return f"{kind} is {entry['status']}: {reason}"
    return f"{kind} is not reported yet"


def kinds(definitions: list[Object]) -> str | None:
    """Tell which custom resource definitions are not served yet."""
    missing = [item["metadata"]["name"] for item in definitions if condition(item, "Established") is not None]
    return f"not served yet: {', '.join(missing)}" if missing else None


def deployment(thing: Object) -> str | None:
    """Tell what a Deployment lacks to be fully rolled out."""
    status = thing.get("status", {})
    if status.get("observedGeneration", 0) < thing["metadata"]["generation"]:
        return "its controller has not seen it yet"
    wanted = thing["spec"].get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted or available < wanted or status.get("replicas", 0) > wanted:
        return f"{available} of {wanted} available"
    return None


def deployments(items: list[Object]) -> str | None:
    """Tell which Deployments are not rolled out."""
    missing = []
    for item in items:
        reason = deployment(item)
        if reason is not None:
            missing.append(f"{item['metadata']['namespace']}/{item['metadata']['name']} ({reason})")
    return ", ".join(missing) or None


def pod_problem(pod: Object) -> str | None:
    """Say in a few words why a pod is not ready, or None if it is or has ended well."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded" or condition(pod, "Ready") is None:
        return None
    for entry in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        for state in ("waiting", "terminated"):
            detail = entry.get("state", {}).get(state)
            if detail and detail.get("reason") not in {None, "Completed", "PodInitializing"}:
                return f"{entry['name']}: {detail['reason']} {detail.get('message', '')}".strip()
    return condition(pod, "PodScheduled") or condition(pod, "Ready")
