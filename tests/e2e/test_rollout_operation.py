# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to run a rollout: as a rehearsal, by GitOps, as a Job, without a Gateway, with a killed Helm."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.kube import CommandError, run, tidegate
from tests.e2e.model import GoldenRequest, Model
from tests.e2e.release import CHART, Release
from tests.e2e.rollout import PROMOTED, STOPPED, Rollout, describe
from tests.e2e.rollout_job import RolloutJob
from tests.e2e.rollout_site import OUT, POLICY, RATE, VALUES, Site, assert_no_canary, assert_only
from tests.e2e.traffic import Traffic
from tidegate_rollout.metrics import METRICS

pytestmark = pytest.mark.usefixtures("end_rollout")


def test_rollout_rehearse(site: Site, evidence: dict[str, Any]) -> None:
    stable = site.stable
    with site.traffic() as traffic:
        steps = [{"mirror": 10}, {"weight": 50}]
        rollout = site.rollout("rehearse", None, ["--rounds=2"], steps=steps)
        rollout.start()
        document = rollout.end(PROMOTED)
    evidence["rollout"] = describe(document)
    evidence["verdicts"] = [
        [step["step"], step["outcome"], step["reason"]]
        for step in document["steps"]
        if step["step"] in ("mirror-10", "weight-50")
    ]
    assert document["result"] == "rehearsed"
    assert document["canary_digest"] == stable.digest
    assert [step["step"] for step in document["steps"]].count("mirror-10") == 2
    assert_only(traffic.report, stable)
    assert_no_canary(site, stable)


def test_rollout_helm_killed(site: Site, evidence: dict[str, Any]) -> None:
    stable, other = site.stable, site.other
    rollout = site.rollout("helm_killed", other, steps=[{"weight": 50}], predictions=None)
    with site.traffic() as traffic:
        rollout.start()
        rollout.wait_for("start: the release serves the step")
        rollout.kill_helm()
        rollout.wait_for("weight-50: pass")
        rollout.wait_for("weight-100: the release serves the step")
        rollout.kill_helm()
        rollout.kill()
        rollout.start()
        document = rollout.end(PROMOTED)
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    evidence["history"] = [
        [entry["status"], entry["description"]]
        for entry in json.loads(site.release.namespace.helm("history", site.release.name, "--output=json"))
    ]
    assert site.release.recorded_values()["model"]["previous"][0] == stable.digest
    traffic.report.assert_nothing_lost(at_least=2000)
    assert_no_canary(site, other)


class StepByStep:
    """The steps of a rollout, of which each is a values file, as a pipeline applies them.

    Args:
        site: The release.
        canary: The new model.
        name: The name of the folder for the values files.
    """

    def __init__(self, site: Site, canary: Model, name: str) -> None:
        self._release = site.release
        self._folder = OUT / "gitops" / name
        self._folder.mkdir(parents=True)
        self._policy = self._folder / "policy.yaml"
        policy = POLICY | {"steps": [{"mirror": 10}, {"weight": 50}]}
        self._policy.write_text(yaml.safe_dump(policy))
        self._options = (f"--namespace={self._release.namespace.name}", f"--policy={self._policy}")
        written = f"--values-out={self._folder}"
        plan = tidegate("rollout", "plan", self._release.name, canary.digest, written, *self._options)
        self.steps: list[dict[str, Any]] = plan["steps"]

    def apply(self, number: int) -> None:
        """Upgrade the release with the values of a step, and wait until it serves them."""
        [file] = self._folder.glob(f"{number + 1:02}-*.yaml")
        options = ("--reset-then-reuse-values", f"--values={file}")
        self._release.namespace.helm("upgrade", self._release.name, str(CHART), *options)
        self._release.wait()

    def verdict(self) -> dict[str, Any]:
        """Return the verdict about the present step."""
        report: dict[str, Any] = tidegate("rollout", "verdict", self._release.name, *self._options)
        return report


def test_rollout_gitops(site: Site, evidence: dict[str, Any]) -> None:
    stable, other, swapped = site.stable, site.other, site.train_swapped()
    wrong = StepByStep(site, swapped, "wrong")
    with site.traffic() as traffic:
        for number in (0, 1):
            wrong.apply(number)
        before = site.release.metadata()
        with pytest.raises(CommandError) as stopped:
            wrong.verdict()
        assert site.release.metadata() == before
        site.release.upgrade({"canary.digest": "", "canary.mirrorPercent": 0})
        good = StepByStep(site, other, "good")
        verdicts = {}
        for number, step in enumerate(good.steps):
            good.apply(number)
            if step["measured"]:
                verdicts[step["name"]] = good.verdict()["verdict"]
    evidence["wrong"] = stopped.value.last_line
    evidence["verdicts"] = verdicts
    evidence["clients"] = traffic.report.evidence()
    assert stopped.value.code == STOPPED
    assert "different labels" in evidence["wrong"]
    assert verdicts == {"mirror-10": "pass", "weight-50": "pass"}
    served = {
        version for phase in traffic.report.clients["gateway"]["versions"].values() for version in phase
    }
    assert served == {stable.version, other.version}
    traffic.report.assert_nothing_lost(at_least=2000)
    assert_no_canary(site, other)


def test_rollout_by_replicas(site: Site, tmp_path: Path, evidence: dict[str, Any]) -> None:
    stable, other = site.models
    release = Release("direct", site.release.namespace, site.target, tmp_path)
    off = {"enabled": False}
    release.install(
        stable, VALUES | {"route": off, "backendTrafficPolicy": off, "service": {"enabled": True}}
    )
    policy = POLICY | {"steps": [{"weight": 50}], "max_seconds": 240}
    rollout = Rollout(release, other.digest, policy, OUT / "by_replicas", [f"--bundle={stable.bundle.path}"])
    rates = {"clusterip_new": RATE / 2, "clusterip_keepalive": RATE / 2}
    service = f"{release.name}-tracks.{release.namespace.name}"
    golden = GoldenRequest.from_models(site.models)
    with Traffic(site.clients, release, golden, rates, service) as traffic:
        rollout.start()
        document = rollout.end(PROMOTED)
        traffic.phase("after")
        traffic.run_for(3)
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    assert document["result"] == "promoted"
    assert document["pairs"]["pairs"] > 0
    assert document["requests"]["canary"]["timed"] > 1000
    traffic.report.assert_nothing_lost(at_least=2000)
    for client in rates:
        assert set(traffic.report.versions(client, "after")) == {other.version}
    assert release.recorded_values()["model"]["digest"] == other.digest
    release.uninstall()


def test_rollout_job(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: dict[str, Any]
) -> None:
    monkeypatch.setenv("HELM_DRIVER", "configmap")
    stable, other = site.models
    release = Release("job", site.release.namespace, site.target, tmp_path)
    release.install(stable, VALUES)
    policy = POLICY | {"steps": [{"mirror": 10}, {"weight": 50}]}
    job = RolloutJob(release, other.digest, policy, site.target.images["loadtest"], tmp_path)
    with Traffic(site.clients, release, GoldenRequest.from_models(site.models), {"gateway": RATE}) as traffic:
        job.start()
        page = job.read_metrics("mirror-10: pass")
        document = job.end()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    account = f"--as=system:serviceaccount:{release.namespace.name}:model-rollout"
    with pytest.raises(CommandError) as denied:
        run(["kubectl", "auth", "can-i", "get", "secrets", account, f"--namespace={release.namespace.name}"])
    events = release.namespace.get("events", "--field-selector=involvedObject.name=job")["items"]
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    evidence["metrics"] = {name: len(family.samples) for name, family in families.items()}
    evidence["events"] = [event["reason"] for event in events if event["reason"].startswith("Rollout")]
    assert document["result"] == "promoted"
    assert families.keys() == {name.removesuffix("_total") for name in METRICS}
    assert {sample.labels["release"] for family in families.values() for sample in family.samples} == {"job"}
    assert "RolloutPromoted" in evidence["events"]
    assert denied.value.output.strip() == "no"
    traffic.report.assert_nothing_lost(at_least=2000)
    assert release.recorded_values()["model"]["digest"] == other.digest
    release.uninstall()
