# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts with a verdict: one release, whose canaries are good, wrong, slow, failing or without traffic.

A scenario ends with the stable track and no canary, so the next one continues with the same release.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.datasets import load_breast_cancer

from tests.e2e.kube import CommandError, Namespace, tidegate
from tests.e2e.model import BREAST_CANCER, GoldenRequest, Model, push, train
from tests.e2e.release import CHART, Release, create_namespace
from tests.e2e.rollout import PROMOTED, STOPPED, Rollout, describe
from tests.e2e.target import Target
from tests.e2e.traffic import ClientPod, Report, Traffic
from tidegate.protocol.requests import v2_body

RATE = 100.0
"""Requests per second through the Gateway."""
HUGE = 1e200
"""A float64 beyond the range of float32: the trees of scikit-learn reject it, linear models do not."""
HUGE_RATIO = 0.2
OUT = Path("out/e2e/rollout")

POLICY: dict[str, Any] = {
    "steps": [{"mirror": 10}, {"weight": 5}, {"weight": 25}, {"weight": 50}],
    "settle_seconds": 6,
    "block_seconds": 3,
    "min_seconds": 6,
    "min_requests": 50,
    "max_seconds": 120,
    # Wide enough for the evidence of two minutes, and for a machine that runs a whole cluster.
    "errors": {"max_ratio": 0.05},
    "latency": {"threshold_ms": 500, "max_ratio": 0.05},
}


@dataclass
class Site:
    """The release of all scenarios, its models and its clients.

    Args:
        release: The release.
        clients: The pod of the clients.
        target: The cluster under test.
        folder: A folder for bundles.
    """

    release: Release
    clients: ClientPod
    target: Target
    folder: Path

    @cached_property
    def models(self) -> tuple[Model, Model]:
        """Two models with nearly the same outputs."""
        return self.train("first", {"C": 1.0}), self.train("second", {"C": 0.9})

    def train(self, name: str, parameters: dict[str, Any], algorithm: str = "LogisticRegression") -> Model:
        """Train and push a bundle.

        Args:
            name: The folder's name.
            parameters: Those of the algorithm.
            algorithm: Its name.
        """
        config = BREAST_CANCER | {
            "float_dtype": "float64",
            "algorithm": {"name": algorithm, "parameters": parameters},
        }
        return push(train(config, self.folder / name), self.target)

    def train_swapped(self) -> Model:
        """Train a model with the labels of the other class."""
        data = load_breast_cancer(as_frame=True)
        frame = data.data.assign(target=[data.target_names[1 - label] for label in data.target])
        file = self.folder / "swapped.csv"
        frame.to_csv(file, index=False)
        config = BREAST_CANCER | {
            "float_dtype": "float64",
            "data": {"path": str(file)},
            "target": "target",
            "algorithm": {"name": "LogisticRegression", "parameters": {"C": 1.0}},
        }
        return push(train(config, self.folder / "swapped"), self.target)

    @property
    def stable(self) -> Model:
        """The model of the stable track."""
        digest = self.release.recorded_values()["model"]["digest"]
        return next(model for model in self.models if model.digest == digest)

    @property
    def other(self) -> Model:
        """The other one of the two models."""
        return next(model for model in self.models if model is not self.stable)

    def traffic(self, rate: float = RATE, request: GoldenRequest | None = None) -> Traffic:
        """Return clients that send one request again and again through the Gateway.

        Args:
            rate: Requests per second.
            request: The request; a golden one by default.
        """
        golden = request or GoldenRequest.from_models(self.models)
        return Traffic(self.clients, self.release, golden, {"gateway": rate})

    def rollout(self, scenario: str, canary: Model, **policy: Any) -> Rollout:
        """Return a rollout that is not started yet.

        Args:
            scenario: The name of the report's folder.
            canary: The new model.
            policy: Fields that replace those of :data:`POLICY`.
        """
        return Rollout(self.release, canary.digest, POLICY | policy, OUT / scenario)

    def abort(self) -> Any:
        """Abort a rollout that is held, and return the report's document."""
        options = (f"--namespace={self.release.namespace.name}", f"--chart={CHART}")
        try:
            return tidegate("rollout", "abort", self.release.name, *options)
        except CommandError as error:
            raise AssertionError(f"{error}\n{self.release.namespace.explain()}") from None


@pytest.fixture(scope="module")
def site(target: Target, gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rollout")
    with create_namespace("rollout", target) as namespace:
        release = Release("cancer", namespace, target, folder)
        clients = ClientPod(namespace, target, gateway)
        clients.start([release.hostname])
        site = Site(release, clients, target, folder)
        values = {
            "server": {"engine": "sklearn", "pairsSampleRate": 1},
            # A whole CPU before a replica is added, because the start of a server would add some.
            "resources": {"requests": {"cpu": "100m"}},
            "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 1000},
        }
        release.install(site.models[0], values)
        clients.wait()
        yield site


@pytest.fixture
def namespace(site: Site) -> Namespace:
    """The namespace that a failure describes."""
    return site.release.namespace


@pytest.fixture(autouse=True)
def end_rollout(site: Site) -> Iterator[None]:
    """End the rollout of a scenario that failed, so that the next one has a release without a canary."""
    yield
    if site.release.computed_values()["canary"]["digest"]:
        site.abort()


def assert_no_canary(site: Site, stable: Model) -> None:
    """Assert that the release is as before the rollout, with one digest."""
    values = site.release.recorded_values()
    assert values["model"]["digest"] == stable.digest
    assert values["canary"]["digest"] == ""
    assert values["canary"]["weight"] == 0
    site.release.namespace.wait(
        "the canary's end", lambda: "it has pods" if site.release.pods("canary") else None, timeout=120
    )


def assert_only(report: Report, model: Model) -> None:
    """Assert that every response to a user is one of this model, and that no request was lost."""
    report.assert_nothing_lost(at_least=200)
    assert {version for phase in report.clients["gateway"]["versions"].values() for version in phase} == {
        model.version
    }


def failed_checks(document: dict[str, Any]) -> set[str]:
    """Return the names of the failed checks."""
    return {check["name"] for check in document["checks"] if check["outcome"] == "fail"}


def test_rollout_wrong_predictions(site: Site, evidence: dict[str, Any]) -> None:
    stable, swapped = site.stable, site.train_swapped()
    with site.traffic() as traffic:
        rollout = site.rollout("wrong_predictions", swapped)
        rollout.start()
        document = rollout.end(STOPPED)
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    assert document["result"] == "aborted"
    assert "disagreement" in failed_checks(document)
    assert [step["step"] for step in document["steps"]][1] == "mirror-10"
    assert document["requests"]["canary"]["timed"] == 0
    assert_only(traffic.report, stable)
    assert_no_canary(site, stable)


def test_rollout_good(site: Site, evidence: dict[str, Any]) -> None:
    stable, other = site.stable, site.other
    with site.traffic() as traffic:
        rollout = site.rollout("good", other)
        rollout.start()
        document = rollout.end(PROMOTED)
        traffic.phase("after")
        traffic.run_for(3)
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    assert document["result"] == "promoted"
    passed = [step["step"] for step in document["steps"] if step["outcome"] == "pass"]
    assert passed == ["mirror-10", "weight-5", "weight-25", "weight-50"]
    assert {"weight-100", "promote"} <= {step["step"] for step in document["steps"]}
    traffic.report.assert_nothing_lost(at_least=2000)
    assert set(traffic.report.versions("gateway", "after")) == {other.version}
    assert site.release.recorded_values()["model"]["previous"][0] == stable.digest
    assert_no_canary(site, other)


def test_rollout_errors(site: Site, evidence: dict[str, Any]) -> None:
    stable, fragile = site.stable, site.train("fragile", {"max_depth": 4}, "DecisionTreeClassifier")
    golden = GoldenRequest.from_models([*site.models, fragile])
    contract = stable.bundle.contract
    row = [HUGE, *list(contract.golden.rows[0])[1:]]
    # A mean radius of this size is malignant for every linear model of this data.
    huge = replace(golden, body=v2_body(contract, [row]), labels=dict.fromkeys(golden.labels, "malignant"))
    with (
        site.traffic((1 - HUGE_RATIO) * RATE, golden) as ordinary,
        site.traffic(HUGE_RATIO * RATE, huge) as failing,
    ):
        # Without a mirror step, because that would stop the canary before users meet it.
        rollout = site.rollout("errors", fragile, steps=[{"weight": 5}, {"weight": 25}], predictions=None)
        rollout.start()
        document = rollout.end(STOPPED)
    hurt = failing.report.clients["gateway"]["lost"]
    sent = sum(traffic.report.clients["gateway"]["sent"] for traffic in (ordinary, failing))
    evidence["rollout"] = describe(document)
    evidence["users"] = {"requests": sent, "hurt": hurt, "ratio": round(hurt / sent, 5)}
    assert "errors" in failed_checks(document)
    assert [step["step"] for step in document["steps"]][1] == "weight-5"
    assert ordinary.report.clients["gateway"]["lost"] == 0
    assert 0 < hurt <= 0.01 * sent
    assert_no_canary(site, stable)


def test_rollout_killed(site: Site, evidence: dict[str, Any]) -> None:
    stable, other = site.stable, site.other
    rollout = site.rollout("killed", other, steps=[{"mirror": 10}, {"weight": 50}])
    with site.traffic() as traffic:
        for moment in ("mirror-10: continue", "mirror-10: pass", "promote: Give the stable track"):
            rollout.start()
            rollout.wait_for(moment)
            rollout.kill()
        rollout.start()
        document = rollout.end(PROMOTED)
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    assert [step["step"] for step in document["steps"]].count("promote") == 1
    assert site.release.recorded_values()["model"]["previous"][0] == stable.digest
    traffic.report.assert_nothing_lost(at_least=200)
    assert_no_canary(site, other)


def test_rollout_slow(site: Site, evidence: dict[str, Any]) -> None:
    stable = site.stable
    slow = site.train("slow", {"n_estimators": 300, "max_depth": 4}, "RandomForestClassifier")
    with site.traffic() as traffic:
        latency = {"threshold_ms": 25, "max_ratio": 0.05}
        rollout = site.rollout("slow", slow, latency=latency, predictions=None)
        rollout.start()
        document = rollout.end(STOPPED)
    evidence["rollout"] = describe(document)
    evidence["clients"] = traffic.report.evidence()
    assert any(name.startswith("slow_") for name in failed_checks(document))
    assert_only(traffic.report, stable)
    assert_no_canary(site, stable)


def test_rollout_drift_only(site: Site, evidence: dict[str, Any]) -> None:
    stable, drifted = site.stable, site.train("drifted", {"C": 1e-3})
    with site.traffic() as traffic:
        rollout = site.rollout("drift_only", drifted)
        rollout.start()
        document = rollout.end(STOPPED)
    evidence["rollout"] = describe(document)
    assert failed_checks(document) == {"score_shift"}
    assert document["requests"]["mirrored"]["bad"] == 0
    assert_only(traffic.report, stable)
    assert_no_canary(site, stable)


def test_rollout_no_traffic(site: Site, evidence: dict[str, Any]) -> None:
    stable = site.stable
    rollout = site.rollout("no_traffic", site.other, max_seconds=20)
    rollout.start()
    document = rollout.end(STOPPED)
    held = site.release.recorded_values()
    evidence["rollout"] = describe(document)
    assert document["result"] == "held"
    assert document["verdict"] == "insufficient"
    assert (held["model"]["digest"], held["canary"]["weight"]) == (stable.digest, 0)
    assert site.abort()["result"] == "aborted"
    assert_no_canary(site, stable)


RUBBISH = """
import http.client, sys, time
host, authority, path, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
connection, statuses, end = http.client.HTTPConnection(host, timeout=10), {}, time.monotonic() + seconds
while time.monotonic() < end:
    connection.request("POST", path, "{}", {"Host": authority, "Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    statuses[response.status] = statuses.get(response.status, 0) + 1
    time.sleep(0.02)
print(statuses)
"""
"""A program that sends requests without inputs, and prints the number of responses by status."""


def test_rollout_client_errors(site: Site, evidence: dict[str, Any]) -> None:
    stable, other = site.stable, site.other
    path = f"/v2/models/{stable.name}/infer"
    arguments = (site.clients.gateway, site.release.hostname, path, "90")
    statuses: list[str] = []
    with site.traffic() as traffic:
        rubbish = threading.Thread(
            target=lambda: statuses.append(site.clients.run("python", "-c", RUBBISH, *arguments))
        )
        rubbish.start()
        rollout = site.rollout("client_errors", other, steps=[{"mirror": 10}, {"weight": 25}])
        rollout.start()
        document = rollout.end(PROMOTED)
        rubbish.join()
    evidence["rollout"] = describe(document)
    evidence["rubbish"] = yaml.safe_load(statuses[0])
    assert set(evidence["rubbish"]) == {400}
    assert document["requests"]["canary"]["client_errors"] > 0
    traffic.report.assert_nothing_lost(at_least=200)
    assert_no_canary(site, other)
