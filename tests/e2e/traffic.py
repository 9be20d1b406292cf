# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Steady questions from inside the cluster while something is changed, and the count of what was lost.

The questions come from a pod (`client.py`); here it is told what to ask, when a phase begins, and when to
stop. A report with too few answers proves nothing and fails.
"""

import base64
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.kube import SECURITY, Namespace, is_ready
from tests.e2e.model import Question
from tests.e2e.release import SECRET, Release
from tests.e2e.target import Target

POD = "client"
PROGRAM = Path(__file__).with_name("client.py")
CLIENTS = ("gateway", "clusterip_new", "clusterip_keepalive", "grpc_channel")
RATE = 20.0
"""Requests a second of each client, unless a scenario says otherwise."""


class ClientPod:
    """The pod that clients run in: the serving image, asleep.

    Args:
        namespace: where it is.
        target: the cluster under test.
        gateway: the Gateway's address.
    """

    def __init__(self, namespace: Namespace, target: Target, gateway: str) -> None:
        self.namespace = namespace
        self.gateway = gateway
        self._image = ":".join(target.image("serving"))
        self._endpoint = target.s3_from_pods

    def start(self, hostnames: Iterable[str] = ()) -> None:
        """Make it; the names resolve to the Gateway, as they would by DNS elsewhere."""
        program = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": POD},
            "data": {PROGRAM.name: PROGRAM.read_text()},
        }
        container = {
            "name": POD,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", "import signal; signal.sigwait({signal.SIGTERM})"],
            "envFrom": [{"secretRef": {"name": SECRET}}],
            "env": [{"name": "AWS_ENDPOINT_URL", "value": self._endpoint}],
            "resources": {
                "requests": {"cpu": "50m", "memory": "64Mi"},
                "limits": {"memory": "1Gi"},
            },
            "securityContext": SECURITY,
            "volumeMounts": [
                {"name": "program", "mountPath": "/program", "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "hostAliases": [{"ip": self.gateway, "hostnames": list(hostnames)}] if hostnames else [],
                "containers": [container],
                "volumes": [
                    {"name": "program", "configMap": {"name": POD}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            },
        }
        self.namespace.apply(program, pod)

    def wait(self) -> None:
        """Wait until it runs."""
        self.namespace.wait("the client pod", self._missing, timeout=60)

    def _missing(self) -> str | None:
        return None if is_ready(self.namespace.get(f"pod/{POD}")) else "not ready"

    def run(self, *argv: str) -> str:
        """Run a command in it."""
        return self.namespace.execute(POD, *argv)


@dataclass(frozen=True)
class Report:
    """What the clients saw, by client."""

    clients: Mapping[str, Mapping[str, Any]]

    def assert_nothing_lost(self, *, at_least: int, clients: Iterable[str] | None = None) -> None:
        """Fail if an answer was lost, or if there were too few to tell."""
        for name in clients or self.clients:
            seen = self.clients[name]
            assert seen["answered"] >= at_least, f"{name} had {seen['answered']} answers, too few to tell"
            assert seen["lost"] == 0, f"{name} lost {seen['lost']} of {seen['sent']}: {seen['losses']}"
            assert seen["sent"] == seen["answered"], f"{name} asked {seen['sent']}: {seen}"

    def versions(self, client: str, phase: str) -> dict[str, int]:
        """Count a client's answers of a phase by model version."""
        return dict(self.clients[client]["versions"].get(phase, {}))

    def evidence(self) -> dict[str, Any]:
        """Give the counts."""
        return {
            name: {
                key: seen[key]
                for key in ("sent", "answered", "lost", "repeated", "p50_ms", "p99_ms", "max_ms")
            }
            for name, seen in self.clients.items()
        }


class Traffic:
    """A context in which the clients ask; its report is there when it has ended.

    Args:
        pod: where the clients run.
        release: what they ask.
        question: what they ask it, and the right answers.
        rates: requests a second by client; all four at the usual rate by default.
    """

    def __init__(
        self, pod: ClientPod, release: Release, question: Question, rates: Mapping[str, float] | None = None
    ) -> None:
        self._pod = pod
        rates = rates or dict.fromkeys(CLIENTS, RATE)
        kinds = addresses(release, pod.gateway)
        self._plan = question.plan() | {
            "path": f"/v2/models/{release.recorded()['model']['uri'].rpartition('/')[2]}/infer",
            "clients": {name: kinds[name] | {"rate": rate} for name, rate in rates.items()},
        }
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._report: Report | None = None
        self.losses: list[dict[str, Any]] = []
        """Lost requests so far."""

    @property
    def report(self) -> Report:
        """What was seen, once it is over."""
        assert self._report is not None, "the clients gave no report"
        return self._report

    def __enter__(self) -> "Traffic":
        plan = base64.b64encode(json.dumps(self._plan).encode()).decode()
        command = ["kubectl", "exec", "--stdin", f"--namespace={self._pod.namespace.name}", POD, "--"]
        self._process = subprocess.Popen(
            [*command, "python", f"/program/{PROGRAM.name}", plan],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A machine that is busy for a second must not end the stream, as the pings of websockets do.
            env={**os.environ, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"},
        )
        threading.Thread(target=self._follow, daemon=True).start()
        try:
            self._expect("started", timeout=90)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stdin().close()
            event = self._expect("report", timeout=60)
            self._report = Report(event["clients"])
        finally:
            self._end()

    def phase(self, name: str) -> Mapping[str, Mapping[str, dict[str, int]]]:
        """Name what happens from now on; answers are counted by phase.

        Returns:
            The answers until now, by client, phase and model version.
        """
        print(name, file=self._stdin(), flush=True)
        versions: Mapping[str, Mapping[str, dict[str, int]]] = self._expect("phase", timeout=30)["versions"]
        return versions

    def go_on(self, seconds: float) -> None:
        """Let the clients ask for a while."""
        time.sleep(seconds)

    def _stdin(self) -> Any:
        assert self._process is not None
        return self._process.stdin

    def _follow(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "lost":
                self.losses.append(event)
            else:
                self._events.put(event)
        self._events.put(None)

    def _expect(self, kind: str, timeout: float) -> dict[str, Any]:
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(
                f"the clients said nothing for {timeout:g} s where '{kind}' was due"
            ) from None
        if event is None:
            assert self._process is not None
            assert self._process.stderr is not None
            raise AssertionError(f"the clients ended: {self._process.stderr.read()[-3000:]}")
        assert event["event"] == kind, event
        return event

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


def addresses(release: Release, gateway: str) -> dict[str, dict[str, Any]]:
    """Tell how each kind of client reaches a release."""
    service = release.service
    inside = {"kind": "http", "host": service, "port": 80, "authority": service}
    return {
        "gateway": {
            "kind": "http",
            "host": gateway,
            "port": 80,
            "authority": release.hostname,
            "keep": True,
            "repeat": False,
        },
        "clusterip_new": inside | {"keep": False, "repeat": False},
        "clusterip_keepalive": inside | {"keep": True, "repeat": True},
        "grpc_channel": {"kind": "grpc", "host": service, "port": 8081},
    }
