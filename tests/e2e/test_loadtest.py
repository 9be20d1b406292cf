# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load-test chart: its verdict as the Job's outcome, as an exit code, and in the stored files."""

from typing import Any

from tests.e2e.kube import Namespace, run
from tests.e2e.load import LoadTest, summarise
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tidegate.kubernetes.pods import unmet_condition

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


def watched(release: Release) -> dict[str, Any]:
    """Return the campaign that meets its thresholds, with those of one replica."""
    scaling = {"min_replicas": 1, "max_replicas": 1}
    return CAMPAIGN | {"target": {"watch": release.watch}, "scaling": scaling}


def test_loadtest_chart(
    release: Release, namespace: Namespace, target: Target, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}})
    url = f"http://{release.service}"

    met = LoadTest("met", namespace, target)
    ready, follow, complete, exit_code, *_ = met.start(watched(release), v1, url)
    run(ready)
    log = run(follow)
    run(complete, timeout=60)
    document = met.document()
    evidence["met"] = summarise(document) | {
        "log": log.splitlines()[-12:],
        "exit_code": run(exit_code).split(),
    }
    assert document["verdict"] == "pass", document["reasons"]
    assert document["requests"] >= 200
    assert evidence["met"]["exit_code"] == ["0"]
    assert set(met.files()) == FILES | {"timeline.parquet"}
    assert b"</html>" in met.read("report.html")

    missed = LoadTest("missed", namespace, target)
    ready, follow, _, exit_code, *_ = missed.start(UNMEETABLE, v1, url)
    run(ready)
    log = run(follow)
    namespace.wait("the failure of the Job", lambda: unmet_condition(missed.job(), "Failed"), timeout=60)
    document = missed.document()
    evidence["missed"] = summarise(document) | {
        "log": log.splitlines()[-3:],
        "exit_code": run(exit_code).split(),
    }
    assert document["verdict"] == "fail", document["reasons"]
    assert evidence["missed"]["exit_code"] == ["3"]
    assert document["reasons"]
    assert all(reason in log for reason in document["reasons"])
    assert set(missed.files()) == FILES  # without a timeline, because the campaign has no 'target.watch'
    assert len(missed.masters()) == 1  # without a retry
