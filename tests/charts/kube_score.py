# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The linter kube-score, and its findings in rendered objects.

It knows no controllers, so it receives what they make of the objects. ``make kube-score`` builds it, and
``make test`` uses it if it is built.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.charts.chart import Object
from tests.charts.live import created
from tools.cluster.toolchain import ToolSet

KUBE_SCORE = ToolSet("kube-score", "github.com/zegl/kube-score", "20 s")
_PASSED = 10
_KUBERNETES = "v1.30"
"""The oldest supported version: the newest APIs that kube-score may require."""


@dataclass(frozen=True, order=True)
class Finding:
    """A check that an object fails."""

    check: str
    target: str
    comment: str


def find_faults(command: Path, objects: list[Object]) -> set[Finding]:
    """Return what kube-score finds in objects, with all its checks."""
    documents = [part for item in objects for part in as_deployed(item)]
    completed = subprocess.run(
        [
            command,
            "score",
            "--all-default-optional",
            f"--kubernetes-version={_KUBERNETES}",
            "-o",
            "json",
            "-",
        ],
        input="\n---\n".join(map(json.dumps, documents)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode in (0, 1), completed.stderr
    return {
        Finding(check["check"]["id"], scored["object_name"], comment["summary"])
        for scored in json.loads(completed.stdout) or []
        for check in scored["checks"]
        if not check["skipped"] and check["grade"] < _PASSED
        for comment in check["comments"] or [{"summary": ""}]
    }


def as_deployed(item: Object) -> Iterator[Object]:
    """Yield an object as controllers see it: KServe makes a Deployment, and Jobs label their pods."""
    if item["kind"] != "InferenceService":
        yield created(item) if item["kind"] == "Job" else item
        return
    metadata, predictor = item["metadata"], item["spec"]["predictor"]
    name = f"{metadata['name']}-predictor"
    selector = {"app": f"isvc.{name}"}
    labels = {
        **metadata["labels"],
        **predictor.get("labels", {}),
        "serving.kserve.io/inferenceservice": metadata["name"],
        **selector,
    }
    own = {"name": name, "namespace": metadata.get("namespace", "models"), "labels": labels}
    settings = ("labels", "annotations", "minReplicas", "maxReplicas", "deploymentStrategy")
    pod = {key: value for key, value in predictor.items() if key not in settings}
    spec: Object = {
        "selector": {"matchLabels": selector},
        "strategy": predictor["deploymentStrategy"],
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if "minReplicas" in predictor:
        spec["replicas"] = predictor["minReplicas"]
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own, "spec": spec}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": own,
        "spec": {"type": "ClusterIP", "selector": selector, "ports": ports},
    }
