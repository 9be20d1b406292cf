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
