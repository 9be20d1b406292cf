# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A receiver of Alertmanager's webhooks in a pod, which logs each alert."""

import json
from typing import Any

from tests.e2e.idle_pod import idle_pod, wait_until_ready
from tests.e2e.kube import Namespace
from tests.e2e.target import Target

NAME = "receiver"
PORT = 9095
PROGRAM = f"""
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode().strip(), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""
"""A program that prints the body of each webhook, one JSON document per line."""


class AlertReceiver:
    """A webhook receiver and an AlertmanagerConfig that routes the alerts of its namespace to it.

    The Prometheus operator adds the namespace of an AlertmanagerConfig to its route as a matcher. Only alerts
    with this label `namespace` arrive.

    Args:
        namespace: The pod's namespace.
        target: The cluster under test.
    """

    def __init__(self, namespace: Namespace, target: Target) -> None:
        self._namespace = namespace
        self._image = ":".join(target.image("serving"))

    def start(self) -> None:
        """Create the pod, its Service and the AlertmanagerConfig, and wait until the pod is ready."""
        pod = idle_pod(
            NAME, self._image, requests={"cpu": "10m", "memory": "32Mi"}, environment={}, volumes={}
        )
        pod["metadata"]["labels"] = {"app": NAME}
        container = pod["spec"]["containers"][0]
        container["command"] = ["python", "-c", PROGRAM]
        container["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
        }
        url = f"http://{NAME}.{self._namespace.name}:{PORT}/"
        route = {
            "receiver": NAME,
            "groupBy": ["..."],
            "groupWait": "1s",
            "groupInterval": "5s",
            "repeatInterval": "1h",
        }
        config = {
            "apiVersion": "monitoring.coreos.com/v1alpha1",
            "kind": "AlertmanagerConfig",
            "metadata": {"name": NAME},
            "spec": {
                "route": route,
                "receivers": [{"name": NAME, "webhookConfigs": [{"url": url, "sendResolved": False}]}],
            },
        }
        self._namespace.apply(pod, service, config)
        wait_until_ready(self._namespace, NAME)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that have arrived, in their order."""
        documents = map(json.loads, self._namespace.logs(NAME).splitlines())
        return [alert for document in documents for alert in document["alerts"]]
