# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster through a user's commands: kubectl, helm and tidegate, and waits for conditions.

Each wait has a description and a limit. If a wait or a scenario fails, the message contains the pods' states,
the last events and the last log lines.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.ownership import SELECTOR, add_label, reject_foreign_objects
from tests.e2e.ownership import Object as Object
from tidegate.kubernetes.pods import container_statuses, terminated_states, unready_reason

TIDEGATE = str(Path(sys.executable).with_name("tidegate"))
SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A container's security context that the Pod Security Standard "restricted" allows."""


class CommandError(AssertionError):
    """Error of a command that failed.

    Args:
        argv: The command.
        code: Its exit code.
        output: Its standard output and standard error.
    """

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"`{' '.join(argv)[:300]}` ended with code {code}:\n{output[-4000:]}")
        self.code = code
        self.output = output

    @property
    def last_line(self) -> str:
        """The last line of the output, which holds the reason."""
        return self.output.strip().splitlines()[-1]


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> str:
    """Run a command and return its standard output.

    Args:
        argv: The command.
        stdin: The text for standard input; none by default.
        env: Variables in addition to this process's own environment.
        timeout: Seconds.

    Raises:
        CommandError: If the command fails.
    """
    completed = subprocess.run(
        argv,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=timeout,
        check=False,
    )
    if completed.returncode != 0:
        raise CommandError(argv, completed.returncode, completed.stdout + completed.stderr)
    return completed.stdout


def tidegate(*arguments: str, env: Mapping[str, str] | None = None, timeout: float = 400) -> Any:
    """Run the `tidegate` command and return its JSON output."""
    return json.loads(run([TIDEGATE, *arguments, "--output", "json"], env=env, timeout=timeout))


class Namespace:
    """A namespace of the cluster, which enforces the Pod Security Standard "restricted".

    Args:
        name: The namespace's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self, *, enforce: str = "restricted") -> None:
        """Create the namespace, after removing that of an earlier run.

        Raises:
            AssertionError: If a namespace of this name exists that no run has created.
        """
        existing = self.find(f"namespace/{self.name}")
        reject_foreign_objects([existing] if existing else [])
        self._remove("--timeout=120s")
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.name, "labels": {"pod-security.kubernetes.io/enforce": enforce}},
        }
        self.apply(add_label(namespace))

    def delete(self) -> None:
        """Delete the namespace with all its objects, without waiting for the end."""
        self.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        self._remove("--wait=false")

    def _remove(self, *options: str) -> None:
        """Delete the namespace only if it has both the name and the label."""
        name = f"--field-selector=metadata.name={self.name}"
        run(["kubectl", "delete", "namespaces", name, f"--selector={SELECTOR}", *options])

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl in this namespace."""
        return run(["kubectl", f"--namespace={self.name}", *arguments], stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run helm in this namespace."""
        return run(["helm", *arguments, f"--namespace={self.name}"], stdin=stdin, timeout=timeout)

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        run(
            ["kubectl", "apply", "--server-side", f"--namespace={self.name}", "-f", "-"],
            stdin=json.dumps(items),
        )

    def get(self, resource: str, *arguments: str) -> Object:
        """Return an object by kind and name, or a List of objects by kind."""
        document: Object = json.loads(self.kubectl("get", resource, *arguments, "--output=json"))
        return document

    def find(self, resource: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        text = self.kubectl("get", resource, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def pods(self, selector: str) -> list[Object]:
        """Return pods by a label selector."""
        items: list[Object] = self.get("pods", f"--selector={selector}")["items"]
        return items

    def execute(self, pod: str, *argv: str, container: str | None = None, timeout: float = 120) -> str:
        """Run a command in a pod and return its standard output."""
        selection = [pod, *([f"--container={container}"] if container else [])]
        return self.kubectl("exec", *selection, "--", *argv, timeout=timeout)

    def logs(self, pod: str, *arguments: str) -> str:
        """Return a pod's log."""
        return self.kubectl("logs", pod, *arguments)

    def get_from_pod(self, pod: str, path: str, port: int = 8080) -> str:
        """Return a path of a pod's HTTP server, through the API server's proxy."""
        return run(
            ["kubectl", "get", "--raw", f"/api/v1/namespaces/{self.name}/pods/{pod}:{port}/proxy{path}"]
        )

    def wait(
        self, description: str, probe: Callable[[], str | None], *, timeout: float, interval: float = 0.5
    ) -> float:
        """Call a probe until it returns None.

        Args:
            description: The awaited condition, as a noun phrase.
            probe: Returns the reason why the condition is not met, or None; a failed command counts as a
                reason.
            timeout: The limit in seconds.
            interval: The seconds between two calls.

        Returns:
            The seconds until the condition was met.

        Raises:
            AssertionError: If the time is up; the message explains the state of the namespace.
        """
        started = time.monotonic()
        while (reason := _call(probe)) is not None:
            waited = time.monotonic() - started
            if waited > timeout:
                raise AssertionError(f"Waited {waited:.0f} s for {description}: {reason}\n\n{self.explain()}")
            time.sleep(interval)
        return time.monotonic() - started

    def explain(self) -> str:
        """Describe the namespace: why its pods are not ready, the last log lines and the last events."""
        lines = [f"In the namespace {self.name}:"]
        try:
            for pod in self.get("pods")["items"]:
                name, reason = pod["metadata"]["name"], unready_reason(pod)
                lines.append(f"  pod {name}: {reason or 'ready'}")
                if reason:
                    log = self.kubectl(
                        "logs", name, "--all-containers", "--ignore-errors", "--tail=8", "--prefix"
                    ).splitlines()
                    lines += [f"    {line}" for line in log]
            events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", "--no-headers").splitlines()
            lines += [f"  event {line}" for line in events[-12:]]
        except (AssertionError, subprocess.TimeoutExpired) as error:
            lines.append(f"  the rest cannot be read: {error}")
        return "\n".join(lines)


def _call(probe: Callable[[], str | None]) -> str | None:
    try:
        return probe()
    except CommandError as error:
        return str(error)


def commands(notes: str) -> list[list[str]]:
    """Parse the kubectl commands in a chart's notes, in their order, as a shell does.

    >>> commands("To wait:\\n\\n     kubectl wait --for='condition=ready' pod\\n")
    [['kubectl', 'wait', '--for=condition=ready', 'pod']]
    """
    lines = (line.strip() for line in notes.splitlines() if line.startswith("     kubectl "))
    return [shlex.split(line) for line in lines]


def termination_messages(pod: Object) -> str:
    """Return the termination messages of all ended containers of a pod."""
    states = [state for container in container_statuses(pod) for state in terminated_states(container)]
    return "\n".join(state.get("message", "") for state in states)


def last_termination_message(pod: Object) -> str:
    """Return the last line of a pod's termination messages."""
    return termination_messages(pod).strip().splitlines()[-1]
