# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace
from typing import Any

import pytest

from tidegate_loadtests.scaling.hpa_spec import MetricSpec
from tidegate_loadtests.scaling.replica_calculator import PodMetric, PodState, ReplicaCalculator, Tolerances

NOW = 1000.0
CPU = MetricSpec("ContainerResource", "cpu", "Utilization", 80)
REQUEST = 500


def make_pod(name: str, **fields: Any) -> PodState:
    values: dict[str, Any] = {"started_at": 0.0, "ready_changed_at": 10.0, "request": REQUEST}
    return PodState(name, **values | fields)


def usage(**values: int) -> dict[str, PodMetric]:
    return {name: PodMetric(value, NOW - 10, 15) for name, value in values.items()}


def propose(spec: MetricSpec, metric: Any, *pods: PodState, replicas: int | None = None) -> int | None:
    count = len(pods) if replicas is None else replicas
    return ReplicaCalculator(pods, count, count, Tolerances(0.1, 0.1), NOW).propose(spec, metric)


@pytest.mark.parametrize(
    ("second", "metrics", "expected"),
    [
        pytest.param(make_pod("b"), usage(a=800, b=800), 4, id="all_ready"),
        pytest.param(make_pod("b", phase="Pending"), usage(a=800), 2, id="pending_counts_as_idle"),
        pytest.param(make_pod("b"), usage(a=800), 2, id="missing_counts_as_idle_above_target"),
        pytest.param(make_pod("b"), usage(a=100), 2, id="missing_counts_as_busy_below_target"),
        pytest.param(make_pod("b", deleted=True), usage(a=800, b=800), 2, id="deleted_is_ignored"),
        pytest.param(make_pod("b", phase="Failed"), usage(a=800), 2, id="failed_is_ignored"),
        pytest.param(make_pod("b", request=None), usage(a=800, b=800), None, id="no_request_is_invalid"),
        pytest.param(make_pod("b", ready=None), usage(a=1600, b=9000), 4, id="without_condition_unready"),
        pytest.param(
            make_pod("b", started_at=NOW - 60, ready_changed_at=NOW - 20),
            usage(a=1600, b=9000),
            4,
            id="metric_before_ready_is_unready",
        ),
        pytest.param(
            make_pod("b", started_at=NOW - 60, ready_changed_at=NOW - 25),
            usage(a=800, b=800),
            4,
            id="metric_of_ready_window_counts",
        ),
        pytest.param(
            make_pod("b", started_at=NOW - 300, ready="False", ready_changed_at=NOW - 200),
            usage(a=800, b=800),
            4,
            id="unready_later_than_start_counts",
        ),
        pytest.param(
            make_pod("b", started_at=NOW - 300, ready="False", ready_changed_at=NOW - 271),
            usage(a=1600, b=800),
            4,
            id="never_ready_does_not_count",
        ),
    ],
)
def test_propose_utilization_by_pod_state(
    second: PodState, metrics: dict[str, PodMetric], expected: int | None
) -> None:
    assert propose(CPU, metrics, make_pod("a"), second) == expected


@pytest.mark.parametrize(
    ("target_type", "value", "replicas", "ready", "expected"),
    [
        ("AverageValue", 24_000, 3, 3, 3),
        ("AverageValue", 26_500, 3, 3, 4),
        ("AverageValue", 0, 3, 3, 0),
        ("AverageValue", 24_000, 0, 0, 3),
        ("Value", 8_800, 4, 4, 4),
        ("Value", 16_000, 4, 3, 6),
        ("Value", 8_001, 0, 0, 2),
    ],
)
def test_propose_external_value_by_target_type(
    target_type: Any, value: int, replicas: int, ready: int, expected: int
) -> None:
    pods = [make_pod(f"p{index}", ready=str(index < ready)) for index in range(replicas)]
    assert propose(MetricSpec("External", "in_flight", target_type, 8000), value, *pods) == expected


def test_propose_utilization_is_whole_percent() -> None:
    metrics = usage(a=444)  # 88.8 % of the request, which the controller reads as 88: within tolerance
    assert propose(CPU, metrics, make_pod("a")) == 1


def test_propose_missing_pod_counts_as_the_target_above_100_percent() -> None:
    target = replace(CPU, target=140)
    # With 100 % of its request instead of 140 %, the missing pod would let the replicas fall to 1.
    assert propose(target, usage(a=100), make_pod("a"), make_pod("b")) == 2


def test_propose_huge_value_is_limited_to_32_bits() -> None:
    for target_type in ("Value", "AverageValue"):
        spec = MetricSpec("External", "in_flight", target_type, 1)
        assert propose(spec, 2**62, make_pod("a")) == 2**31 - 1


def test_propose_average_value_unready_does_not_apply_to_pods_metric() -> None:
    rows = MetricSpec("Pods", "rows", "AverageValue", 400)
    assert propose(rows, usage(a=800, b=800), make_pod("a"), make_pod("b", ready=None)) == 4


@pytest.mark.parametrize(("metric", "pods"), [(None, 1), ({}, 1), (usage(a=800), 0)])
def test_propose_without_usage_is_invalid(metric: Any, pods: int) -> None:
    assert propose(CPU, metric, *[make_pod("a")][:pods], replicas=1) is None
