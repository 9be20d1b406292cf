# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Overload: goodput stays near the capacity, and rejections end with the overload.

The model is a forest in scikit-learn on little CPU: its service time is long, and rejections compete with it
for the CPU. The campaign's thresholds judge each phase.
"""

from typing import Any

from tests.e2e.kube import Namespace
from tests.e2e.load import LoadTest, summarise
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tidegate_loadtests.error_texts import OTHER_ERRORS

RESOURCES = {"requests": {"cpu": "150m", "memory": "192Mi"}, "limits": {"cpu": "300m", "memory": "768Mi"}}
MAX_CLIENTS = 1_024
REQUESTS = {
    "protocols": {"v2-binary": 1},
    # So many that the server needs several times the generator's CPU per request.
    "rows_per_request": 1_000,
    "connections": MAX_CLIENTS,
    "timeout": 30,
    "seed": 1,
}
MEASUREMENT_SECONDS = 30
OVERLOAD_SECONDS = 60
RECOVERY_SECONDS = 10
"""The time after the overload in which rejections may still occur."""
HALF_SECONDS = 20
MIN_GOODPUT_RATIO = 0.5
"""A collapse leaves less than half. The machine's speed changes between phases: the benchmark is closer."""
CLIENTS = 16
"""The clients that measure the capacity. They have two of the largest batches, of 8 such requests.

With fewer clients, twice the measured rate is less than the capacity. With many more, the queue of a slow
machine is longer than the 2 s that the server admits, and a closed loop that measures must lose nothing.
"""
CLIENT_SECONDS = 5
"""The clients of the overload are as many as the requests of this time, and the queue admits those of 2 s.

So they are too many also if the machine becomes faster after the measurement.

Each sends its next request at once, also after a rejection.
"""


def measurement() -> dict[str, Any]:
    """Return the campaign that measures the capacity: a closed loop."""
    load = {"model": "closed", "users": CLIENTS}
    return REQUESTS | {
        "phases": [
            {"name": "warm-up", "duration": 5, "judged": False, "load": load},
            {"name": "capacity", "duration": MEASUREMENT_SECONDS, "load": load},
        ]
    }


def overload(capacity: float) -> dict[str, Any]:
    """Return the campaign that overloads the server twice, each time followed by half of the capacity."""
    half = {"model": "constant", "rate": round(capacity / 2, 2)}
    # Any ratio of rejections is allowed during the overload, so goodput decides.
    goodput = {"max_failure_ratio": 0.99, "min_goodput": round(capacity * MIN_GOODPUT_RATIO, 2)}
    phases = []
    for name, load in (
        ("open-loop", {"model": "constant", "rate": round(capacity * 2, 2)}),
        ("closed-loop", {"model": "closed", "users": min(MAX_CLIENTS, round(CLIENT_SECONDS * capacity))}),
    ):
        phases += [
            {"name": name, "duration": OVERLOAD_SECONDS, "load": load, "thresholds": goodput},
            {"name": f"{name}-end", "duration": RECOVERY_SECONDS, "judged": False, "load": half},
            {
                "name": f"{name}-half",
                "duration": HALF_SECONDS,
                "load": half,
                "thresholds": {"max_failure_ratio": 0},
            },
        ]
    return REQUESTS | {"phases": phases}


def test_overload_no_collapse(
    release: Release, namespace: Namespace, target: Target, forest: Model, evidence: dict[str, Any]
) -> None:
    release.install(
        forest,
        {
            "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
            "resources": RESOURCES,
            "server": {"engine": "sklearn"},
        },
    )
    url = f"http://{release.service}"
    measured = LoadTest("capacity", namespace, target).run(measurement(), forest, url)
    capacity = evidence["capacity"] = measured["phases"][-1]["goodput"]
    assert measured["verdict"] == "pass", measured["reasons"]

    campaign = evidence["campaign"] = overload(capacity)
    document = LoadTest("overload", namespace, target).run(campaign, forest, url)
    evidence["load"] = summarise(document)
    evidence["phases"] = document["phases"]
    assert document["verdict"] == "pass", document["reasons"]
    phases = {phase["name"]: phase for phase in document["phases"]}
    for name in ("open-loop", "closed-loop"):
        errors = [error["error"] for error in phases[name]["errors"]]
        assert errors, f"{name}: nothing was rejected"
        assert all(error.startswith(("status 429", OTHER_ERRORS)) for error in errors), errors
