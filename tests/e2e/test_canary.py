# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Canary releases: weight, promotion and rollback by the steps of docs/canary.md."""

import math
import re
from collections.abc import Callable
from typing import Any

from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.traffic import CLIENTS, StartTraffic, Traffic

WEIGHT = 20
SAMPLE = 2000
"""The number of requests for one estimate of the canary's ratio."""
DEVIATIONS = 3
"""The largest accepted deviation from the weight, in standard deviations."""
GATEWAY_RATE = 90.0
REPLICAS = 2
PROPAGATION_SECONDS = 8.0
"""The limit for a weight to reach the Gateway, on a busy machine."""


def estimate_ratio(versions: dict[str, int], version: str, weight: float) -> dict[str, Any]:
    """Compare a version's ratio of the responses with its weight, by the binomial distribution.

    Args:
        versions: The number of responses by version.
        version: The version whose ratio is estimated.
        weight: Its weight in percent.
    """
    total = sum(versions.values())
    expected = weight / 100
    deviation = math.sqrt(expected * (1 - expected) / total)
    ratio = versions.get(version, 0) / total
    return {
        "requests": total,
        "ratio": round(ratio, 4),
        "expected": expected,
        "standard_deviations_off": round((ratio - expected) / deviation, 2),
    }


def measure_ratio(
    traffic: Traffic, phase: str, version: str, change: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Estimate a version's ratio; estimate it once more if the first one exceeds three standard deviations.

    A correct ratio exceeds them once in 370 estimates.

    Args:
        traffic: The running clients.
        phase: The phase's name.
        version: The version whose ratio is estimated.
        change: Changes the release at the start of each estimate.
    """
    estimates: list[dict[str, Any]] = []
    for name in (phase, f"{phase}, second estimate"):
        traffic.phase(name)
        change()
        traffic.run_for(SAMPLE / GATEWAY_RATE + PROPAGATION_SECONDS)
        estimates.append(estimate_ratio(traffic.phase("between")["gateway"][name], version, WEIGHT))
        if abs(estimates[-1]["standard_deviations_off"]) <= DEVIATIONS:
            break
    return estimates


def served_digests(release: Release, track: str) -> set[str]:
    """Return the digests in the metrics of a track's ready pods."""
    digests = set()
    for pod in release.ready_pods(track):
        metrics = release.namespace.get_from_pod(pod["metadata"]["name"], "/metrics")
        digests |= set(re.findall(r'^tidegate_model_info\{[^}]*digest="([0-9a-f]+)"', metrics, re.MULTILINE))
    return digests


def test_canary_split(
    release: Release, start_traffic: StartTraffic, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    rates = {
        "gateway": GATEWAY_RATE,
        "clusterip_new": 10.0,
        "clusterip_keepalive": 10.0,
        "grpc_channel": 10.0,
    }

    def add_replica() -> None:
        replicas = len(release.ready_pods("canary")) + 1
        release.upgrade({"canary.minReplicas": replicas, "canary.maxReplicas": replicas}, wait=False)
        wait_for_canary(release, replicas)

    with start_traffic(release, rates) as traffic:
        traffic.phase("canary starts at weight 0")
        evidence["seconds_until_canary_served"] = release.upgrade(
            {"canary.digest": v2.digest, "canary.weight": 0, "canary.minReplicas": 1, "canary.maxReplicas": 1}
        )
        evidence["digests_in_metrics"] = {
            track: sorted(served_digests(release, track)) for track in ("stable", "canary")
        }
        traffic.phase("weight changes to 20")
        release.upgrade({"canary.weight": WEIGHT})
        traffic.run_for(PROPAGATION_SECONDS)
        evidence["canary_ratio"] = steady = measure_ratio(traffic, "20 %", v2.version)
        evidence["canary_ratio_while_scaling"] = scaling = measure_ratio(
            traffic, "20 %, one more replica", v2.version, add_replica
        )
        traffic.phase("weight changes to 0")
        release.upgrade({"canary.weight": 0})
        traffic.run_for(PROPAGATION_SECONDS)
        traffic.phase("canary ends")
        release.upgrade({"canary.digest": ""}, wait=False)
        release.namespace.wait(
            "the canary's end", lambda: "it has pods" if release.pods("canary") else None, timeout=120
        )
        traffic.run_for(2)

    report = traffic.report
    evidence["clients"] = report.evidence()
    evidence["versions_through_gateway"] = report.clients["gateway"]["versions"]
    assert evidence["digests_in_metrics"] == {"stable": [v1.digest], "canary": [v2.digest]}
    for estimates in (steady, scaling):
        assert estimates[-1]["requests"] >= SAMPLE
        assert abs(estimates[-1]["standard_deviations_off"]) <= DEVIATIONS, estimates
    for phase in ("canary starts at weight 0", "canary ends"):
        assert set(report.versions("gateway", phase)) == {v1.version}
    for client in ("clusterip_new", "clusterip_keepalive", "grpc_channel"):
        for phase in report.clients[client]["versions"]:
            assert set(report.versions(client, phase)) == {v1.version}
    report.assert_nothing_lost(at_least=200)


def wait_for_canary(release: Release, replicas: int) -> None:
    """Wait until the canary has a number of ready replicas."""
    release.namespace.wait(
        f"{replicas} canary pods",
        lambda: None if len(release.ready_pods("canary")) >= replicas else "fewer are ready",
        timeout=120,
    )


def change_digest(release: Release, traffic: Traffic, old: Model, new: Model, previous: list[str]) -> None:
    """Give a release another digest by the steps of docs/canary.md.

    Args:
        release: The release.
        traffic: The running clients.
        old: The model that the release serves.
        new: The model that it serves afterwards.
        previous: The digests in `model.previous` before the change.
    """
    traffic.phase("the new digest starts as canary")
    release.upgrade({"canary.digest": new.digest, "canary.weight": 0, "canary.minReplicas": 1})
    wait_for_canary(release, 1)
    traffic.phase("the canary has a weight")
    release.upgrade({"canary.weight": WEIGHT})
    traffic.run_for(3)
    traffic.phase("1: the canary has all replicas")
    release.upgrade({"canary.minReplicas": REPLICAS})
    wait_for_canary(release, REPLICAS)
    traffic.phase("2: the canary has all weight")
    release.upgrade({"canary.weight": 100, "autoscaling.minReplicas": REPLICAS})
    traffic.run_for(2)
    traffic.phase("3: stable changes its digest")
    release.upgrade({"model.digest": new.digest, "model.previous": [old.digest, *previous]})
    traffic.phase("4: stable has all weight")
    release.upgrade({"canary.weight": 0})
    traffic.run_for(2)
    traffic.phase("5: the canary ends")
    release.upgrade({"canary.digest": "", "canary.minReplicas": None}, wait=False)
    release.namespace.wait(
        "the canary's end", lambda: "it has pods" if release.pods("canary") else None, timeout=120
    )
    assert release.recorded_values()["canary"].get("minReplicas") is None
    traffic.phase("after")
    traffic.run_for(5)


def assert_digest_changed(traffic: Traffic, new: Model, evidence: dict[str, Any]) -> None:
    """Assert that no request was lost, and that the new digest serves all clients afterwards.

    Args:
        traffic: The clients, after their end.
        new: The model that the release serves now.
        evidence: The scenario's measurements, to which the counts are added.
    """
    report = traffic.report
    evidence["clients"] = report.evidence()
    evidence["versions"] = {name: report.clients[name]["versions"] for name in CLIENTS}
    report.assert_nothing_lost(at_least=200)
    for client in CLIENTS:
        assert set(report.versions(client, "after")) == {new.version}, client


def test_promote(
    release: Release, start_traffic: StartTraffic, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1, {"autoscaling": {"maxReplicas": REPLICAS}})
    with start_traffic(release) as traffic:
        traffic.phase("before")
        traffic.run_for(3)
        change_digest(release, traffic, v1, v2, [])
    assert_digest_changed(traffic, v2, evidence)
    values = release.recorded_values()
    evidence["recorded"] = {"digest": values["model"]["digest"], "previous": values["model"]["previous"]}
    assert evidence["recorded"] == {"digest": v2.digest, "previous": [v1.digest]}


def test_rollback(
    release: Release, start_traffic: StartTraffic, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    # The state after a promotion from v1 to v2.
    release.install(v2, {"model": {"previous": [v1.digest]}, "autoscaling": {"maxReplicas": REPLICAS}})
    with start_traffic(release) as traffic:
        traffic.phase("before")
        traffic.run_for(3)
        assert release.recorded_values()["model"]["previous"][0] == v1.digest
        change_digest(release, traffic, v2, v1, [v1.digest])
    assert_digest_changed(traffic, v1, evidence)
    values = release.recorded_values()
    evidence["recorded"] = {"digest": values["model"]["digest"], "previous": values["model"]["previous"]}
    assert evidence["recorded"] == {"digest": v1.digest, "previous": [v2.digest, v1.digest]}
