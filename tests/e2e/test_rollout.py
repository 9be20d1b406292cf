# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts with a verdict: canaries that are good, wrong, slow, failing or without traffic."""

import threading
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.e2e.model import GoldenRequest
from tests.e2e.rollout import PROMOTED, STOPPED, describe
from tests.e2e.rollout_site import RATE, Site, assert_no_canary, assert_only, failed_checks
from tidegate.protocol.requests import v2_body

pytestmark = pytest.mark.usefixtures("end_rollout")

HUGE = 1e200
"""A float64 beyond the range of float32: the trees of scikit-learn reject it, linear models do not."""
HUGE_RATIO = 0.2


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
