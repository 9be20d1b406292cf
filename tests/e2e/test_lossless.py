# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What must lose no request, told for each kind of client; and what cannot but lose some, counted."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.e2e import killer
from tests.e2e.kube import CommandError, Object, run
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import CLIENTS, Traffic

Start = Callable[..., Traffic]

LEAST = 200
"""Answers of each client below which nothing is proven: ten seconds' worth."""


def uids(pods: list[Object]) -> set[str]:
    """Tell pods from their successors."""
    return {pod["metadata"]["uid"] for pod in pods}


def test_rolling_update(
    release: Release, traffic: Start, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    before = uids(release.pods())
    with traffic(release) as asking:
        asking.phase("before")
        asking.go_on(3)
        asking.phase("rolling")
        evidence["seconds_to_roll"] = release.upgrade({"model.digest": v2.digest})
        asking.phase("after")
        asking.go_on(15)  # the old pods have drained by then, and kept connections have moved

    evidence["clients"] = asking.report.evidence()
    evidence["versions"] = {name: asking.report.clients[name]["versions"] for name in CLIENTS}
    assert not before & uids(release.pods())
    asking.report.assert_nothing_lost(at_least=LEAST)
    for client in CLIENTS:
        assert set(asking.report.versions(client, "before")) == {v1.version}
        assert asking.report.versions(client, "after")[v2.version] > 0


def test_scale_down(release: Release, traffic: Start, v1: Model, evidence: dict[str, Any]) -> None:
    behavior = {
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
        }
    }
    # A target that the questions do not reach: how many replicas there are is the minimum's to say.
    scaling = {"minReplicas": 4, "maxReplicas": 4, "targetCPUUtilization": 1000, "behavior": behavior}
    release.install(v1, {"autoscaling": scaling})
    began = time.monotonic()
    timeline: list[tuple[float, int]] = []

    def still_too_many() -> str | None:
        count = len(release.pods())
        if not timeline or timeline[-1][1] != count:
            timeline.append((round(time.monotonic() - began, 1), count))
        return None if count == 2 else f"{count} pods"

    with traffic(release) as asking:
        asking.phase("scaling down")
        release.upgrade({"autoscaling.minReplicas": 2}, wait=False)
        began = time.monotonic()
        # Two steps of 30 s, an autoscaler that looks every 15 s on other clusters, and the drain.
        release.namespace.wait("two pods of four", still_too_many, timeout=180)
        asking.phase("after")
        asking.go_on(3)

    evidence["behavior"] = behavior
    evidence["pods_by_second"] = timeline
    evidence["clients"] = asking.report.evidence()
    asking.report.assert_nothing_lost(at_least=LEAST)


def evict(release: Release, pod: Object) -> bool:
    """Evict a pod through the API, as a draining node does; False if the disruption budget forbids it now."""
    namespace, name = release.namespace.name, pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    try:
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        run(["kubectl", "create", "--raw", path, "-f", "-"], stdin=json.dumps(eviction))
    except CommandError as error:
        if "disruption budget" in error.said:
            return False
        raise
    return True


def test_node_drain(release: Release, traffic: Start, v1: Model, evidence: dict[str, Any]) -> None:
    release.install(v1)
    before = release.pods()
    refused = 0
    with traffic(release) as asking:
        asking.phase("evicting")
        for pod in before:

            def not_evicted(pod: Object = pod) -> str | None:
                nonlocal refused
                if evict(release, pod):
                    return None
                refused += 1
                return "the disruption budget keeps it"

            release.namespace.wait(
                f"the eviction of {pod['metadata']['name']}", not_evicted, timeout=120, interval=1
            )
        release.wait()
        asking.phase("after")
        asking.go_on(12)

    evidence["evicted"] = len(before)
    evidence["evictions_that_the_budget_refused"] = refused
    evidence["clients"] = asking.report.evidence()
    assert not uids(before) & uids(release.pods())
    assert refused > 0, "the second eviction should have had to wait for the first pod's successor"
    asking.report.assert_nothing_lost(at_least=LEAST)


def test_pod_kill(
    release: Release, traffic: Start, target: Target, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    victim = release.ready_pods()[0]
    with killer.Killer(target) as weapon, traffic(release) as asking:
        asking.phase("before")
        asking.go_on(3)
        asking.phase("killed")
        evidence["processes_killed"] = weapon.kill(victim)
        asking.go_on(5)
        evidence["seconds_until_all_serve_again"] = release.wait()
        asking.phase("after")
        asking.go_on(3)

    report = asking.report
    evidence["clients"] = report.evidence()
    evidence["losses"] = {name: report.clients[name]["losses"] for name in CLIENTS}
    evidence["why"] = (
        "A killed process answers nobody: what it had accepted is lost, and until kube-proxy has heard of "
        "it, so are new connections. The Gateway repeats both on another pod; the other clients do not."
    )
    [status] = [
        container
        for pod in release.pods()
        if pod["metadata"]["uid"] == victim["metadata"]["uid"]
        for container in pod["status"]["containerStatuses"]
    ]
    evidence["exit_code"] = status["lastState"]["terminated"]["exitCode"]
    assert evidence["exit_code"] == 137
    assert status["restartCount"] == 1
    report.assert_nothing_lost(at_least=LEAST, clients=["gateway"])
    for name in CLIENTS:
        seen = report.clients[name]
        assert seen["answered"] >= LEAST
        # One pod of two is gone until its endpoint is, which takes seconds: at most the questions of those.
        assert seen["lost"] <= 5 * 20, f"{name}: {seen}"
        assert set(report.versions(name, "after")) == {v1.version}
        assert "after" not in seen["lost_by_phase"], seen
