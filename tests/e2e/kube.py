# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster through a user's commands: kubectl, helm and tidegate, and waiting for what they tell.

Every wait has a bound and a name. When one is over, or a scenario fails, the message holds what explains it:
the pods' states, the last events and the last log lines.
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

from tests.e2e.ownership import SELECTOR, Object, marked, refuse_strangers
from tools.cluster.readiness import pod_problem

SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the Pod Security Standard "restricted" asks of a container."""


class CommandError(AssertionError):
    """A command failed.

    Args:
        argv: the command.
        code: its exit code.
        said: what it printed, both streams.
    """

    def __init__(self, argv: Sequence[str], code: int, said: str) -> None:
        super().__init__(f"`{' '.join(argv)[:300]}` ended with code {code}:\n{said[-4000:]}")
        self.code = code
        self.said = said


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> str:
    """Run a command and return what it wrote to standard output.

    Raises:
        CommandError: if it failed.
    """
    done = subprocess.run(
        argv,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stdout + done.stderr)
    return done.stdout


def tidegate(*arguments: str, env: Mapping[str, str] | None = None, timeout: float = 400) -> Any:
    """Run the project's own command and return the JSON that it prints."""
    program = str(Path(sys.executable).with_name("tidegate"))
    return json.loads(run([program, *arguments, "--output", "json"], env=env, timeout=timeout))


class Namespace:
    """One namespace of the cluster, in which the Pod Security Standard "restricted" is enforced.

    Args:
        name: its name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self, *, enforce: str = "restricted") -> None:
        """Make it, after one of the name that an earlier run left has gone.

        Raises:
            AssertionError: if there is one of the name that no run made.
        """
        there = self.find(f"namespace/{self.name}")
        refuse_strangers([there] if there else [])
        self._remove("--timeout=120s")
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.name, "labels": {"pod-security.kubernetes.io/enforce": enforce}},
        }
        self.apply(marked(namespace))

    def delete(self) -> None:
        """Remove it with all that is in it, without waiting for the end."""
        self.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        self._remove("--wait=false")

    def _remove(self, *options: str) -> None:
        """Remove the namespace if it is one of ours; the API server holds name and label together."""
        name = f"--field-selector=metadata.name={self.name}"
        run(["kubectl", "delete", "namespaces", name, f"--selector={SELECTOR}", *options])

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl in this namespace."""
        return run(["kubectl", f"--namespace={self.name}", *arguments], stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, timeout: float = 300) -> str:
        """Run helm in this namespace."""
        return run(["helm", *arguments, f"--namespace={self.name}"], timeout=timeout)

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        run(
            ["kubectl", "apply", "--server-side", f"--namespace={self.name}", "-f", "-"],
            stdin=json.dumps(items),
        )

    def get(self, what: str, *arguments: str) -> Object:
        """Read an object, or a List of them."""
        answer: Object = json.loads(self.kubectl("get", what, *arguments, "--output=json"))
        return answer

    def find(self, what: str) -> Object | None:
        """Read an object, or None if it is not there."""
        text = self.kubectl("get", what, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def pods(self, selector: str) -> list[Object]:
        """Read pods by a label selector."""
        items: list[Object] = self.get("pods", f"--selector={selector}")["items"]
        return items

    def execute(self, pod: str, *argv: str, container: str | None = None, timeout: float = 120) -> str:
        """Run a command in a pod and return what it printed."""
        where = [pod, *([f"--container={container}"] if container else [])]
        return self.kubectl("exec", *where, "--", *argv, timeout=timeout)

    def logs(self, pod: str, *arguments: str) -> str:
        """Read a pod's log."""
        return self.kubectl("logs", pod, *arguments)

    def get_from_pod(self, pod: str, path: str, port: int = 8080) -> str:
        """Read a path of a pod's HTTP server through the API server, which works on every cluster."""
        return run(
            ["kubectl", "get", "--raw", f"/api/v1/namespaces/{self.name}/pods/{pod}:{port}/proxy{path}"]
        )

    def wait(
        self, what: str, probe: Callable[[], str | None], *, timeout: float, interval: float = 0.5
    ) -> float:
        """Ask a probe again and again until it says that nothing is missing, and return how long it took.

        Args:
            what: the thing waited for, as a noun phrase.
            probe: tells what is still missing, or None. A command of it that fails is looked at again.
            timeout: seconds.
            interval: seconds between two looks.

        Raises:
            AssertionError: if the time is up; it holds what explains it.
        """
        began = time.monotonic()
        while (missing := _answer(probe)) is not None:
            waited = time.monotonic() - began
            if waited > timeout:
                raise AssertionError(f"Waited {waited:.0f} s for {what}: {missing}\n\n{self.explain()}")
            time.sleep(interval)
        return time.monotonic() - began

    def explain(self) -> str:
        """Tell what goes on here: the pods and why they are not ready, the last events and log lines."""
        lines = [f"In the namespace {self.name}:"]
        try:
            for pod in self.get("pods")["items"]:
                name, problem = pod["metadata"]["name"], pod_problem(pod)
                lines.append(f"  pod {name}: {problem or 'well'}")
                if problem:
                    log = self.kubectl(
                        "logs", name, "--all-containers", "--ignore-errors", "--tail=8", "--prefix"
                    ).splitlines()
                    lines += [f"    {line}" for line in log]
            events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", "--no-headers").splitlines()
            lines += [f"  event {line}" for line in events[-12:]]
        except (AssertionError, subprocess.TimeoutExpired) as error:
            lines.append(f"  and no more can be told: {error}")
        return "\n".join(lines)


def _answer(probe: Callable[[], str | None]) -> str | None:
    try:
        return probe()
    except CommandError as error:
        return str(error)


def commands(notes: str) -> list[list[str]]:
    """Read the commands for kubectl from a chart's notes, in their order, as a shell would.

    >>> commands("To wait:\\n\\n     kubectl wait --for='condition=ready' pod\\n")
    [['kubectl', 'wait', '--for=condition=ready', 'pod']]
    """
    lines = (line.strip() for line in notes.splitlines() if line.startswith("     kubectl "))
    return [shlex.split(line) for line in lines]


def condition(thing: Object, kind: str) -> Object:
    """Read a condition of an object; empty if it is not there."""
    conditions: list[Object] = thing.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {})


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready and stays."""
    return condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def said(pod: Object) -> str:
    """Everything that a pod's ended containers gave as the reason, as its status holds it."""
    status = pod.get("status", {})
    ends = [
        state["terminated"].get("message", "")
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        for state in (container.get("lastState", {}), container.get("state", {}))
        if "terminated" in state
    ]
    return "\n".join(ends)
