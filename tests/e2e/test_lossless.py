# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Operations that lose no request of any client, and the losses after a SIGKILL and with a lost node."""

import json
import time
from typing import Any

from tests.e2e import killer
from tests.e2e.kube import CommandError, Object, run
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import CLIENTS, RATE, StartTraffic

MIN_RESPONSES = 200
"""The number of successful responses per client that proves a result: those of ten seconds."""
NODE_LOST_RATE = 100.0
"""Requests per second, so that many are in flight or begin before the Gateway ejects the lost pod."""


LOST_SECONDS = {name: 10 if name == "grpc_channel" else 5 for name in CLIENTS}
"""The requests of how many seconds may be lost with a killed process.

Its endpoint remains for seconds. A channel of gRPC that meets it waits 1, 1.6 and 2.6 s before it connects
again, and fails each call until then.
"""


def uids(pods: list[Object]) -> set[str]:
    """Return the pods' uids, which distinguish pods from their successors."""
    return {pod["metadata"]["uid"] for pod in pods}


def wait_for_end(release: Release, old: list[Object]) -> None:
    """Wait until pods have drained and are deleted."""

    def remaining() -> str | None:
        count = len(uids(old) & uids(release.pods()))
        return f"{count} of {len(old)} remain" if count else None

    release.namespace.wait("the end of the old pods", remaining, timeout=60)


def test_rolling_update(
    release: Release, start_traffic: StartTraffic, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    before = release.pods()
    with start_traffic(release) as traffic:
        traffic.phase("before")
        traffic.run_for(3)
        traffic.phase("rolling")
        evidence["seconds_to_roll"] = release.upgrade({"model.digest": v2.digest})
        traffic.phase("after")
        traffic.run_for(15)  # until kept connections have been replaced
        wait_for_end(release, before)

    evidence["clients"] = traffic.report.evidence()
    evidence["versions"] = {name: traffic.report.clients[name]["versions"] for name in CLIENTS}
    traffic.report.assert_nothing_lost(at_least=MIN_RESPONSES)
    for client in CLIENTS:
        assert set(traffic.report.versions(client, "before")) == {v1.version}
        assert traffic.report.versions(client, "after")[v2.version] > 0


def test_scale_down(
    release: Release, start_traffic: StartTraffic, v1: Model, evidence: dict[str, Any]
) -> None:
    behavior = {
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
        }
    }
    # The requests do not reach this target, so the minimum decides the number of replicas.
    scaling = {"minReplicas": 4, "maxReplicas": 4, "targetCPUUtilization": 1000, "behavior": behavior}
    release.install(v1, {"autoscaling": scaling})
    started = time.monotonic()
    timeline: list[tuple[float, int]] = []

    def too_many_pods() -> str | None:
        count = len(release.pods())
        if not timeline or timeline[-1][1] != count:
            timeline.append((round(time.monotonic() - started, 1), count))
        return None if count == 2 else f"{count} pods"

    with start_traffic(release) as traffic:
        traffic.phase("scaling down")
        release.upgrade({"autoscaling.minReplicas": 2}, wait=False)
        started = time.monotonic()
        # Two steps of 30 s, the autoscaler's period of 15 s on other clusters, and the drain.
        release.namespace.wait("two of four pods", too_many_pods, timeout=180)
        traffic.phase("after")
        traffic.run_for(3)

    evidence["behavior"] = behavior
    evidence["pods_by_second"] = timeline
    evidence["clients"] = traffic.report.evidence()
    traffic.report.assert_nothing_lost(at_least=MIN_RESPONSES)


def evict(release: Release, pod: Object) -> bool:
    """Evict a pod as `kubectl drain` does; return False if the disruption budget forbids it."""
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
        if "disruption budget" in error.output:
            return False
        raise
    return True


def test_node_drain(
    release: Release, start_traffic: StartTraffic, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    before = release.pods()
    rejected = 0
    with start_traffic(release) as traffic:
        traffic.phase("evicting")
        for pod in before:

            def not_evicted(pod: Object = pod) -> str | None:
                nonlocal rejected
                if evict(release, pod):
                    return None
                rejected += 1
                return "the disruption budget forbids it"

            release.namespace.wait(
                f"the eviction of {pod['metadata']['name']}", not_evicted, timeout=120, interval=1
            )
        release.wait()
        traffic.phase("after")
        wait_for_end(release, before)
        traffic.run_for(3)

    evidence["evicted"] = len(before)
    evidence["evictions_rejected_by_the_budget"] = rejected
    evidence["clients"] = traffic.report.evidence()
    assert rejected > 0, "expected the second eviction to wait for the first pod's successor"
    traffic.report.assert_nothing_lost(at_least=MIN_RESPONSES)


def test_pod_kill(
    release: Release, start_traffic: StartTraffic, target: Target, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    victim = release.ready_pods()[0]
    with killer.Killer(target) as pod_killer, start_traffic(release) as traffic:
        traffic.phase("before")
        traffic.run_for(3)
        traffic.phase("killed")
        evidence["processes_killed"] = pod_killer.kill(victim)
        traffic.run_for(5)
        evidence["seconds_until_all_serve_again"] = release.wait()
        traffic.phase("after")
        traffic.run_for(3)

    report = traffic.report
    evidence["clients"] = report.evidence()
    evidence["losses"] = {name: report.clients[name]["losses"] for name in CLIENTS}
    evidence["why"] = (
        "A killed process sends no response, so its accepted requests are lost. New connections to it fail "
        "until kube-proxy removes its endpoint. The Gateway retries both on another pod; the other clients "
        "do not."
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
    report.assert_nothing_lost(at_least=MIN_RESPONSES, clients=["gateway"])
    for name in CLIENTS:
        stats = report.clients[name]
        assert stats["succeeded"] >= MIN_RESPONSES
        assert stats["lost"] <= LOST_SECONDS[name] * RATE, f"{name}: {stats}"
        assert set(report.versions(name, "after")) == {v1.version}
        assert "after" not in stats["lost_by_phase"], stats


def test_node_lost(
    release: Release, start_traffic: StartTraffic, target: Target, v1: Model, evidence: dict[str, Any]
) -> None:
    """A pod's packets disappear, as those of a lost node: nothing resets a connection to it."""
    release.install(v1)
    values = release.computed_values()
    attempt = values["backendTrafficPolicy"]["perRetryTimeoutSeconds"]
    victim = release.ready_pods()[0]
    with killer.Killer(target) as pod_killer, start_traffic(release, {"gateway": NODE_LOST_RATE}) as traffic:
        traffic.phase("before")
        traffic.run_for(3)
        traffic.phase("lost")
        evidence["interfaces_turned_off"] = pod_killer.disconnect(victim)
        lost_at = time.monotonic()
        release.namespace.wait(
            "the end of the lost pod's endpoint",
            lambda: "it is ready" if victim["metadata"]["uid"] in uids(release.ready_pods()) else None,
            timeout=60,
        )
        evidence["seconds_until_its_endpoint_ended"] = round(time.monotonic() - lost_at, 1)
        traffic.phase("after")
        traffic.run_for(3)

    stats = traffic.report.clients["gateway"]
    evidence["clients"] = traffic.report.evidence()
    evidence["attempt_seconds"] = attempt
    assert evidence["seconds_until_its_endpoint_ended"] >= 3, "the Gateway knew of the loss at once"
    traffic.report.assert_nothing_lost(at_least=MIN_RESPONSES)
    # At most one attempt waits for the lost pod; the retry reaches another pod.
    assert stats["max_ms"] < 2 * attempt * 1000, stats
