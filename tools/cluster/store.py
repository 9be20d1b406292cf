# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The S3 server of the cluster, with two buckets; tests can stop and start it.

It runs on the node, outside Kubernetes. After a stop, a pod sees an unavailable store: connection refused.
The data survives a stop and a start, but not the end of the cluster.
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

# A program of its own, because only a process can enter the network namespace.
_HEALTH_CHECK = """
import http.client, sys
host, port, path = sys.argv[1:]
connection = http.client.HTTPConnection(host, int(port), timeout=2)
connection.request("GET", path)
status = connection.getresponse().status
sys.exit(None if status == 200 else f"status {status}")
"""


@dataclass(frozen=True)
class S3Access:
    """Address and credentials of the store, for pods and for programs in the node's network namespace."""

    endpoint_from_pods: str
    access_key: str
    secret_key: str
    region: str = REGION
    buckets: tuple[str, ...] = BUCKETS

    def environment(self) -> dict[str, str]:
        """Return the environment variables for S3 clients."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_from_pods,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }


class Store:
    """The S3 server's process.

    Args:
        layout: The paths of its data and its log.
        record: The record of its process and its credentials.
        runner: Runs the health check.
        progress: Reports waits and stops.
    """

    def __init__(self, layout: Layout, record: Record, runner: Runner, progress: Progress) -> None:
        self._layout = layout
        self._record = record
        self._runner = runner
        self._progress = progress

    @property
    def access(self) -> S3Access:
        """The store's address and credentials."""
        state = self._record.state
        endpoint = f"http://{network.NODE_ADDRESS}:{node.STORE_PORT}"
        return S3Access(endpoint, state.access_key, state.secret_key)

    def start(self) -> None:
        """Start the server unless it runs, and wait until it responds."""
        for bucket in BUCKETS:
            (self._layout.store / bucket).mkdir(parents=True, exist_ok=True)
        access = self.access
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT_ACCESS_KEY": access.access_key,
            "ROOT_SECRET_KEY": access.secret_key,
            "VGW_REGION": access.region,
        }
        node.start(node.store(self._layout), self._layout, self._record, environment)
        self._progress.wait("the object store", self.missing, timeout=20, interval=0.2)

    def stop(self) -> None:
        """Stop the server until `start`."""
        running = self._record.process("store")
        if running is not None:
            process.stop([running], grace=2)
            self._record.forget("store")
        self._progress.log("the object store is stopped")

    def missing(self) -> str | None:
        """Return the reason why the server does not respond; None if it does."""
        address = [network.NODE_ADDRESS, str(node.STORE_PORT), node.STORE_HEALTH_PATH]
        try:
            self._runner.run(network.in_namespace([sys.executable, "-c", _HEALTH_CHECK, *address]))
        except ClusterError as error:
            return str(error).splitlines()[-1]
        return None
