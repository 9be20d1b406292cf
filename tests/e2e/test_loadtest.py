# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load-test chart: its verdict as the Job's outcome, as an exit code, and in the stored files."""

import json
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml

from tests.e2e.kube import Namespace, Object, commands, run
from tests.e2e.model import Model
from tests.e2e.release import SECRET, Release
from tests.e2e.store import bucket, keys
from tests.e2e.target import Target
from tidegate.kubernetes.pods import unmet_condition

CHART = Path("helm/tidegate-loadtest")
# Long enough that a stall of the machine for a second or two leaves the campaign conclusive.
LOAD: dict[str, Any] = {"model": "poisson", "rate": 20}
PHASE: dict[str, Any] = {"name": "load", "duration": 30, "load": LOAD, "thresholds": {"max_failure_ratio": 0}}
CAMPAIGN: dict[str, Any] = {
    "connections": 4,
    "protocols": {"v1": 1, "v2": 1, "v2-binary": 1},
    "timeout": 10,
    "seed": 1,
    "phases": [{"name": "warm-up", "duration": 1, "judged": False, "load": LOAD}, PHASE],
}
UNMEETABLE = CAMPAIGN | {"phases": [PHASE | {"thresholds": {"max_p50_ms": 0.001}}]}
"""A threshold that no response meets, because none crosses a network within a microsecond."""
FILES = {"report.html", "verdict.json", "campaign.png", "samples.parquet"}


class Campaigns:
    """Campaigns against one release, each installed by helm and followed by the commands of its notes.

    Args:
        release: The release under test.
        model: The model that it serves.
        target: The cluster under test.
        scratch: A folder for values files.
    """

    def __init__(self, release: Release, model: Model, target: Target, scratch: Path) -> None:
        self._release = release
        self._namespace: Namespace = release.namespace
        self._model = model
        self._target = target
        self._scratch = scratch

    def start(self, name: str, campaign: dict[str, Any]) -> list[list[str]]:
        """Install a campaign.

        Returns:
            The commands of its notes: wait until ready, logs, wait until complete, exit code, and others.
        """
        repository, tag = self._target.image("loadtest")
        requests = {"cpu": "100m", "memory": "192Mi"}
        values = {
            "campaign": campaign,
            "url": f"http://{self._release.service}",
            "model": {"uri": self._model.uri, "digest": self._model.digest},
            "workers": 1,
            "push": f"s3://{self._target.models}/{self._namespace.name}/{name}",
            "image": {"repository": repository, "tag": tag},
            "resources": {"master": {"requests": requests}, "worker": {"requests": requests}},
            "objectStore": {
                "secretName": SECRET,
                "endpoint": self._target.s3_from_pods,
                "region": self._target.region,
            },
        }
        file = self._scratch / f"{name}.yaml"
        file.write_text(yaml.safe_dump(values))
        self._namespace.helm("install", name, str(CHART), f"--values={file}")
        # `kubectl wait` by a selector fails without a pod; a user starts it only after reading the notes.
        self._namespace.wait(
            "the master's pod", lambda: None if self.masters(name) else "no pod exists", timeout=60
        )
        return commands(self._namespace.helm("get", "notes", name))

    def masters(self, name: str) -> list[Object]:
        """Return a campaign's master pods."""
        return self._namespace.pods(f"app.kubernetes.io/instance={name},app.kubernetes.io/component=master")

    def job(self, name: str) -> Object:
        """Return a campaign's master Job."""
        labels = self.masters(name)[0]["metadata"]["labels"]
        return self._namespace.get(f"job/{labels['batch.kubernetes.io/job-name']}")

    def stored(self, name: str) -> dict[str, Any]:
        """Return the verdict that a campaign has stored, after checking the other stored files."""
        prefix = f"{self._namespace.name}/{name}/{self._model.name}/"
        stored = keys(self._target, prefix)
        [folder] = {key.removeprefix(prefix).partition("/")[0] for key in stored}
        assert stored == {f"{prefix}{folder}/{file}" for file in FILES}
        objects = bucket(self._target, self._target.models)
        report = bytes(obstore.get(objects, f"{prefix}{folder}/report.html").bytes())
        assert b"</html>" in report
        document: dict[str, Any] = json.loads(
            bytes(obstore.get(objects, f"{prefix}{folder}/verdict.json").bytes())
        )
        return document


@pytest.fixture
def campaigns(release: Release, v1: Model, target: Target, tmp_path: Path) -> Campaigns:
    return Campaigns(release, v1, target, tmp_path)


def test_loadtest_chart(release: Release, campaigns: Campaigns, v1: Model, evidence: dict[str, Any]) -> None:
    release.install(v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}})

    ready, follow, complete, exit_code, *_ = campaigns.start("met", CAMPAIGN)
    run(ready)
    evidence["met"] = {"log": run(follow).splitlines()[-12:]}
    run(complete, timeout=60)
    evidence["met"]["exit_code"] = run(exit_code).split()
    summary = campaigns.stored("met")
    evidence["met"] |= {key: summary[key] for key in ("verdict", "requests", "failures", "latency")}
    assert summary["verdict"] == "pass", summary["reasons"]
    assert summary["requests"] >= 200
    assert evidence["met"]["exit_code"] == ["0"]

    ready, follow, _, exit_code, *_ = campaigns.start("missed", UNMEETABLE)
    run(ready)
    log = run(follow)
    evidence["missed"] = {"log": log.splitlines()[-3:]}

    def not_failed() -> str | None:
        return unmet_condition(campaigns.job("missed"), "Failed")

    release.namespace.wait("the failure of the Job", not_failed, timeout=60)
    evidence["missed"]["exit_code"] = run(exit_code).split()
    summary = campaigns.stored("missed")
    evidence["missed"] |= {key: summary[key] for key in ("verdict", "requests", "failures", "reasons")}
    assert summary["verdict"] == "fail", summary["reasons"]
    assert evidence["missed"]["exit_code"] == ["3"]
    assert summary["reasons"]
    assert all(reason in log for reason in summary["reasons"])
    assert len(campaigns.masters("missed")) == 1  # without a retry
