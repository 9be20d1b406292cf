# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Render a chart as ``helm upgrade`` does, with Jobs that exist in the cluster.

The API server is a fake that returns Jobs to the template function ``lookup``. The Jobs are those that a real
one would return: with defaults, and with the labels of the Job controller.
"""

import copy
import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python

from tests.charts.chart import Object, Values, load, validated_objects

_KINDS = {
    "kind": "APIResourceList",
    "groupVersion": "batch/v1",
    "resources": [
        {"name": "jobs", "singularName": "job", "kind": "Job", "namespaced": True, "verbs": ["get"]},
    ],
}


def created(job: Object) -> Object:
    """Return a Job as the API server stores it."""
    live = copy.deepcopy(job)
    name = job["metadata"]["name"]
    own = {"controller-uid": "7d3c", "job-name": name}
    labels = live["spec"]["template"]["metadata"].setdefault("labels", {})
    labels.update(own, **{f"batch.kubernetes.io/{key}": value for key, value in own.items()})
    live["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": "7d3c"}}
    live["spec"]["template"]["spec"].update(dnsPolicy="ClusterFirst", schedulerName="default-scheduler")
    for field, default in {"completionMode": "NonIndexed", "completions": 1, "parallelism": 1}.items():
        live["spec"].setdefault(field, default)
    live["status"] = {"active": 1}
    return live


def upgrade(values: Values, chart: str, jobs: Iterable[Object], *, release: str) -> list[Object]:
    """Render the objects of an upgrade while Jobs exist.

    Args:
        values: The values of the upgrade.
        chart: The chart.
        jobs: The Jobs in the cluster.
        release: The release's name.
    """
    existing = {f"/apis/batch/v1/namespaces/models/jobs/{job['metadata']['name']}": job for job in jobs}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = _KINDS if path == "/apis/batch/v1" else existing.get(path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            missing = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": "NotFound",
                "code": 404,
            }
            self.wfile.write(json.dumps(missing if body is None else body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with helm_python.Config(
                kube_apiserver=f"http://127.0.0.1:{http.server_port}", namespace="models"
            ) as config:
                rendered = config.render(
                    load(chart), values, name=release, namespace="models", is_upgrade=True
                )
        finally:
            http.shutdown()
            thread.join()
    return validated_objects(rendered)
