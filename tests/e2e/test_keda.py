# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KEDA: a compiled model scales by its requests in flight, and keeps its replicas without the metric.

The CPU of a compiled model says little about its load, because it computes requests in batches. The metric
comes first from the replicas themselves, then from Prometheus. Each source fails under load. A release also
changes between KEDA and an autoscaler of its own.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kube import CommandError, Object, run
from tests.e2e.load import LoadTest
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.replicas import ReplicaRecorder
from tests.e2e.target import Target
from tests.e2e.traffic import StartTraffic
from tidegate.kubernetes.pods import unmet_condition

PROMETHEUS_ADDRESS = "http://prometheus-operated.monitoring:9090"
REPLICAS = 3
LOAD_SECONDS = 270
STABILIZATION_SECONDS = 75
"""Longer than the query's window of a minute, whose rate is too small until the window is full again."""
OUTAGE_SECONDS = 90
"""Longer than the stabilization window, so that the outage alone would remove replicas."""
CAMPAIGN: dict[str, Any] = {
    "protocols": {"v2-binary": 1},
    "rows_per_request": 100,
    "timeout": 10,
    "seed": 1,
    "phases": [
        {"name": "load", "duration": LOAD_SECONDS, "load": {"model": "closed", "users": 24}},
    ],
}
RESOURCES = {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"cpu": "200m", "memory": "768Mi"}}
SCALING: dict[str, Any] = {
    "type": "keda",
    "minReplicas": 1,
    "maxReplicas": REPLICAS,
    "behavior": {
        "scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}]},
        "scaleDown": {
            "stabilizationWindowSeconds": STABILIZATION_SECONDS,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 20}],
        },
    },
}
KEDA: dict[str, Any] = {"pollingInterval": 5, "inFlightPerReplica": 0.25, "fallbackReplicas": 2}


@dataclass(frozen=True)
class Source:
    """A source of the metric, which the scenario can stop.

    Args:
        name: Its name in the chart's values.
        outage: Stops it for the time of a `with` block.
        available: Returns None as long as KEDA gets the metric from it, and a reason otherwise.
    """

    name: str
    outage: Callable[[], AbstractContextManager[None]]
    available: Callable[[Release], str | None]


@contextmanager
def adapter_outage() -> Iterator[None]:
    """Stop KEDA's metrics adapter; the autoscaler then has no metric.

    An outage of the operator has the same effect, but lasts up to two minutes longer: so long is the longest
    pause between two attempts of the adapter to connect to it.
    """
    scale = ["kubectl", "--namespace=keda", "scale", "deployment/keda-metrics-apiserver"]
    run([*scale, "--replicas=0"])
    try:
        yield
    finally:
        run([*scale, "--replicas=1"])


@contextmanager
def prometheus_outage() -> Iterator[None]:
    """Stop Prometheus; KEDA's queries then fail, and it uses the fallback of the ScaledObject."""
    patch = ["kubectl", "--namespace=monitoring", "patch", "prometheus/prometheus", "--type=merge"]
    run([*patch, f"--patch={json.dumps({'spec': {'replicas': 0}})}"])
    try:
        yield
    finally:
        run([*patch, f"--patch={json.dumps({'spec': {'replicas': 1}})}"])


def in_fallback(release: Release) -> str | None:
    """Return that KEDA uses the fallback of the release's ScaledObject, or None if it does not."""
    scaled = release.namespace.get(f"scaledobject/{release.name}")
    return "KEDA uses the fallback" if unmet_condition(scaled, "Fallback") is None else None


METRICS_API = Source("metrics-api", adapter_outage, Release.inactive_reason)
PROMETHEUS = Source("prometheus", prometheus_outage, in_fallback)


def scale_through_outage(
    source: Source, release: Release, target: Target, model: Model, gateway: str, evidence: dict[str, Any]
) -> None:
    """Scale up by load, stop the source of the metric, restore it, and scale down without load.

    Args:
        source: The source of the metric.
        release: The release under test.
        target: The cluster under test.
        model: The served model.
        gateway: The Gateway's address.
        evidence: Receives the measurements under the source's name.
    """
    namespace = release.namespace
    release.wait_without_load()
    load = LoadTest(f"load-{source.name}", namespace, target)
    with ReplicaRecorder(release) as recorder:
        campaign = CAMPAIGN | {"target": {"headers": {"Host": release.hostname}}}
        load.start(campaign, model, f"http://{gateway}")
        loaded_at = time.time()
        waited = namespace.wait(
            f"{REPLICAS} replicas under load",
            lambda: release.count_mismatch(REPLICAS),
            timeout=150,
            interval=1,
        )
        with source.outage():
            namespace.wait(
                "the effect of the outage",
                lambda: None if source.available(release) else "the metric is available",
                timeout=120,
            )
            affected_at = time.time()
            time.sleep(OUTAGE_SECONDS)
            restored_at = time.time()
        assert load.running() is not None, "the load ended before the outage did, so nothing is proven"
        namespace.wait("the metric after the outage", lambda: source.available(release), timeout=120)
        load.wait()
        ended_at = time.time()
        fell = namespace.wait("one replica after the load", lambda: release.count_mismatch(1), timeout=240)
    points = recorder.between(affected_at, ended_at)
    document = load.document()
    desired = min(point.desired for point in points)
    ready = min(point.ready for point in points)
    evidence[source.name] = {
        "seconds_to_scale_up": round(waited, 1),
        "outage": {
            "from_second": round(affected_at - loaded_at, 1),
            "to_second": round(restored_at - loaded_at, 1),
        },
        "min_replicas_from_outage_to_end_of_load": {"desired": desired, "ready": ready},
        "seconds_to_scale_down": round(fell, 1),
        "load_ended_at_second": round(ended_at - loaded_at, 1),
        "timeline": recorder.changes(loaded_at),
        "load": {key: document[key] for key in ("verdict", "reasons", "requests", "failures", "goodput")},
    }
    assert (desired, ready) == (REPLICAS, REPLICAS)
    assert document["failures"] == 0, document["errors"]


def test_keda_in_flight(
    release: Release, target: Target, gateway: str, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(
        v1,
        {
            "autoscaling": SCALING | {"keda": KEDA | {"source": METRICS_API.name}},
            "resources": RESOURCES,
            "server": {"drainSeconds": 5, "shutdownTimeoutSeconds": 10},
            "route": {"requestTimeoutSeconds": 10},
        },
    )
    evidence["settings"] = {"autoscaling": SCALING | {"keda": KEDA}, "resources": RESOURCES, "load": CAMPAIGN}
    scale_through_outage(METRICS_API, release, target, v1, gateway, evidence)
    release.upgrade(
        {
            "autoscaling.keda.source": PROMETHEUS.name,
            "autoscaling.keda.prometheusAddress": PROMETHEUS_ADDRESS,
            "serviceMonitor": {"enabled": True, "interval": "5s"},
        }
    )
    scale_through_outage(PROMETHEUS, release, target, v1, gateway, evidence)


FALLBACK_FIELDS = (
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/fallback/properties/behavior"
)


@contextmanager
def older_definition() -> Iterator[None]:
    """Take `fallback.behavior` out of the definition of ScaledObjects, as it is before KEDA 2.17."""
    definition = ["kubectl", "patch", "crd/scaledobjects.keda.sh", "--type=json"]
    crd: Object = json.loads(run(["kubectl", "get", "crd/scaledobjects.keda.sh", "--output=json"]))
    field: Any = crd
    for step in FALLBACK_FIELDS.strip("/").split("/"):
        field = field[int(step) if step.isdigit() else step]
    run([*definition, f"--patch={json.dumps([{'op': 'remove', 'path': FALLBACK_FIELDS}])}"])
    try:
        yield
    finally:
        run([*definition, f"--patch={json.dumps([{'op': 'add', 'path': FALLBACK_FIELDS, 'value': field}])}"])


def wait_for_autoscaler(release: Release, name: str) -> float:
    """Wait until an autoscaler of this name is the only one and has a metric; return the seconds."""

    def other() -> str | None:
        names = [item["metadata"]["name"] for item in release.autoscalers()]
        return release.inactive_reason() if names == [name] else f"the autoscalers are {names}"

    return round(release.namespace.wait(f"the autoscaler {name}", other, timeout=120), 1)


def ready_uids(release: Release) -> set[str]:
    """Return the uids of the release's pods that are ready and not being deleted."""
    return {pod["metadata"]["uid"] for pod in release.ready_pods()}


def test_switch_autoscaler(
    release: Release, start_traffic: StartTraffic, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    wait_for_autoscaler(release, f"{release.name}-hpa")
    before = ready_uids(release)
    with start_traffic(release) as traffic:
        traffic.phase("hpa to keda")
        release.upgrade({"autoscaling.type": "keda"})
        evidence["seconds_to_keda"] = wait_for_autoscaler(release, f"{release.name}-keda")
        run(["kubectl", "explain", "scaledobject.spec.fallback.behavior"])  # the chart's notes name it
        with older_definition(), pytest.raises(CommandError, match=r"has lost fallback\.behavior"):
            release.upgrade({"autoscaling.keda.fallbackReplicas": 1}, wait=False)
        traffic.phase("keda to hpa")
        release.upgrade({"autoscaling.type": "hpa"})
        evidence["seconds_to_hpa"] = wait_for_autoscaler(release, f"{release.name}-hpa")
        assert release.namespace.find(f"scaledobject/{release.name}") is None
        traffic.phase("rollback to keda")
        release.namespace.helm("rollback", release.name, "2")
        release.wait()
        evidence["seconds_to_roll_back"] = wait_for_autoscaler(release, f"{release.name}-keda")
        assert ready_uids(release) == before, "a change between hpa and keda restarted pods"
        traffic.phase("keda to none")
        evidence["seconds_to_none"] = release.upgrade({"autoscaling.type": "none"})
        restarted = ready_uids(release)
        traffic.run_for(15)

    evidence["clients"] = traffic.report.evidence()
    assert release.autoscalers() == []
    assert not before & restarted, "the wait ended before KServe restarted the pods"
    assert ready_uids(release) == restarted
    assert len(restarted) == 2
    traffic.report.assert_nothing_lost(at_least=200)
