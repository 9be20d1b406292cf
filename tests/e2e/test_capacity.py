# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""From the capacity of one pod to an autoscaler that keeps the latency, and to its simulation.

One run serves both scenarios. The model is a support vector machine: batches save nothing, so its CPU use
follows its load and is a usable signal.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import yaml

from tests.e2e.kube import Object
from tests.e2e.load import LoadTest, replica_changes, summarise
from tests.e2e.model import Model
from tests.e2e.release import CHART, Release, create_namespace
from tests.e2e.target import Target
from tests.e2e.toolbox import FOLDER, Toolbox
from tidegate_loadtests.capacity.chart_values import chart_values
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.capacity.traffic import Autoscaler, Traffic
from tidegate_loadtests.scaling.agreement import largest_difference
from tidegate_loadtests.scaling.hpa import ControllerOptions
from tidegate_loadtests.scaling.replica_model import ReplicaModel
from tidegate_loadtests.scaling.settings import read_settings
from tidegate_loadtests.scaling.simulator import Pipeline, Simulation, simulate
from tidegate_loadtests.scaling.traffic import read_traffic
from tidegate_loadtests.scaling_checks import replica_counts
from tools.cluster.node import (
    HPA_CPU_INITIALIZATION_SECONDS,
    HPA_INITIAL_READINESS_SECONDS,
    HPA_SYNC_SECONDS,
)

CPUS = 0.2
"""Few, so that four replicas and the load generator leave CPU of a small machine idle."""
RESOURCES = {name: {"cpu": "200m", "memory": "768Mi"} for name in ("requests", "limits")}
REQUEST: dict[str, Any] = {"protocol": "v2-binary", "rows_per_request": 50}
THRESHOLD_MS = 400.0
"""Four periods of the CPU limit: a request may meet the end of several quotas."""
LOW, HIGH = 0.4, 2.5
"""The rates of the campaign, in safe rates of one replica: the highest one needs three replicas."""
BEFORE_SECONDS, RAMP_SECONDS, HOLD_SECONDS = 30, 150, 90
MEASUREMENT_SECONDS = 900
METRIC_RESOLUTION_SECONDS = 10.0
"""The resolution of the test cluster's metrics-server."""
CONTROLLER = ControllerOptions(
    sync_period=HPA_SYNC_SECONDS,
    cpu_initialization_period=HPA_CPU_INITIALIZATION_SECONDS,
    initial_readiness_delay=HPA_INITIAL_READINESS_SECONDS,
)


@dataclass(frozen=True)
class SizedRun:
    """A campaign against a release whose autoscaler follows from a measurement.

    Attributes:
        capacity: The measured capacity.
        document: The campaign's verdict.json.
        desired: The desired replicas of the cluster, ``[seconds]``.
        simulation: The same campaign simulated.
        evidence: The figures for the summary.
    """

    capacity: Capacity
    document: dict[str, Any]
    desired: np.ndarray
    simulation: Simulation
    evidence: dict[str, Any]


def campaign(safe_rate: float, release: Release) -> dict[str, Any]:
    """Return a campaign whose traffic grows until it needs three replicas."""
    low, high = round(LOW * safe_rate, 1), round(HIGH * safe_rate, 1)
    thresholds = {"max_p99_ms": THRESHOLD_MS, "max_failure_ratio": 0}
    return {
        "target": {"watch": release.watch},
        "protocols": {REQUEST["protocol"]: 1},
        "rows_per_request": REQUEST["rows_per_request"],
        "connections": 256,
        "timeout": 10,
        "seed": 1,
        "phases": [
            {
                "name": "before",
                "duration": BEFORE_SECONDS,
                "judged": False,
                "load": {"model": "poisson", "rate": low},
            },
            {
                "name": "growth",
                "duration": RAMP_SECONDS,
                "load": {"model": "ramp", "from_rate": low, "to_rate": high},
                "thresholds": thresholds,
            },
            {
                "name": "peak",
                "duration": HOLD_SECONDS,
                "load": {"model": "poisson", "rate": high},
                "thresholds": thresholds,
            },
        ],
        "scaling": {"min_replicas": 1, "max_direction_changes": 0},
    }


def startup_seconds(pod: Object) -> float:
    """Return the seconds from a pod's creation until it was ready."""
    [ready] = [one for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return (datetime.fromisoformat(ready["lastTransitionTime"]) - created).total_seconds()


@pytest.fixture(scope="module")
def sized_run(target: Target, svm: Model, tmp_path_factory: pytest.TempPathFactory) -> SizedRun:
    folder = tmp_path_factory.mktemp("capacity")
    with create_namespace("capacity", target) as namespace:
        release = Release("svm", namespace, target, folder)
        release.install(
            svm,
            {
                "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
                "resources": RESOURCES,
                "server": {"engine": "sklearn"},
            },
        )
        [pod] = release.ready_pods()
        toolbox = Toolbox(namespace, target)
        toolbox.start()
        toolbox.tidegate(
            *("loadtest", "capacity", "--url", f"http://{pod['status']['podIP']}:8080"),
            *("--bundle", svm.reference, "--cpus", str(CPUS)),
            *("--startup-seconds", str(max(1.0, startup_seconds(pod)))),
            *("--protocol", REQUEST["protocol"], "--rows-per-request", str(REQUEST["rows_per_request"])),
            *("--threshold-p99-ms", str(THRESHOLD_MS), "--peak", "100", "--out", FOLDER),
            timeout=MEASUREMENT_SECONDS,
        )
        capacity_file = folder / "capacity.yaml"
        capacity_file.write_text(toolbox.read(f"{FOLDER}/capacity.yaml"))
        capacity = Capacity.read(capacity_file)

        peak = HIGH * capacity.safe_rate
        growth = (HIGH - LOW) * capacity.safe_rate / RAMP_SECONDS
        values_file = folder / "values.capacity.yaml"
        values_file.write_text(chart_values(capacity, Traffic(peak, growth, 0.0), Autoscaler.HPA))
        namespace.helm("upgrade", release.name, str(CHART), "--reset-then-reuse-values", f"-f={values_file}")
        release.wait()
        release.wait_without_load()

        campaign_file = folder / "campaign.yaml"
        load = campaign(capacity.safe_rate, release)
        campaign_file.write_text(json.dumps(load))  # safe_dump would write an alias for the shared thresholds
        test = LoadTest("sized", namespace, target)
        document = test.run(load, svm, f"http://{release.service}")
        timeline = test.timeline(folder)

    rates = read_traffic(campaign_file)
    simulation = simulate(
        rates,
        ReplicaModel.of(capacity),
        read_settings(values_file),
        Pipeline(resolution=METRIC_RESOLUTION_SECONDS, cpu_window=METRIC_RESOLUTION_SECONDS),
        options=CONTROLLER,
    )
    counts = replica_counts(timeline, "desired")
    desired = np.array([counts.at(second) for second in range(len(rates))])
    return SizedRun(
        capacity,
        document,
        desired,
        simulation,
        {
            "capacity": capacity.model_dump(mode="json"),
            "values": yaml.safe_load(values_file.read_text()),
            "load": summarise(document),
            "timeline": replica_changes(timeline),
        },
    )


def test_capacity_to_hpa(sized_run: SizedRun, evidence: dict[str, Any]) -> None:
    evidence |= sized_run.evidence
    settled, predicted = int(sized_run.desired[-1]), int(sized_run.simulation.desired[-1])
    evidence["replicas"] = {"settled": settled, "predicted": predicted}
    assert sized_run.document["verdict"] == "pass", sized_run.document["reasons"]
    assert settled >= 3
    assert abs(settled - predicted) <= 1


def test_simulator_agrees(sized_run: SizedRun, evidence: dict[str, Any]) -> None:
    simulated = sized_run.simulation.desired
    difference = largest_difference(simulated, sized_run.desired, 2 * HPA_SYNC_SECONDS)
    evidence["replicas"] = {
        "observed": sized_run.desired[::10].tolist(),
        "simulated": simulated[::10].tolist(),
        "every_seconds": 10,
    }
    evidence["largest_difference"] = difference
    assert difference <= 1
