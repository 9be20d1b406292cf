# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The S3 server of the cluster: an address that pods reach, two buckets, and a way to take it away.

It runs on the node, outside Kubernetes, so that stopping it looks to a pod like a store that is down:
connections are refused. Its data outlives a stop and a start, not the cluster.
"""

import sys
from dataclasses import dataclass

from . import network, node, process
from .command import Runner
from .errors import ClusterError
from .layout import Layout
from .progress import Progress
from .state import Record

BUCKETS = ("models", "data")
REGION = "us-east-1"

# Asked by a program of its own, because only that can be put into the namespace.
_QUESTION = """
import http.client, sys
host, port, path = sys.argv[1:]
connection = http.client.HTTPConnection(host, int(port), timeout=2)
connection.request("GET", path)
status = connection.getresponse().status
sys.exit(None if status == 200 else f"it answers with status {status}")
"""


@dataclass(frozen=True)
class S3Access:
    """How to reach the store, the same from a pod and from a program in the node's network namespace."""

    endpoint_from_pods: str
    access_key: str
    secret_key: str
    region: str = REGION
    buckets: tuple[str, ...] = BUCKETS

    def environment(self) -> dict[str, str]:
        """Say it in the variables that S3 clients read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_from_pods,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }


class Store:
    """The S3 server's process.

    Args:
        layout: where its data is.
        record: what knows its id and credentials.
        runner: runs the health question.
        progress: who is told.
    """

    def __init__(self, layout: Layout, record: Record, runner: Runner, progress: Progress) -> None:
        self._layout = layout
        self._record = record
        self._runner = runner
        self._progress = progress

    @property
    def access(self) -> S3Access:
        """How to reach it."""
        state = self._record.state
        endpoint = f"http://{network.NODE_ADDRESS}:{node.STORE_PORT}"
        return S3Access(endpoint, state.access_key, state.secret_key)

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        running = self._record.process("store")
        if running is None or not process.is_alive(running):
            self._record.forget("store")
            for bucket in BUCKETS:
                (self._layout.store / bucket).mkdir(parents=True, exist_ok=True)
            component = node.store(self._layout)
            access = self.access
            process.spawn(
                component.name,
                network.inside(component.argv),
                record=self._record,
                log=self._layout.logs / "store.log",
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "ROOT_ACCESS_KEY": access.access_key,
                    "ROOT_SECRET_KEY": access.secret_key,
                    "VGW_REGION": access.region,
                },
            )
        self._progress.wait("the object store", self.missing, timeout=20, interval=0.2)

    def stop(self) -> None:
        """Stop it; it stays stopped until `start`."""
        running = self._record.process("store")
        if running is not None:
            process.stop([running], grace=2)
            self._record.forget("store")
        self._progress.say("the object store is stopped")

    def missing(self) -> str | None:
        """Tell what it lacks to answer."""
        where = [network.NODE_ADDRESS, str(node.STORE_PORT), node.STORE_HEALTH_PATH]
        try:
            self._runner.run(network.inside([sys.executable, "-c", _QUESTION, *where]))
        except ClusterError as error:
            return str(error).splitlines()[-1]
        return None
