# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Autoscaling: load adds replicas, its end removes them, and no request fails."""

import time
from pathlib import Path
from typing import Any

from tests.e2e.kube import Namespace, Object
from tests.e2e.load import LoadJob, load_start
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.replicas import ReplicaRecorder
from tests.e2e.target import Target

SECONDS = 100
CAMPAIGN: dict[str, Any] = {
    "rows_per_request": 250,
    "protocols": {"v2-binary": 1},
    "timeout": 30,
    "seed": 1,
    "phases": [
        {
            "name": "load",
            "duration": SECONDS,
            "load": {"model": "closed", "users": 6},
            "thresholds": {"max_failure_ratio": 0},
        }
    ],
}
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
    namespace.wait("the autoscaler's first metrics", release.inactive_reason, timeout=90)
    namespace.wait("one replica without load", lambda: release.count_mismatch(1), timeout=120)

    with ReplicaRecorder(release) as recorder:
        load = LoadJob("load", namespace, target)
        load.start(CAMPAIGN, forest, f"http://{host}")
        load.wait(SECONDS + 120)
        ended_at = time.time()
        namespace.wait(
            "one replica after the load", lambda: release.count_mismatch(1), timeout=180, interval=1
        )

    document = load.document()
    started_at = load_start(document)
    evidence["settings"] = {"autoscaling": AUTOSCALING, "resources": RESOURCES, "load": CAMPAIGN}
    evidence["timeline"] = recorder.changes(started_at)
    evidence["load"] = {
        key: document[key]
        for key in ("verdict", "reasons", "requests", "failures", "goodput", "latency", "generator")
    }
    evidence["seconds_from_load_to_ready"] = {
        str(count): next(
            (
                round(point.time_seconds - started_at, 1)
                for point in recorder.points
                if point.ready >= count and point.time_seconds > started_at
            ),
            None,
        )
        for count in range(2, REPLICAS + 1)
    }
    evidence["seconds_from_end_of_load_to_one"] = round(recorder.points[-1].time_seconds - ended_at, 1)
    assert max(point.ready for point in recorder.points) >= REPLICAS
    assert recorder.points[-1].ready == 1
    assert document["failures"] == 0, document["errors"]
    assert document["requests"] >= 200
    # The verdict is inconclusive if the load generator was the bottleneck.
    assert document["verdict"] == "pass", document["reasons"]
