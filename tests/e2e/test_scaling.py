# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Autoscaling by CPU: load adds replicas and its end removes them, and a wrong target fails a campaign."""

from pathlib import Path
from typing import Any

from tests.e2e.kube import Namespace, Object
from tests.e2e.load import LoadTest, replica_changes, summarise
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tidegate_loadtests.scaling_checks import replica_counts

REQUESTS: dict[str, Any] = {
    "rows_per_request": 250,
    "protocols": {"v2-binary": 1},
    "connections": 256,
    "timeout": 30,
    "seed": 1,
}
LOAD_SECONDS = 100
QUIET_SECONDS = 120
"""Longer than the scale-down: the metrics, the stabilization window and two pods, one every 20 s."""
REPLICAS = 3
AUTOSCALING: dict[str, Any] = {
    "minReplicas": 1,
    "maxReplicas": REPLICAS,
    "targetCPUUtilization": 80,
    "behavior": {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 15,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 20}],
        },
    },
}
RESOURCES = {"requests": {"cpu": "150m", "memory": "192Mi"}, "limits": {"cpu": "300m", "memory": "768Mi"}}
GATEWAY_SERVICE = "front"

WRONG_TARGET: dict[str, Any] = {"minReplicas": 1, "maxReplicas": REPLICAS, "targetCPUUtilization": 100}
"""A target that the use never exceeds, because the replica's request is its limit."""
WRONG_TARGET_RESOURCES = {
    "requests": {"cpu": "300m", "memory": "768Mi"},
    "limits": {"cpu": "300m", "memory": "768Mi"},
}
REACTION_SECONDS = 60
LOW_RATE, SMALL_RATE, LARGE_RATE = 2, 6, 400
"""Requests per second; one replica serves about 100, so the largest rate needs more on any machine."""


def scaled_load(release: Release) -> dict[str, Any]:
    """Return a campaign that needs all replicas, and then one.

    A closed loop brings any machine to its capacity.
    """
    thresholds = {"max_failure_ratio": 0}
    return REQUESTS | {
        "target": {"watch": release.watch},
        "phases": [
            {
                "name": "load",
                "duration": LOAD_SECONDS,
                "load": {"model": "closed", "users": 6},
                "thresholds": thresholds,
            },
            {
                "name": "quiet",
                "duration": QUIET_SECONDS,
                "load": {"model": "constant", "rate": LOW_RATE},
                "thresholds": thresholds,
            },
        ],
        "scaling": {
            "min_replicas": 1,
            "max_replicas": REPLICAS,
            "final_replicas": 1,
            "max_direction_changes": 1,
        },
    }


def load_step(release: Release, rate: float) -> dict[str, Any]:
    """Return a campaign whose rate rises at once, to which the autoscaler must react."""
    return REQUESTS | {
        "target": {"watch": release.watch},
        "phases": [
            {
                "name": "before",
                "duration": 10,
                "judged": False,
                "load": {"model": "constant", "rate": LOW_RATE},
            },
            {
                "name": "step",
                "duration": REACTION_SECONDS,
                "load": {"model": "constant", "rate": rate},
                "thresholds": {"max_p95_ms": 1000, "max_failure_ratio": 0},
            },
        ],
        "scaling": {"max_reaction_seconds": REACTION_SECONDS},
    }


def name_gateway(namespace: Namespace, gateway: str) -> str:
    """Give the Gateway a name in the cluster's DNS, which a route can have as its hostname."""
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": GATEWAY_SERVICE},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
    }
    addresses: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": GATEWAY_SERVICE, "labels": {"kubernetes.io/service-name": GATEWAY_SERVICE}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [gateway]}],
    }
    namespace.apply(service, addresses)
    return f"{GATEWAY_SERVICE}.{namespace.name}"


def test_autoscale(
    release: Release,
    namespace: Namespace,
    target: Target,
    gateway: str,
    forest: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    host = name_gateway(namespace, gateway)
    release.install(
        forest,
        {
            "autoscaling": AUTOSCALING,
            "resources": RESOURCES,
            # scikit-learn has a longer service time than the compiled model.
            "server": {"engine": "sklearn", "drainSeconds": 5, "shutdownTimeoutSeconds": 10},
            "route": {"hostnames": [host], "requestTimeoutSeconds": 10},
        },
    )
    release.wait_without_load()

    campaign = scaled_load(release)
    evidence["settings"] = {"autoscaling": AUTOSCALING, "resources": RESOURCES, "campaign": campaign}
    load = LoadTest("load", namespace, target)
    document = load.run(campaign, forest, f"http://{host}")
    evidence["load"] = summarise(document)
    timeline = load.timeline(tmp_path)
    evidence["timeline"] = replica_changes(timeline)
    ready = replica_counts(timeline, "ready")
    evidence["seconds_from_load_to_ready"] = {
        str(count): ready.first(0, LOAD_SECONDS, at_least=count) for count in range(2, REPLICAS + 1)
    }
    assert document["verdict"] == "pass", document["reasons"]
    assert document["timeline"]["ready_replicas"]["most"] == REPLICAS
    assert document["requests"] >= 200


def test_bad_hpa_fails(
    release: Release, namespace: Namespace, target: Target, svm: Model, evidence: dict[str, Any]
) -> None:
    release.install(
        svm,
        {
            "autoscaling": WRONG_TARGET,
            "resources": WRONG_TARGET_RESOURCES,
            "server": {"engine": "sklearn"},
        },
    )
    namespace.wait("the autoscaler's first metrics", release.inactive_reason, timeout=90)
    url = f"http://{release.service}"

    document = LoadTest("small", namespace, target).run(load_step(release, SMALL_RATE), svm, url)
    evidence["small"] = summarise(document)
    assert document["verdict"] == "inconclusive", document["reasons"]
    [reason] = document["reasons"]
    assert "the load never needed more replicas" in reason

    load = LoadTest("large", namespace, target)
    document = load.run(load_step(release, LARGE_RATE), svm, url)
    evidence["large"] = summarise(document)
    assert document["verdict"] == "fail", document["reasons"]
    [reaction] = (reason for reason in document["reasons"] if reason.startswith("reaction time: "))
    assert "the desired replicas stayed at 1" in reaction
    assert reaction in load.log()
