# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Constant traffic from inside the cluster during a scenario, and the count of lost requests.

The program `client.py` sends the requests from a pod. This module starts it, names the phases and stops it. A
report with too few successful responses proves nothing, so it fails the scenario.
"""

import base64
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.idle_pod import idle_pod, wait_until_ready
from tests.e2e.kube import Namespace
from tests.e2e.model import GoldenRequest
from tests.e2e.release import Release
from tests.e2e.target import Target

ROOT = Path(__file__).parents[2]
POD = "client"
PROGRAM = "tests.e2e.client"
PROGRAM_FILES = (
    "tests/__init__.py",
    "tests/support/__init__.py",
    "tests/support/http_client.py",
    "tests/e2e/__init__.py",
    "tests/e2e/client.py",
)
"""The program's module, with the modules of this repository that it imports and that the image lacks."""
MOUNT_PATH = "/program"
CLIENTS = ("gateway", "clusterip_new", "clusterip_keepalive", "grpc_channel")
RATE = 20.0
"""Requests per second of each client, unless a scenario sets another rate."""


class ClientPod:
    """An idle pod of the serving image, in which the clients run.

    Args:
        namespace: The pod's namespace.
        target: The cluster under test.
        gateway: The Gateway's address.
    """

    def __init__(self, namespace: Namespace, target: Target, gateway: str) -> None:
        self.namespace = namespace
        self.gateway = gateway
        self._image = ":".join(target.image("serving"))
        self._endpoint = target.s3_from_pods

    def start(self, hostnames: Iterable[str] = ()) -> None:
        """Create the pod; in it the hostnames resolve to the Gateway, as DNS would resolve them."""
        program = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": POD},
            "data": {config_key(file): (ROOT / file).read_text() for file in PROGRAM_FILES},
        }
        items = [{"key": config_key(file), "path": file} for file in PROGRAM_FILES]
        pod = idle_pod(
            POD,
            self._image,
            requests={"cpu": "50m", "memory": "64Mi"},
            environment={"AWS_ENDPOINT_URL": self._endpoint, "PYTHONPATH": MOUNT_PATH},
            volumes={MOUNT_PATH.strip("/"): {"configMap": {"name": POD, "items": items}}},
        )
        pod["spec"]["hostAliases"] = [{"ip": self.gateway, "hostnames": list(hostnames)}] if hostnames else []
        self.namespace.apply(program, pod)

    def wait(self) -> None:
        """Wait until the pod is ready."""
        wait_until_ready(self.namespace, POD)

    def run(self, *argv: str) -> str:
        """Run a command in the pod and return its standard output."""
        return self.namespace.execute(POD, *argv)


def config_key(file: str) -> str:
    """Return a file's key in the ConfigMap, whose keys cannot contain slashes."""
    return file.replace("/", ".")


@dataclass(frozen=True)
class Report:
    """The clients' counts, by client."""

    clients: Mapping[str, Mapping[str, Any]]

    def assert_nothing_lost(self, *, at_least: int, clients: Iterable[str] | None = None) -> None:
        """Assert that no request was lost, and that enough succeeded to prove it.

        Args:
            at_least: The smallest number of successful responses per client.
            clients: The clients to assert it of; all by default.
        """
        for name in clients or self.clients:
            stats = self.clients[name]
            assert stats["succeeded"] >= at_least, (
                f"{name}: expected at least {at_least} successful responses, received {stats['succeeded']}"
            )
            assert stats["lost"] == 0, f"{name} lost {stats['lost']} of {stats['sent']}: {stats['losses']}"
            assert stats["sent"] == stats["succeeded"], f"{name} sent {stats['sent']}: {stats}"

    def versions(self, client: str, phase: str) -> dict[str, int]:
        """Return the number of a client's successful responses in a phase by model version."""
        return dict(self.clients[client]["versions"].get(phase, {}))

    def evidence(self) -> dict[str, Any]:
        """Return the counts and latencies for the summary."""
        return {
            name: {
                key: stats[key]
                for key in ("sent", "succeeded", "lost", "retried", "p50_ms", "p99_ms", "max_ms")
            }
            for name, stats in self.clients.items()
        }


class Traffic:
    """A context in which the clients send requests; the report exists after its end.

    Args:
        pod: The clients' pod.
        release: The release under test.
        request: The request, with its golden labels.
        rates: Requests per second by client; all four at :data:`RATE` by default.
        service: The Service of the clients without the Gateway; KServe's by default.
    """

    def __init__(
        self,
        pod: ClientPod,
        release: Release,
        request: GoldenRequest,
        rates: Mapping[str, float] | None = None,
        service: str | None = None,
    ) -> None:
        self._pod = pod
        rates = rates or dict.fromkeys(CLIENTS, RATE)
        settings = client_settings(release, pod.gateway, service or release.service)
        model = release.recorded_values()["model"]["uri"].rpartition("/")[2]
        self._plan = request.plan() | {
            "path": f"/v2/models/{model}/infer",
            "clients": {name: settings[name] | {"rate": rate} for name, rate in rates.items()},
        }
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._report: Report | None = None
        self.losses: list[dict[str, Any]] = []
        """The lost requests so far."""

    @property
    def report(self) -> Report:
        """The clients' counts, after the end of the block."""
        assert self._report is not None, "the clients gave no report"
        return self._report

    def __enter__(self) -> "Traffic":
        plan = base64.b64encode(json.dumps(self._plan).encode()).decode()
        command = ["kubectl", "exec", "--stdin", f"--namespace={self._pod.namespace.name}", POD, "--"]
        self._process = subprocess.Popen(
            [*command, "python", "-m", PROGRAM, plan],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # The pings of websockets would end the stream if the machine is busy for a second.
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
        """Start a phase; responses are counted by phase.

        Returns:
            The number of successful responses so far by client, phase and model version.
        """
        print(name, file=self._stdin(), flush=True)
        versions: Mapping[str, Mapping[str, dict[str, int]]] = self._expect("phase", timeout=30)["versions"]
        return versions

    def run_for(self, seconds: float) -> None:
        """Let the clients send requests for some seconds."""
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
                f"the clients: expected the event '{kind}' within {timeout:g} s, received none"
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


StartTraffic = Callable[..., Traffic]
"""The fixture `start_traffic`: from a release and optional rates to a context with running clients."""


def client_settings(release: Release, gateway: str, service: str) -> dict[str, dict[str, Any]]:
    """Return the address and the connection settings of each client.

    Args:
        release: The release under test.
        gateway: The Gateway's address.
        service: The Service's name in the cluster's DNS.
    """
    cluster_ip = {"kind": "http", "host": service, "port": 80, "authority": service}
    return {
        "gateway": {
            "kind": "http",
            "host": gateway,
            "port": 80,
            "authority": release.hostname,
            "keep_alive": True,
            "retry": False,
        },
        "clusterip_new": cluster_ip | {"keep_alive": False, "retry": False},
        "clusterip_keepalive": cluster_ip | {"keep_alive": True, "retry": True},
        "grpc_channel": {"kind": "grpc", "host": service, "port": 8081},
    }
