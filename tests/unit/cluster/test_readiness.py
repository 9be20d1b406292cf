# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from tools.cluster import readiness


def deployment(**status: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "a", "name": "b", "generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, **status},
    }


def pod(ready: str = "False", **status: Any) -> dict[str, Any]:
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": ready, "reason": "R"},
    ]
    return {"metadata": {"name": "p"}, "status": {"conditions": conditions, **status}}


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, None),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no network"}]}},
            "Ready is False: no network",
        ),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending"}]}},
            "Ready is Unknown: Pending",
        ),
        ({"status": {"conditions": None}}, "Ready is not reported yet"),
        ({"status": None}, "Ready is not reported yet"),
        ({}, "Ready is not reported yet"),
    ],
)
def test_unmet_condition_returns_its_reason(resource: dict[str, Any], reason: str | None) -> None:
    assert readiness.unmet_condition(resource, "Ready") == reason


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (deployment(replicas=2, updatedReplicas=2, availableReplicas=2), None),
        (deployment(replicas=2, updatedReplicas=2, availableReplicas=1), "1 of 2 available"),
        (deployment(replicas=3, updatedReplicas=2, availableReplicas=2), "2 of 2 available"),
        (deployment(), "0 of 2 available"),
        (deployment(observedGeneration=1), "its controller has not observed it yet"),
    ],
)
def test_unfinished_rollout_returns_its_reason(resource: dict[str, Any], reason: str | None) -> None:
    assert readiness.unfinished_rollout(resource) == reason


def test_unfinished_rollouts_are_named() -> None:
    ready = deployment(replicas=2, updatedReplicas=2, availableReplicas=2)
    assert readiness.unfinished_rollouts([ready]) is None
    assert readiness.unfinished_rollouts([ready, deployment()]) == "a/b (0 of 2 available)"


def test_unserved_kinds_are_named() -> None:
    served = {
        "metadata": {"name": "x"},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
    assert readiness.unserved_kinds([served]) is None
    assert readiness.unserved_kinds([served, {"metadata": {"name": "y"}}]) == "not served yet: y"


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (pod("True"), None),
        (pod(phase="Succeeded"), None),
        (
            pod(containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}]),
            "c: ErrImageNeverPull",
        ),
        (
            pod(
                initContainerStatuses=[
                    {"name": "i", "state": {"terminated": {"reason": "E", "message": "m"}}}
                ]
            ),
            "i: E m",
        ),
        (
            {
                "metadata": {"name": "p"},
                "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no cpu"}]},
            },
            "PodScheduled is False: no cpu",
        ),
        (pod(), "Ready is False: R"),
    ],
)
def test_unready_pod_returns_its_reason(resource: dict[str, Any], reason: str | None) -> None:
    assert readiness.unready_pod(resource) == reason
