# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Conditions of Kubernetes objects, and the states of pods and their containers.

All functions are pure and take objects as JSON. Use :mod:`tidegate.kubernetes.client` or kubectl to read
them.
"""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]
"""A Kubernetes object or a part of one, as JSON."""

_STARTING = ("PodInitializing", "ContainerCreating")


def condition(resource: Object, kind: str) -> Object:
    """Return a condition of an object; an empty mapping if the object does not report it.

    >>> condition({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Ready")["status"]
    'True'
    """
    conditions = (resource.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


def unmet_condition(resource: Object, kind: str) -> str | None:
    """Return why a condition is not True; None if it is.

    >>> unmet_condition({}, "Ready")
    'Ready is not reported yet'
    """
    reported = condition(resource, kind)
    if not reported:
        return f"{kind} is not reported yet"
    if reported["status"] == "True":
        return None
    return f"{kind} is {reported['status']}: {_explanation(reported)}"


def is_ready(pod: Object) -> bool:
    """Return whether a pod is ready and is not being deleted."""
    return unmet_condition(pod, "Ready") is None and "deletionTimestamp" not in pod["metadata"]


def waiting_reason(pod: Object) -> str | None:
    """Return what keeps a pod from running, with the pod's name; None if nothing does."""
    reason = _blocking_reason(pod)
    return None if reason is None else f"{pod['metadata']['name']}: {reason}"


def unready_reason(pod: Object) -> str | None:
    """Return why a pod is not ready, without its name; None if it is ready or has succeeded."""
    if (pod.get("status") or {}).get("phase") == "Succeeded" or unmet_condition(pod, "Ready") is None:
        return None
    return _blocking_reason(pod) or unmet_condition(pod, "PodScheduled") or unmet_condition(pod, "Ready")


def container_statuses(pod: Object) -> list[Object]:
    """Return the statuses of a pod's containers, init containers first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def terminated_states(container: Object) -> list[Object]:
    """Return the terminated states in a container's status: the previous run's, then the last run's."""
    states = (container.get("lastState") or {}, container.get("state") or {})
    return [state["terminated"] for state in states if state.get("terminated")]


def termination_message(container: Object) -> str:
    """Return the last non-empty line of a container's termination messages, without the prefix ``error:``."""
    lines = [
        line
        for state in terminated_states(container)
        for line in (state.get("message") or "").splitlines()
        if line.strip()
    ]
    return lines[-1].removeprefix("error: ").strip() if lines else ""


def _blocking_reason(pod: Object) -> str | None:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled: {_explanation(scheduled)}"
    for container in container_statuses(pod):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        if waiting.get("reason", _STARTING[0]) not in _STARTING:
            message = termination_message(container) or waiting.get("message") or ""
            return f"{container['name']}: {waiting['reason']}: {message}".rstrip(": ")
        terminated = state.get("terminated") or {}
        if exit_code := terminated.get("exitCode", 0):
            ending = ", ".join(filter(None, [terminated.get("reason"), f"exit code {exit_code}"]))
            return f"{container['name']}: {ending}: {termination_message(container)}".rstrip(": ")
    return None


def _explanation(reported: Object) -> str:
    return str(reported.get("message") or reported.get("reason") or "no reason given")
