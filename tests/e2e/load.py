# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A load campaign as a Job of the scenario's namespace, without the load-test chart.

`tidegate loadtest run` stores its results, and the scenario reads them from the store. The pod's log is not
their source, because the kubelet can put a line of standard error inside the document.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import obstore

from tests.e2e.kube import SECURITY, Namespace
from tests.e2e.model import Model
from tests.e2e.release import SECRET
from tests.e2e.store import bucket, keys
from tests.e2e.target import Target
from tidegate.kubernetes.pods import unmet_condition

CONFIGURATION = "campaign.yaml"
VERDICT = "verdict.json"


class LoadJob:
    """A campaign against one URL.

    Args:
        name: The Job's name.
        namespace: The Job's namespace.
        target: The cluster under test.
    """

    def __init__(self, name: str, namespace: Namespace, target: Target) -> None:
        self._name = name
        self._namespace = namespace
        self._target = target
        # Unique, because the store of a kept cluster has the results of earlier runs.
        self._prefix = f"{namespace.name}/{name}-{uuid4().hex}"

    def start(self, campaign: Mapping[str, Any], model: Model, url: str) -> None:
        """Create the Job.

        Args:
            campaign: The campaign.
            model: The served model.
            url: The server's URL.
        """
        container = {
            "name": "loadtest",
            "image": self._target.images["loadtest"],
            "imagePullPolicy": "IfNotPresent",
            "args": [
                *("loadtest", "run", f"/campaign/{CONFIGURATION}", "--url", url),
                *("--bundle", model.reference, "--out", "/work/report"),
                *("--push", f"s3://{self._target.models}/{self._prefix}"),
            ],
            "envFrom": [{"secretRef": {"name": SECRET}}],
            "env": [{"name": "AWS_ENDPOINT_URL", "value": self._target.s3_from_pods}],
            "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
            "securityContext": SECURITY,
            "volumeMounts": [
                {"name": "campaign", "mountPath": "/campaign", "readOnly": True},
                {"name": "work", "mountPath": "/work"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }
        self._namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": self._name},
                "data": {CONFIGURATION: json.dumps(campaign)},
            },
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": self._name},
                "spec": {
                    "backoffLimit": 0,
                    "template": {
                        "spec": {
                            "restartPolicy": "Never",
                            "automountServiceAccountToken": False,
                            "containers": [container],
                            "volumes": [
                                {"name": "campaign", "configMap": {"name": self._name}},
                                {"name": "work", "emptyDir": {}},
                                {"name": "tmp", "emptyDir": {}},
                            ],
                        }
                    },
                },
            },
        )

    def running(self) -> str | None:
        """Return that the Job still runs, or None once it has completed or failed."""
        resource = self._namespace.get(f"job/{self._name}")
        ended = any(unmet_condition(resource, kind) is None for kind in ("Complete", "Failed"))
        return None if ended else "the Job is running"

    def wait(self, timeout: float) -> None:
        """Wait until the Job has completed or failed."""
        self._namespace.wait(f"the end of {self._name}", self.running, timeout=timeout, interval=1)

    def document(self) -> dict[str, Any]:
        """Return the campaign's verdict.json, after its end."""
        stored = [key for key in keys(self._target, f"{self._prefix}/") if key.endswith(f"/{VERDICT}")]
        assert len(stored) == 1, self._log()
        content = obstore.get(bucket(self._target, self._target.models), stored[0]).bytes()
        document: dict[str, Any] = json.loads(bytes(content))
        return document

    def _log(self) -> str:
        [pod] = self._namespace.pods(f"batch.kubernetes.io/job-name={self._name}")
        return self._namespace.logs(pod["metadata"]["name"], "--tail=30")


def load_start(document: Mapping[str, Any]) -> float:
    """Return the start of the load as a Unix time."""
    return datetime.fromisoformat(document["started_at"]).replace(tzinfo=UTC).timestamp()
