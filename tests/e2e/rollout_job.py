# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Job of ``manifests/rollout``, with the cluster's image and the chart of this repository.

The clusters of the scenarios have neither a registry of charts nor an image of Helm. So the chart comes from
a ConfigMap, and the scenario writes its own Helm into the pod, where the manifest copies that of an image.
"""

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.kube import Object, run
from tests.e2e.release import CHART, Release

MANIFESTS = Path("manifests/rollout")
NAME = "rollout"
METRICS_PORT = 8080


class RolloutJob:
    """A rollout that runs in the cluster.

    Args:
        release: The release.
        digest: The new digest.
        policy: The fields of the policy file.
        image: The load-test image.
        scratch: A folder for the chart's archive.
    """

    def __init__(
        self, release: Release, digest: str, policy: Mapping[str, Any], image: str, scratch: Path
    ) -> None:
        self._namespace = release.namespace
        run(["helm", "package", str(CHART), f"--destination={scratch}"])
        [archive] = scratch.glob("*.tgz")
        chart: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "rollout-chart"},
            "binaryData": {archive.name: base64.b64encode(archive.read_bytes()).decode()},
        }
        rendered = list(yaml.safe_load_all(run(["kubectl", "kustomize", str(MANIFESTS)])))
        for item in rendered:
            if item["kind"] == "ConfigMap":
                item["data"] = {"rollout.yaml": yaml.safe_dump(dict(policy))}
            if item["kind"] == "Job":
                spec = item["spec"]["template"]["spec"]
                _change(spec, release.name, digest, f"/chart/{archive.name}", image)
        self._objects = [*rendered, chart]

    def start(self) -> None:
        """Create the objects, and write Helm into the pod."""
        self._namespace.apply(*self._objects)
        self._namespace.wait("the container for Helm", self._unready, timeout=90)
        program = shutil.which("helm")
        assert program is not None
        with Path(program).open("rb") as helm:
            subprocess.run(
                [
                    *("kubectl", "exec", "--stdin", f"--namespace={self._namespace.name}", self._pod()),
                    *("--container=helm", "--", "sh", "-c"),
                    "cat > /helm/part && chmod 755 /helm/part && mv /helm/part /helm/helm",
                ],
                stdin=helm,
                check=True,
                timeout=120,
            )

    def read_metrics(self, line: str) -> str:
        """Return the page of metrics after a line of the progress."""
        self._namespace.wait(
            f"the line {line!r}", lambda: None if line in self._log() else self._log()[-500:], timeout=240
        )
        return self._namespace.get_from_pod(self._pod(), "/metrics", METRICS_PORT)

    def end(self) -> dict[str, Any]:
        """Wait until the Job completes, and return the report's document."""
        self._namespace.wait("the end of the Job", self._incomplete, timeout=300)
        log = self._log()
        document: dict[str, Any] = json.loads(log[log.index("\n{\n") :])
        return document

    def _incomplete(self) -> str | None:
        status = self._namespace.get(f"job/{NAME}")["status"]
        assert not status.get("failed"), self._log()[-3000:]
        return None if status.get("succeeded") else self._log()[-500:]

    def _unready(self) -> str | None:
        statuses = self._namespace.get(f"pod/{self._pod()}")["status"].get("initContainerStatuses", [])
        return None if statuses and "running" in statuses[0]["state"] else "it does not run"

    def _pod(self) -> str:
        pods = self._namespace.pods(f"batch.kubernetes.io/job-name={NAME}")
        return str(pods[-1]["metadata"]["name"]) if pods else "none"

    def _log(self) -> str:
        return self._namespace.logs(self._pod(), f"--container={NAME}")


def _change(spec: Object, release: str, digest: str, chart: str, image: str) -> None:
    """Change the manifest where its comments say so, and its source of Helm and of the chart."""
    [helm], [container] = spec["initContainers"], spec["containers"]
    helm["image"] = container["image"] = image
    helm["command"] = ["sh", "-c", "until [ -x /helm/helm ]; do sleep 0.2; done"]
    command, verb, _, _, *options = container["args"]
    options = [option for option in options if not option.startswith("--chart=")]
    container["args"] = [command, verb, release, digest, *options, f"--chart={chart}", "--output=json"]
    container["volumeMounts"].append({"name": "chart", "mountPath": "/chart", "readOnly": True})
    spec["volumes"].append({"name": "chart", "configMap": {"name": "rollout-chart"}})
