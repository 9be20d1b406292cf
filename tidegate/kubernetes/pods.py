# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What pods say of themselves: why they do not run, and how their containers ended.

Pure functions on objects as the cluster gives them; reading the cluster is :mod:`tidegate.kubernetes.client`'s part.
"""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as JSON has it."""

_STARTING = ("PodInitializing", "ContainerCreating")


def trouble(pod: Object) -> str:
    """Why a pod does not run, in its own words; empty if nothing is wrong."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{name} is not scheduled: {condition.get('message', condition.get('reason', ''))}"
    for container in statuses(pod):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason", _STARTING[0]) not in _STARTING:
            said = said_by(container) or waiting.get("message", "")
            return f"{name}: {container['name']}: {waiting['reason']}: {said}".rstrip(": ")
        code = container.get("state", {}).get("terminated", {}).get("exitCode", 0)
        if code != 0:  # between two tries
            return f"{name}: {container['name']}: ended with {code}: {said_by(container)}".rstrip(": ")
    return ""


def statuses(pod: Object) -> list[Object]:
    """The states of a pod's containers, those that initialise it first."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def ends_of(container: Object) -> list[Object]:
    """How a container ended, the time before the last and the last, as far as it did."""
    states = (container.get("lastState", {}), container.get("state", {}))
    return [state["terminated"] for state in states if "terminated" in state]


def said_by(container: Object) -> str:
    """The last line of what a container left as its termination message."""
    lines = [line for end in ends_of(container) for line in end.get("message", "").splitlines()]
    spoken = [line for line in lines if line.strip()]
    return spoken[-1].removeprefix("error: ").strip() if spoken else ""
