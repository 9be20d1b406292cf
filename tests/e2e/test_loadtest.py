# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load-test chart gives a verdict: by a Job that completes or fails, an exit code, and what it stores."""

import json
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml

from tests.e2e.kube import Namespace, Object, commands, condition, run
from tests.e2e.model import Model
from tests.e2e.release import SECRET, Release
from tests.e2e.store import bucket, keys
from tests.e2e.target import Target

CHART = Path("helm/tidegate-loadtest")
# Long enough that a machine that stands still for a second or two does not void a campaign by its generator.
PLAN: dict[str, Any] = {
    "rate": 20,
    "connections": 4,
    "warmup": 1,
    "duration": 30,
    "protocols": {"v1": 1, "v2": 1, "v2-binary": 1},
    "timeout": 10,
    "seed": 1,
    "thresholds": {"max_failure_ratio": 0},
}
UNMEETABLE = PLAN | {"thresholds": {"max_p50_ms": 0.001}}
"""No answer crosses a network within a microsecond, whatever the generator's own delay is."""
FILES = {"report.html", "summary.json", "samples.csv"}


class Campaigns:
    """Campaigns against one release, each installed by helm and followed as its notes say.

    Args:
        release: what is asked.
        model: the bundle that it serves.
        target: the cluster under test.
        scratch: a folder for values files.
    """

    def __init__(self, release: Release, model: Model, target: Target, scratch: Path) -> None:
        self._release = release
        self._namespace: Namespace = release.namespace
        self._model = model
        self._target = target
        self._scratch = scratch

    def begin(self, name: str, plan: dict[str, Any]) -> list[list[str]]:
        """Install one, and return the commands of its notes: ready, logs, complete, exit code, and others."""
        repository, tag = self._target.image("loadtest")
        requests = {"cpu": "100m", "memory": "192Mi"}
        values = {
            "plan": plan,
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
        # A person reads the notes first; `kubectl wait` by a selector wants a pod that is there.
        self._namespace.wait(
            "the master's pod", lambda: None if self.masters(name) else "there is none", timeout=60
        )
        return commands(self._namespace.helm("get", "notes", name))

    def masters(self, name: str) -> list[Object]:
        """List a campaign's masters."""
        return self._namespace.pods(f"app.kubernetes.io/instance={name},app.kubernetes.io/component=master")

    def job(self, name: str) -> Object:
        """Read a campaign's master Job."""
        labels = self.masters(name)[0]["metadata"]["labels"]
        return self._namespace.get(f"job/{labels['batch.kubernetes.io/job-name']}")

    def stored(self, name: str) -> dict[str, Any]:
        """Read the summary that a campaign has stored, with its report and its samples."""
        place = f"{self._namespace.name}/{name}/{self._model.name}/"
        found = keys(self._target, place)
        [folder] = {key.removeprefix(place).partition("/")[0] for key in found}
        assert found == {f"{place}{folder}/{file}" for file in FILES}
        objects = bucket(self._target, self._target.models)
        report = bytes(obstore.get(objects, f"{place}{folder}/report.html").bytes())
        assert b"</html>" in report
        document: dict[str, Any] = json.loads(
            bytes(obstore.get(objects, f"{place}{folder}/summary.json").bytes())
        )
        return document


@pytest.fixture
def campaigns(release: Release, v1: Model, target: Target, tmp_path: Path) -> Campaigns:
    return Campaigns(release, v1, target, tmp_path)


def test_loadtest_chart(release: Release, campaigns: Campaigns, v1: Model, evidence: dict[str, Any]) -> None:
    release.install(v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}})

    ready, follow, complete, exit_code, *_ = campaigns.begin("met", PLAN)
    run(ready)
    evidence["met"] = {"log": run(follow).splitlines()[-12:]}
    run(complete, timeout=60)
    evidence["met"]["exit_code"] = run(exit_code).split()
    summary = campaigns.stored("met")
    evidence["met"] |= {key: summary[key] for key in ("verdict", "requests", "failures", "latency")}
    assert summary["verdict"] == "pass", summary["reasons"]
    assert summary["requests"] >= 200
    assert evidence["met"]["exit_code"] == ["0"]

    ready, follow, _, exit_code, *_ = campaigns.begin("missed", UNMEETABLE)
    run(ready)
    log = run(follow)
    evidence["missed"] = {"log": log.splitlines()[-3:]}

    def not_failed() -> str | None:
        status = condition(campaigns.job("missed"), "Failed").get("status")
        return None if status == "True" else "it has not failed"

    release.namespace.wait("the failure of the Job", not_failed, timeout=60)
    evidence["missed"]["exit_code"] = run(exit_code).split()
    summary = campaigns.stored("missed")
    evidence["missed"] |= {key: summary[key] for key in ("verdict", "requests", "failures", "reasons")}
    assert summary["verdict"] == "fail", summary["reasons"]
    assert evidence["missed"]["exit_code"] == ["3"]
    assert "The load test failed" in log
    assert len(campaigns.masters("missed")) == 1  # no second try
