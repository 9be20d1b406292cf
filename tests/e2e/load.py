# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A load campaign as a release of `helm/tidegate-loadtest`, operated with the commands of its notes.

The results are read from the store. The pod's log is not their source, because the kubelet can put a line of
standard error inside the document.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import yaml

from tests.e2e.kube import Namespace, Object, commands
from tests.e2e.model import Model
from tests.e2e.release import SECRET
from tests.e2e.store import bucket, keys
from tests.e2e.target import Target
from tidegate.kubernetes.pods import unmet_condition
from tidegate_loadtests.timeline.records import TIMELINE, Timeline

CHART = Path("helm/tidegate-loadtest")
VERDICT = "verdict.json"
RESOURCES = {"requests": {"cpu": "100m", "memory": "192Mi"}}
MARGIN_SECONDS = 120
"""Time for the start of a campaign's pods, and for its report."""
_SUMMARY_KEYS = ("verdict", "reasons", "requests", "failures", "errors", "goodput", "latency", "generator")


class LoadTest:
    """A campaign against one URL, with one worker.

    Args:
        name: The name of the chart's release.
        namespace: The release's namespace.
        target: The cluster under test.
    """

    def __init__(self, name: str, namespace: Namespace, target: Target) -> None:
        self._name = name
        self._namespace = namespace
        self._target = target
        # Unique, because the store of a kept cluster has the results of earlier runs.
        self._prefix = f"{namespace.name}/{name}-{uuid4().hex}"
        self._seconds = 0.0

    def start(self, campaign: Mapping[str, Any], model: Model, url: str) -> list[list[str]]:
        """Install the release.

        Args:
            campaign: The campaign.
            model: The served model.
            url: The server's URL.

        Returns:
            The commands of its notes: wait until ready, logs, wait until complete, exit code, and others.
        """
        repository, tag = self._target.image("loadtest")
        values = {
            "campaign": campaign,
            "url": url,
            "model": {"uri": model.uri, "digest": model.digest},
            "workers": 1,
            "push": f"s3://{self._target.models}/{self._prefix}",
            "image": {"repository": repository, "tag": tag},
            "resources": {"master": RESOURCES, "worker": RESOURCES},
            "objectStore": {
                "secretName": SECRET,
                "endpoint": self._target.s3_from_pods,
                "region": self._target.region,
            },
        }
        self._seconds = sum(phase["duration"] for phase in campaign["phases"])
        self._namespace.helm("install", self._name, str(CHART), "--values=-", stdin=yaml.safe_dump(values))
        # `kubectl wait` by a selector fails without a pod; a user starts it only after reading the notes.
        self._namespace.wait(
            "the master's pod", lambda: None if self.masters() else "no pod exists", timeout=60
        )
        return commands(self._namespace.helm("get", "notes", self._name))

    def masters(self) -> list[Object]:
        """Return the master's pods; a second one would be a retry."""
        return self._namespace.pods(
            f"app.kubernetes.io/instance={self._name},app.kubernetes.io/component=master"
        )

    def job(self) -> Object:
        """Return the master's Job."""
        labels = self.masters()[0]["metadata"]["labels"]
        return self._namespace.get(f"job/{labels['batch.kubernetes.io/job-name']}")

    def running(self) -> str | None:
        """Return that the campaign still runs, or None once its Job has completed or failed."""
        job = self.job()
        ended = any(unmet_condition(job, kind) is None for kind in ("Complete", "Failed"))
        return None if ended else "the Job is running"

    def wait(self) -> None:
        """Wait until the campaign has ended."""
        limit = self._seconds + MARGIN_SECONDS
        self._namespace.wait(f"the end of {self._name}", self.running, timeout=limit, interval=1)

    def run(self, campaign: Mapping[str, Any], model: Model, url: str) -> dict[str, Any]:
        """Install the release, wait until the campaign has ended, and return its verdict.json.

        Args:
            campaign: The campaign.
            model: The served model.
            url: The server's URL.
        """
        self.start(campaign, model, url)
        self.wait()
        return self.document()

    def files(self) -> dict[str, str]:
        """Return the key in the store of each stored file, by the file's name."""
        return {key.rpartition("/")[2]: key for key in keys(self._target, f"{self._prefix}/")}

    def read(self, file: str) -> bytes:
        """Return the content of a stored file, after the campaign's end."""
        stored = self.files()
        assert file in stored, f"{file} is not stored:\n{self.log()}"
        return bytes(obstore.get(bucket(self._target, self._target.models), stored[file]).bytes())

    def document(self) -> dict[str, Any]:
        """Return the campaign's verdict.json, after its end."""
        document: dict[str, Any] = json.loads(self.read(VERDICT))
        return document

    def timeline(self, scratch: Path) -> Timeline:
        """Return the campaign's timeline, after its end.

        Args:
            scratch: A folder for its file.
        """
        file = scratch / f"{self._name}-{TIMELINE}"
        file.write_bytes(self.read(TIMELINE))
        return Timeline.read(file)

    def log(self) -> str:
        """Return the last lines of the master's log."""
        return self._namespace.logs(self.masters()[0]["metadata"]["name"], "--tail=30")


def replica_changes(timeline: Timeline) -> list[dict[str, Any]]:
    """Return the records of a timeline at which the replicas changed, for a run's summary."""
    changes: list[dict[str, Any]] = []
    for record in timeline.replicas:
        counts = {"desired": record.desired, "ready": record.ready}
        if not changes or not counts.items() <= changes[-1].items():
            changes.append({"second": round(record.time, 1), **counts, "metric": record.metric})
    return changes


def summarise(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a verdict.json that a run's summary keeps."""
    return {key: document[key] for key in _SUMMARY_KEYS} | {
        "checks": [
            {key: check[key] for key in ("name", "phase", "value", "threshold", "outcome")}
            for check in document["checks"]
        ],
        "load_steps": document["load_steps"],
        "timeline": document["timeline"],
    }
