# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A canary before it has a weight: mirrored requests, paired predictions, and the split without a Gateway."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.test_canary import estimate_ratio
from tests.e2e.traffic import ClientPod, StartTraffic
from tidegate.protocol.constants import PAIRS_PORT
from tidegate_rollout.cluster import PodClient

RATE = 60.0
PERCENT = 50
SECONDS = 20.0
DEVIATIONS = 4
"""The largest accepted deviation from a percentage, in standard deviations: once in 16,000 runs."""
CONNECTIONS = 400

VERSIONS = """
import collections, json, sys, urllib.request

versions = collections.Counter()
for _ in range(int(sys.argv[2])):
    with urllib.request.urlopen(sys.argv[1], timeout=10) as response:
        versions[json.load(response)["versions"][0]] += 1
print(json.dumps(versions))
"""
"""Counts the versions that a Service returns on connections of their own."""

CONNECT = """
import socket, sys

try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()
except OSError as error:
    print(type(error).__name__)
else:
    print("connected")
"""


def successes(release: Release, track: str, metric: str) -> float:
    """Return the sum of a counter's successful responses over a track's pods."""
    total = 0.0
    for pod in release.ready_pods(track):
        page = release.namespace.get_from_pod(pod["metadata"]["name"], "/metrics")
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == metric and sample.labels["code"] in ("200", "OK"):
                    total += sample.value
    return total


def read_labels(release: Release, track: str) -> dict[str, Any]:
    """Return the sampled labels of a track's pods by key, through port-forwards."""
    pods, labels = PodClient(release.namespace.name), {}
    for pod in release.ready_pods(track):
        document = json.loads(pods.get(pod["metadata"]["name"], PAIRS_PORT, "/pairs?after=0"))
        labels |= {key: label for key, _, label, _ in document["samples"]}
    return labels


def pod_names(release: Release) -> set[str]:
    return {pod["metadata"]["name"] for track in ("stable", "canary") for pod in release.pods(track)}


def test_canary_mirror(
    release: Release,
    client: ClientPod,
    start_traffic: StartTraffic,
    v1: Model,
    v2: Model,
    evidence: dict[str, Any],
) -> None:
    release.install(v1, {"server": {"pairsSampleRate": 1}, "service": {"enabled": True}})
    release.upgrade({"canary.digest": v2.digest, "canary.minReplicas": 1, "canary.maxReplicas": 1})
    pods = pod_names(release)
    with start_traffic(release, {"gateway": RATE}) as traffic:
        traffic.phase("mirror")
        release.upgrade({"canary.mirrorPercent": PERCENT})
        traffic.run_for(5)  # until the Gateway mirrors
        sent = successes(release, "stable", "tidegate_requests_total")
        mirrored = successes(release, "canary", "tidegate_shadow_requests_total")
        traffic.run_for(SECONDS)
        sent = successes(release, "stable", "tidegate_requests_total") - sent
        mirrored = successes(release, "canary", "tidegate_shadow_requests_total") - mirrored
        release.upgrade({"canary.mirrorPercent": 0})
        users = successes(release, "canary", "tidegate_requests_total")
    report = traffic.report
    counts = {"mirrored": round(mirrored), "not mirrored": round(sent - mirrored)}
    evidence["mirrored"] = estimate_ratio(counts, "mirrored", PERCENT)

    stable, canary = read_labels(release, "stable"), read_labels(release, "canary")
    pairs = stable.keys() & canary.keys()
    evidence["pairs"] = len(pairs)
    evidence["canary_samples_without_pair"] = len(canary.keys() - pairs)
    evidence["labels_agree"] = sum(stable[key] == canary[key] for key in pairs) / len(pairs)
    [pod] = release.ready_pods("canary")
    address = pod["status"]["podIP"]
    evidence["from_another_pod"] = {
        port: client.run("python", "-c", CONNECT, address, str(port)).strip()
        for port in (8083, 8084, PAIRS_PORT)
    }

    def tracks() -> dict[str, int]:
        url = f"http://{release.name}-tracks.{release.namespace.name}/v2/models/{v1.name}"
        counts: dict[str, int] = json.loads(client.run("python", "-c", VERSIONS, url, str(CONNECTIONS)))
        return counts

    evidence["versions_before_the_split"] = tracks()
    release.upgrade({"canary.splitByReplicas": True})
    traffic.run_for(5)  # until the nodes know the endpoints
    evidence["split"] = split = estimate_ratio(tracks(), v2.version, 100 / 3)
    release.upgrade({"canary.splitByReplicas": False})
    traffic.run_for(5)
    evidence["versions_after_the_split"] = tracks()
    evidence["pods_restarted"] = len(pod_names(release) ^ pods)

    report.assert_nothing_lost(at_least=200)
    assert set(report.versions("gateway", "mirror")) == {v1.version}
    assert users == 0
    assert abs(evidence["mirrored"]["standard_deviations_off"]) <= DEVIATIONS
    assert len(pairs) > 0.9 * mirrored
    assert evidence["from_another_pod"] == {
        8083: "connected",
        8084: "connected",
        PAIRS_PORT: "ConnectionRefusedError",
    }
    assert set(evidence["versions_before_the_split"]) == {v1.version}
    assert abs(split["standard_deviations_off"]) <= DEVIATIONS
    assert set(evidence["versions_after_the_split"]) == {v1.version}
    assert evidence["pods_restarted"] == 0
