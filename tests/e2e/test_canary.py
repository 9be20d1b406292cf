# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A new digest gets a share, then all requests, then the old one comes back: the steps of docs/canary.md."""

import math
import re
from collections.abc import Callable
from typing import Any

from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.traffic import CLIENTS, Traffic

Start = Callable[..., Traffic]

WEIGHT = 20
SAMPLE = 2000
"""Requests of which a share is judged."""
DEVIATIONS = 3
"""How many standard deviations it may be off."""
GATEWAY_RATE = 90.0
REPLICAS = 2
LEARNING_SECONDS = 8.0
"""How long the Gateway may take to learn of a weight, on a machine that is busy."""


def share(versions: dict[str, int], version: str, weight: int) -> dict[str, Any]:
    """Judge a version's share of the answers against its weight, by the binomial distribution."""
    total = sum(versions.values())
    expected = weight / 100
    deviation = math.sqrt(expected * (1 - expected) / total)
    found = versions.get(version, 0) / total
    return {
        "requests": total,
        "share": round(found, 4),
        "expected": expected,
        "standard_deviations_off": round((found - expected) / deviation, 2),
    }


def shares(
    asking: Traffic, phase: str, version: str, begin: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Judge a version's share of a sample; if it is far off, as one in 370 is by chance, of one more.

    Args:
        asking: the clients.
        phase: what happens meanwhile.
        version: whose share it is.
        begin: makes it happen.
    """
    found: list[dict[str, Any]] = []
    for name in (phase, f"{phase}, once more"):
        asking.phase(name)
        begin()
        asking.go_on(SAMPLE / GATEWAY_RATE + LEARNING_SECONDS)
        found.append(share(asking.phase("between")["gateway"][name], version, WEIGHT))
        if abs(found[-1]["standard_deviations_off"]) <= DEVIATIONS:
            break
    return found


def served_digests(release: Release, track: str) -> set[str]:
    """Read from each ready pod's metrics which digest it serves."""
    found = set()
    for pod in release.ready_pods(track):
        metrics = release.namespace.get_from_pod(pod["metadata"]["name"], "/metrics")
        found |= set(re.findall(r'^tidegate_model_info\{[^}]*digest="([0-9a-f]+)"', metrics, re.MULTILINE))
    return found


def test_canary_split(
    release: Release, traffic: Start, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    rates = {
        "gateway": GATEWAY_RATE,
        "clusterip_new": 10.0,
        "clusterip_keepalive": 10.0,
        "grpc_channel": 10.0,
    }

    def one_more() -> None:
        replicas = len(release.ready_pods("canary")) + 1
        release.upgrade({"canary.minReplicas": replicas, "canary.maxReplicas": replicas}, wait=False)
        canary_ready(release, replicas)

    with traffic(release, rates) as asking:
        asking.phase("canary comes at weight 0")
        evidence["seconds_until_canary_served"] = release.upgrade(
            {"canary.digest": v2.digest, "canary.weight": 0, "canary.minReplicas": 1, "canary.maxReplicas": 1}
        )
        evidence["digests_in_metrics"] = {
            track: sorted(served_digests(release, track)) for track in ("stable", "canary")
        }
        asking.phase("weight moves to 20")
        release.upgrade({"canary.weight": WEIGHT})
        asking.go_on(LEARNING_SECONDS)
        evidence["share"] = steady = shares(asking, "20 %", v2.version)
        evidence["share_while_scaling"] = scaling = shares(
            asking, "20 %, a replica more", v2.version, one_more
        )
        asking.phase("weight moves to 0")
        release.upgrade({"canary.weight": 0})
        asking.go_on(LEARNING_SECONDS)
        asking.phase("canary goes")
        release.upgrade({"canary.digest": ""}, wait=False)
        release.namespace.wait(
            "the canary's end", lambda: "it has pods" if release.pods("canary") else None, timeout=120
        )
        asking.go_on(2)

    report = asking.report
    evidence["clients"] = report.evidence()
    evidence["versions_through_gateway"] = report.clients["gateway"]["versions"]
    assert evidence["digests_in_metrics"] == {"stable": [v1.digest], "canary": [v2.digest]}
    for seen in (steady, scaling):
        assert seen[-1]["requests"] >= SAMPLE
        assert abs(seen[-1]["standard_deviations_off"]) <= DEVIATIONS, seen
    for phase in ("canary comes at weight 0", "canary goes"):
        assert set(report.versions("gateway", phase)) == {v1.version}
    for client in ("clusterip_new", "clusterip_keepalive", "grpc_channel"):
        for phase in report.clients[client]["versions"]:
            assert set(report.versions(client, phase)) == {v1.version}
    report.assert_nothing_lost(at_least=200)


def canary_ready(release: Release, replicas: int) -> None:
    """Wait for the canary's replicas, as the second half of a step says."""
    release.namespace.wait(
        f"{replicas} canary pods",
        lambda: None if len(release.ready_pods("canary")) >= replicas else "fewer",
        timeout=120,
    )


def move(release: Release, asking: Traffic, old: Model, new: Model, previous: list[str]) -> None:
    """Give a release another digest without a loss, by the steps of docs/canary.md."""
    asking.phase("the new one comes as canary")
    release.upgrade({"canary.digest": new.digest, "canary.weight": 0, "canary.minReplicas": 1})
    canary_ready(release, 1)
    asking.phase("it gets a share")
    release.upgrade({"canary.weight": WEIGHT})
    asking.go_on(3)
    asking.phase("1: as many replicas")
    release.upgrade({"canary.minReplicas": REPLICAS})
    canary_ready(release, REPLICAS)
    asking.phase("2: all weight")
    release.upgrade({"canary.weight": 100, "autoscaling.minReplicas": REPLICAS})
    asking.go_on(2)
    asking.phase("3: stable takes the digest")
    release.upgrade({"model.digest": new.digest, "model.previous": [old.digest, *previous]})
    asking.phase("4: weight comes back")
    release.upgrade({"canary.weight": 0})
    asking.go_on(2)
    asking.phase("5: the canary goes")
    release.upgrade({"canary.digest": "", "canary.minReplicas": None}, wait=False)
    release.namespace.wait(
        "the canary's end", lambda: "it has pods" if release.pods("canary") else None, timeout=120
    )
    assert release.recorded()["canary"].get("minReplicas") is None
    asking.phase("after")
    asking.go_on(5)


def judge(release: Release, asking: Traffic, new: Model, evidence: dict[str, Any]) -> None:
    """Hold that nothing was lost, and that all clients ended on the new digest."""
    report = asking.report
    evidence["clients"] = report.evidence()
    evidence["versions"] = {name: report.clients[name]["versions"] for name in CLIENTS}
    report.assert_nothing_lost(at_least=200)
    for client in CLIENTS:
        assert set(report.versions(client, "after")) == {new.version}, client


def test_promote(release: Release, traffic: Start, v1: Model, v2: Model, evidence: dict[str, Any]) -> None:
    release.install(v1, {"autoscaling": {"maxReplicas": REPLICAS}})
    with traffic(release) as asking:
        asking.phase("before")
        asking.go_on(3)
        move(release, asking, v1, v2, [])
    judge(release, asking, v2, evidence)
    values = release.recorded()
    evidence["recorded"] = {"digest": values["model"]["digest"], "previous": values["model"]["previous"]}
    assert evidence["recorded"] == {"digest": v2.digest, "previous": [v1.digest]}


def test_rollback(release: Release, traffic: Start, v1: Model, v2: Model, evidence: dict[str, Any]) -> None:
    # As a promotion from v1 to v2 has left it.
    release.install(v2, {"model": {"previous": [v1.digest]}, "autoscaling": {"maxReplicas": REPLICAS}})
    with traffic(release) as asking:
        asking.phase("before")
        asking.go_on(3)
        back = release.recorded()["model"]["previous"][0]
        assert back == v1.digest
        move(release, asking, v2, v1, [v1.digest])
    judge(release, asking, v1, evidence)
    values = release.recorded()
    evidence["recorded"] = {"digest": values["model"]["digest"], "previous": values["model"]["previous"]}
    assert evidence["recorded"] == {"digest": v1.digest, "previous": [v2.digest, v1.digest]}
