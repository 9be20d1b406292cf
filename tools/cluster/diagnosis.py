# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Say why the cluster did not come up: dead processes, pods that are not ready, events, and the
lines.

It only reads, and it says what it could not read instead of failing: it runs when something is already
wrong.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .command import last_lines
from .errors import ClusterError
from .kubectl import Kubectl
from .layout import Layout
from .process import is_alive
from .readiness import pod_problem
from .state import StartedProcess

EVENTS_SHOWN = 15


def dead_process(processes: Iterable[StartedProcess], layout: Layout) -> str | None:
    """Find a process of the node that has ended by itself, with its last words."""
    for process in processes:
        if not is_alive(process):
            return f"{process.name} has ended:\n{log_end(layout.logs / f'{process.name}.log')}"
    return None


def log_end(path: Path, lines: int = 20) -> str:
    """Read the last lines of a log, if there is one."""
    try:
        return last_lines(path.read_text(errors="replace"), lines)
    except FileNotFoundError:
        return f"(no log at {path.name})"


def warnings(events: list[dict[str, Any]]) -> list[str]:
    """Write the latest warnings, one line each."""
    bad = [event for event in events if event.get("type") == "Warning"]
    bad.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    lines = []
    for event in bad[-EVENTS_SHOWN:]:
        about = event["involvedObject"]
        name = f"{about.get('namespace', '-')}/{about['kind']}/{about['name']}"
        lines.append(f"{name}: {event.get('reason')}: {event.get('message')}")
    return lines


def report(processes: Iterable[StartedProcess], layout: Layout, kubectl: Kubectl | None) -> str:
    """Gather what explains a failure."""
    parts = []
    dead = dead_process(processes, layout)
    if dead:
        parts.append(dead)
    if kubectl is not None:
        try:
            parts.extend(_from_the_api(kubectl))
        except ClusterError as error:
            parts.append(f"The API server does not answer: {error}")
            parts.append(f"kube-apiserver's log ends:\n{log_end(layout.logs / 'kube-apiserver.log')}")
    return "\n\n".join(parts)


def _from_the_api(kubectl: Kubectl) -> list[str]:
    parts = []
    for pod in kubectl.get("pods", "--all-namespaces")["items"]:
        problem = pod_problem(pod)
        if problem is None:
            continue
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        parts.append(f"pod {namespace}/{name} is not ready: {problem}")
        try:
            logs = kubectl.run("logs", "-n", namespace, name, "--all-containers", "--tail=15")
        except ClusterError:
            continue  # it never started; the events say why
        if logs.strip():
            parts.append(f"its log ends:\n{logs.rstrip()}")
    events = warnings(kubectl.get("events", "--all-namespaces")["items"])
    if events:
        parts.append("the latest warnings:\n" + "\n".join(events))
    return parts
