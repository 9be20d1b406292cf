# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Load makes replicas, its end takes them away, and every request is answered meanwhile."""

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import SECURITY, Namespace, Object, condition, is_ready
from tests.e2e.model import Model, push, train
from tests.e2e.release import SECRET, Release
from tests.e2e.target import Target

FOREST: dict[str, Any] = {
    "name": "forest",
    "task": "classification",
    "data": {"dataset": "breast_cancer", "target_names": True},
    "algorithm": {"name": "RandomForestClassifier", "parameters": {"n_estimators": 100, "max_depth": 6}},
    "seed": 42,
}
"""A model that is dear to ask, so that one replica is what saturates, long before the generator does."""

PLAN: dict[str, Any] = {
    "users": 6,
    "warmup": 0,
    "duration": 100,
    "rows": 250,
    "protocols": {"v2-binary": 1},
    "timeout": 30,
    "seed": 1,
    "objective": {"failure_ratio": 0},
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
FRONT = "front"


class Timeline:
    """Desired and ready replicas once a second, from before the load until after its end.

    Args:
        release: whose replicas.
    """

    def __init__(self, release: Release) -> None:
        self._release = release
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.points: list[tuple[float, int, int, int | None]] = []
        """Time, desired replicas, ready replicas, CPU use in percent of the request."""

    def __enter__(self) -> "Timeline":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            try:
                self._look()
            except AssertionError as error:
                print(f"not seen: {error}")  # a look that fails is a gap in the timeline, and no more

    def _look(self) -> None:
        status = self._release.autoscaler().get("status", {})
        use = [
            metric.get("containerResource", {}).get("current", {}).get("averageUtilization")
            for metric in status.get("currentMetrics") or []
        ]
        ready = len(self._release.ready_pods())
        self.points.append((time.time(), status.get("desiredReplicas", 0), ready, use[0] if use else None))

    def changes(self, zero: float) -> list[dict[str, Any]]:
        """Keep the points where replicas changed, with seconds from a moment."""
        kept: list[dict[str, Any]] = []
        for moment, desired, ready, use in self.points:
            if not kept or (kept[-1]["desired"], kept[-1]["ready"]) != (desired, ready):
                kept.append(
                    {
                        "second": round(moment - zero, 1),
                        "desired": desired,
                        "ready": ready,
                        "cpu_percent": use,
                    }
                )
        return kept


@pytest.fixture(scope="module")
def forest(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return push(train(FOREST, tmp_path_factory.mktemp("forest")), target)


def front(namespace: Namespace, gateway: str) -> str:
    """Give the Gateway a name in the cluster's DNS, of which a route can be made."""
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": FRONT},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
    }
    addresses: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": FRONT, "labels": {"kubernetes.io/service-name": FRONT}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [gateway]}],
    }
    namespace.apply(service, addresses)
    return f"{FRONT}.{namespace.name}"


def locust(namespace: Namespace, target: Target, model: Model, url: str) -> str:
    """Start the load as a Job and return its name."""
    container = {
        "name": "loadtest",
        "image": target.images["loadtest"],
        "imagePullPolicy": "IfNotPresent",
        "args": [
            *("loadtest", "run", "/plan/loadtest.yaml", "--url", url, "--contract", model.reference),
            *("--out", "/work/report", "--output", "json"),
        ],
        "envFrom": [{"secretRef": {"name": SECRET}}],
        "env": [{"name": "AWS_ENDPOINT_URL", "value": target.s3_from_pods}],
        "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "plan", "mountPath": "/plan", "readOnly": True},
            {"name": "work", "mountPath": "/work"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    name = "load"
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"loadtest.yaml": json.dumps(PLAN)},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": False,
                        "containers": [container],
                        "volumes": [
                            {"name": "plan", "configMap": {"name": name}},
                            {"name": "work", "emptyDir": {}},
                            {"name": "tmp", "emptyDir": {}},
                        ],
                    }
                },
            },
        },
    )
    return name


def test_autoscale(
    release: Release,
    namespace: Namespace,
    target: Target,
    gateway: str,
    forest: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    host = front(namespace, gateway)
    release.install(
        forest,
        {
            "autoscaling": AUTOSCALING,
            "resources": RESOURCES,
            # scikit-learn itself, which takes tens of milliseconds for such a request.
            "server": {"engine": "sklearn", "drainSeconds": 5, "shutdownTimeoutSeconds": 10},
            "route": {"hostnames": [host], "requestTimeoutSeconds": 10},
        },
    )
    namespace.wait("the autoscaler's first look", lambda: _active(release), timeout=90)
    namespace.wait("one replica at rest", lambda: _count(release, 1), timeout=120)

    with Timeline(release) as timeline:
        job = locust(namespace, target, forest, f"http://{host}")

        def not_over() -> str | None:
            found = namespace.get(f"job/{job}")
            ended = [condition(found, kind).get("status") for kind in ("Complete", "Failed")]
            return None if "True" in ended else "still asking"

        namespace.wait("the end of the load", not_over, timeout=PLAN["duration"] + 120, interval=1)
        ended = time.time()
        namespace.wait("one replica again", lambda: _count(release, 1), timeout=180, interval=1)

    [pod] = namespace.pods(f"batch.kubernetes.io/job-name={job}")
    log = namespace.logs(pod["metadata"]["name"])
    assert "{" in log, log[-3000:]
    document = json.loads(log[log.index("{") : log.rindex("}") + 1])
    began = first_load(document)
    evidence["settings"] = {"autoscaling": AUTOSCALING, "resources": RESOURCES, "load": PLAN}
    evidence["timeline"] = timeline.changes(began)
    told = ("verdict", "reasons", "requests", "failures", "rps", "p50_ms", "p99_ms", "generator")
    evidence["load"] = {key: document[key] for key in told if key in document}
    evidence["seconds_from_load_to_ready"] = {
        str(count): next(
            (
                round(moment - began, 1)
                for moment, _, ready, _ in timeline.points
                if ready >= count and moment > began
            ),
            None,
        )
        for count in range(2, REPLICAS + 1)
    }
    evidence["seconds_from_end_of_load_to_one"] = round(timeline.points[-1][0] - ended, 1)
    assert max(ready for _, _, ready, _ in timeline.points) >= REPLICAS
    assert timeline.points[-1][2] == 1
    assert document["failures"] == 0, document["errors"]
    assert document["requests"] >= 200
    # A generator that was the bottleneck makes the campaign void.
    assert document["verdict"] == "pass", document["reasons"]


def first_load(document: dict[str, Any]) -> float:
    """Tell when the generator asked first."""
    return datetime.fromisoformat(document["began"]).replace(tzinfo=UTC).timestamp()


def _active(release: Release) -> str | None:
    active = condition(release.autoscaler(), "ScalingActive")
    return None if active.get("status") == "True" else active.get("message", "it has not looked yet")


def _count(release: Release, wanted: int) -> str | None:
    pods = release.pods()
    return None if len(pods) == wanted == len([pod for pod in pods if is_ready(pod)]) else f"{len(pods)} pods"
