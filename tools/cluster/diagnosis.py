# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Explain why the cluster did not come up: ended processes, unready pods, their logs, and warning events.

It only reads. An object that cannot be read becomes part of the explanation, because this runs after a
failure.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tidegate.kubernetes.pods import unready_reason

from .command import last_lines
from .errors import ClusterError
from .kubectl import Kubectl
from .layout import Layout
from .process import is_alive
from .state import StartedProcess

EVENTS_SHOWN = 15


def ended_process(processes: Iterable[StartedProcess], layout: Layout) -> str | None:
    """Return the name and the last log lines of the first process that has ended; None if all run."""
    for process in processes:
        if not is_alive(process):
            return f"{process.name} has ended:\n{log_end(layout.logs / f'{process.name}.log')}"
    return None


def log_end(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log file, or a note that the file is missing."""
    try:
        return last_lines(path.read_text(errors="replace"), lines)
    except FileNotFoundError:
        return f"(no log at {path.name})"


def warnings(events: list[dict[str, Any]]) -> list[str]:
    """Return the latest warning events, one line per event."""
    selected = [event for event in events if event.get("type") == "Warning"]
    selected.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    lines = []
    for event in selected[-EVENTS_SHOWN:]:
        involved = event["involvedObject"]
        name = f"{involved.get('namespace', '-')}/{involved['kind']}/{involved['name']}"
        lines.append(f"{name}: {event.get('reason')}: {event.get('message')}")
    return lines


def report(processes: Iterable[StartedProcess], layout: Layout, kubectl: Kubectl | None) -> str:
    """Explain a failed start.

    Args:
        processes: The processes of the node.
        layout: The paths of their logs.
        kubectl: The client for pods and events; None if there is no API server yet.

    Returns:
        Paragraphs, separated by empty lines.
    """
    paragraphs = []
    ended = ended_process(processes, layout)
    if ended:
        paragraphs.append(ended)
    if kubectl is not None:
        try:
            paragraphs.extend(_pods_and_events(kubectl))
        except ClusterError as error:
            paragraphs.append(f"The API server does not respond: {error}")
            paragraphs.append(f"kube-apiserver's log ends:\n{log_end(layout.logs / 'kube-apiserver.log')}")
    return "\n\n".join(paragraphs)


def _pods_and_events(kubectl: Kubectl) -> list[str]:
    paragraphs = []
    for pod in kubectl.get("pods", "--all-namespaces")["items"]:
        reason = unready_reason(pod)
        if reason is None:
            continue
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        paragraphs.append(f"pod {namespace}/{name} is not ready: {reason}")
        try:
            logs = kubectl.run("logs", "-n", namespace, name, "--all-containers", "--tail=15")
        except ClusterError:
            continue  # the pod has not started; the events hold the reason
        if logs.strip():
            paragraphs.append(f"its log ends:\n{logs.rstrip()}")
    events = warnings(kubectl.get("events", "--all-namespaces")["items"])
    if events:
        paragraphs.append("the latest warnings:\n" + "\n".join(events))
    return paragraphs
