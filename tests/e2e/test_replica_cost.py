# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The CPU time per response of two replicas behind the Gateway, compared with that of one.

The load grows with the replicas, as an autoscaler keeps it. The CPU time is that of the servers alone.
"""

import time
from dataclasses import dataclass
from typing import Any

from tests.e2e.kube import Namespace
from tests.e2e.load import LoadTest
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tidegate_loadtests.capacity.server_metrics import parse_samples

RATE = 400.0
"""Requests per second and replica."""
REPLICAS = (1, 2, 1, 2)
"""The measured numbers of replicas. The best measurement of each counts: a busy machine only adds time."""
MEASURED_SECONDS = 20
PHASE_SECONDS = MEASURED_SECONDS + 20
"""The duration of the load, which begins before the measurement and ends after it."""
MIN_RATIO = 0.95


@dataclass(frozen=True)
class Usage:
    """The counters of one pod since its start."""

    responses: float
    cpu_seconds: float

    @classmethod
    def of(cls, release: Release, pod: str) -> "Usage":
        """Scrape a pod."""
        values, _ = parse_samples(release.namespace.get_from_pod(pod, "/metrics"))
        return cls(values["tidegate_request_duration_seconds_count"], values["process_cpu_seconds_total"])

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(self.responses - earlier.responses, self.cpu_seconds - earlier.cpu_seconds)


def campaign(release: Release, replicas: int) -> dict[str, Any]:
    """Return a constant load that grows with the replicas."""
    return {
        "target": {"headers": {"Host": release.hostname}},
        "protocols": {"v1": 1},
        "connections": 64,
        "seed": 1,
        "phases": [
            {"name": "load", "duration": PHASE_SECONDS, "load": {"model": "poisson", "rate": RATE * replicas}}
        ],
    }


def measure(release: Release, load: LoadTest, replicas: int, model: Model, url: str) -> dict[str, Any]:
    """Load all replicas, and return the responses and the CPU time of each in the middle of the load."""
    pods = sorted(pod["metadata"]["name"] for pod in release.ready_pods())
    assert len(pods) == replicas
    idle = {pod: Usage.of(release, pod) for pod in pods}

    def unloaded() -> str | None:
        waiting = [pod for pod in pods if (Usage.of(release, pod) - idle[pod]).responses < RATE]
        return f"no load on {', '.join(waiting)}" if waiting else None

    load.start(campaign(release, replicas), model, url)
    release.namespace.wait("the load", unloaded, timeout=120)
    first = {pod: Usage.of(release, pod) for pod in pods}
    time.sleep(MEASURED_SECONDS)
    used = {pod: Usage.of(release, pod) - first[pod] for pod in pods}
    load.wait()
    document = load.document()
    assert document["failures"] == 0, document["errors"]
    responses = sum(usage.responses for usage in used.values())
    return {
        "replicas": replicas,
        "responses_by_pod": [usage.responses for usage in used.values()],
        "cpu_seconds_by_pod": [round(usage.cpu_seconds, 2) for usage in used.values()],
        "responses_per_cpu_second": responses / sum(usage.cpu_seconds for usage in used.values()),
    }


def test_replica_cost(
    release: Release,
    namespace: Namespace,
    target: Target,
    gateway: str,
    v1: Model,
    evidence: dict[str, Any],
) -> None:
    release.install(v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}})
    rates: dict[int, list[float]] = {}
    evidence["measurements"] = []
    for number, replicas in enumerate(REPLICAS):
        if number:
            release.upgrade({"autoscaling.minReplicas": replicas, "autoscaling.maxReplicas": replicas})
        namespace.wait(
            f"{replicas} replicas", lambda count=replicas: release.count_mismatch(count), timeout=120
        )
        load = LoadTest(f"load-{number}", namespace, target)
        measurement = measure(release, load, replicas, v1, f"http://{gateway}")
        evidence["measurements"].append(measurement)
        rates.setdefault(replicas, []).append(measurement["responses_per_cpu_second"])

    for pod_responses in (each["responses_by_pod"] for each in evidence["measurements"]):
        # Equal shares would be 1; below a quarter, the second replica proves nothing.
        assert min(pod_responses) >= 0.25 * max(pod_responses)
    evidence["pods_2_vs_1"] = max(rates[2]) / max(rates[1])
    assert evidence["pods_2_vs_1"] >= MIN_RATIO
