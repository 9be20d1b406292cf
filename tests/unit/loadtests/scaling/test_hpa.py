# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_loadtests.scaling.hpa import ControllerState, Decision, Observation, decide
from tidegate_loadtests.scaling.hpa_spec import HpaSpec, MetricSpec
from tidegate_loadtests.scaling.replica_calculator import Metric

TARGET = 8
IN_FLIGHT = MetricSpec("External", "in_flight", "AverageValue", 1000 * TARGET)
SYNC = 15.0


def make_spec(behavior: dict[str, Any] | None = None, **fields: Any) -> HpaSpec:
    values: dict[str, Any] = {"min_replicas": 1, "max_replicas": 20, "metrics": (IN_FLIGHT,)}
    return HpaSpec.model_validate(values | {"behavior": behavior} | fields)


def observe(replicas: int, *metrics: Metric) -> Observation:
    return Observation(replicas, replicas, (), metrics)


def run(spec: HpaSpec, replicas: int, wanted: list[int | None]) -> list[Decision]:
    """Decide at each sync; the metric proposes the wanted replicas, or fails."""
    state, decisions = ControllerState(), []
    for index, proposal in enumerate(wanted, 1):
        metric = None if proposal is None else proposal * 1000 * TARGET
        decision = decide(spec, observe(replicas, metric), state, SYNC * index)
        replicas, state = decision.replicas, decision.state
        decisions.append(decision)
    return decisions


DOWN_AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


@pytest.mark.parametrize(
    ("behavior", "replicas", "wanted", "expected"),
    [
        pytest.param(None, 2, [9, 9, 9], [4, 8, 9], id="absent_doubles"),
        pytest.param(None, 1, [9, 9], [4, 8], id="absent_from_one_to_four"),
        pytest.param(None, 6, [3] * 22, [6] * 21 + [3], id="absent_holds_five_minutes"),
        pytest.param({}, 2, [9, 9, 9], [6, 9, 9], id="defaults_add_four_or_double"),
        pytest.param({}, 6, [3] * 21, [6] * 20 + [3], id="defaults_hold_one_sync_less"),
        pytest.param(DOWN_AT_ONCE, 6, [3], [3], id="no_window_falls_at_once"),
        pytest.param(
            {"scaleUp": {"stabilizationWindowSeconds": 30}}, 2, [6, 6, 6], [2, 2, 6], id="up_window_waits"
        ),
        pytest.param(
            {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]}},
            1,
            [9, 9, 9, 9, 9],
            [2, 2, 3, 3, 4],
            id="one_pod_per_period",
        ),
        pytest.param(
            {
                "scaleDown": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
                }
            },
            10,
            [1, 1, 1, 1, 1],
            [5, 5, 5, 5, 2],
            id="half_per_minute",
        ),
        pytest.param({"scaleUp": {"selectPolicy": "Disabled"}}, 2, [9, 9], [2, 2], id="disabled_stays"),
        pytest.param({"scaleUp": {"selectPolicy": "Min"}}, 2, [9], [4], id="min_takes_the_slower_policy"),
    ],
)
def test_decide_behavior_sets_the_pace(
    behavior: dict[str, Any] | None, replicas: int, wanted: list[int | None], expected: list[int]
) -> None:
    decisions = run(make_spec(behavior), replicas, wanted)
    assert [decision.replicas for decision in decisions] == expected


@pytest.mark.parametrize(
    ("usage", "behavior", "expected"),
    [
        (1.1, None, 10),
        (1.11, None, 12),
        (0.9, None, 10),
        (0.89, DOWN_AT_ONCE, 9),
        (1.2, {"scaleUp": {"tolerance": "0.2"}}, 10),
        (1.02, {"scaleUp": {"tolerance": "0.01"}}, 11),
        (0.6, DOWN_AT_ONCE | {"scaleUp": {"tolerance": "0.5"}}, 6),
    ],
)
def test_decide_usage_ratio_is_compared_with_tolerance(
    usage: float, behavior: dict[str, Any] | None, expected: int
) -> None:
    metric = round(usage * 10 * 1000 * TARGET)
    assert decide(make_spec(behavior), observe(10, metric), ControllerState(), SYNC).replicas == expected


@pytest.mark.parametrize(
    ("replicas", "metrics", "expected", "reason"),
    [
        (4, (32_000 * 2, 32_000), 8, "ValidMetricFound"),
        (4, (64_000, None), 8, "ValidMetricFound"),
        (4, (16_000, None), 4, "FailedGetExternalMetric"),
        (4, (None, None), 4, "FailedGetExternalMetric"),
        (4, (16_000, 8_000), 2, "ValidMetricFound"),
        (0, (64_000, 64_000), 0, "ScalingDisabled"),
    ],
)
def test_decide_several_metrics_highest_proposal_wins(
    replicas: int, metrics: tuple[int | None, ...], expected: int, reason: str
) -> None:
    spec = make_spec(DOWN_AT_ONCE, metrics=(IN_FLIGHT, IN_FLIGHT))
    decision = decide(spec, observe(replicas, *metrics), ControllerState(), SYNC)
    assert (decision.replicas, decision.scaling_active) == (expected, reason)


@pytest.mark.parametrize(("replicas", "expected"), [(30, 20), (1, 2)])
def test_decide_replicas_outside_bounds_ignore_metrics(replicas: int, expected: int) -> None:
    spec = make_spec({}, min_replicas=2)
    assert decide(spec, observe(replicas, None), ControllerState(), SYNC).replicas == expected


def test_decide_scale_event_counts_until_its_period_ends() -> None:
    behavior = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 45}]}}
    replicas = [made.replicas for made in run(make_spec(behavior), 1, [2, 9, 9, 9, 9])]
    assert replicas == [2, 3, 3, 4, 5]


proposals = st.lists(st.one_of(st.none(), st.integers(0, 60)), min_size=1, max_size=30)
behaviors = st.sampled_from([None, {}, DOWN_AT_ONCE, {"scaleUp": {"stabilizationWindowSeconds": 60}}])


@given(proposals, behaviors, st.integers(1, 5), st.integers(5, 30))
def test_decide_any_metrics_replicas_stay_within_bounds(
    wanted: list[int | None], behavior: dict[str, Any] | None, minimum: int, maximum: int
) -> None:
    spec = make_spec(behavior, min_replicas=minimum, max_replicas=maximum)
    assert all(minimum <= made.replicas <= maximum for made in run(spec, minimum, wanted))


@given(proposals, behaviors, st.integers(0, 500_000), st.integers(0, 500_000))
def test_decide_more_usage_never_gives_fewer_replicas(
    wanted: list[int | None], behavior: dict[str, Any] | None, one: int, other: int
) -> None:
    spec = make_spec(behavior)
    last = run(spec, 3, wanted)[-1]
    now = SYNC * (len(wanted) + 1)
    low, high = (
        decide(spec, observe(last.replicas, usage), last.state, now).replicas
        for usage in sorted((one, other))
    )
    assert low <= high


@given(proposals, behaviors)
def test_decide_failed_metric_keeps_the_replicas(
    wanted: list[int | None], behavior: dict[str, Any] | None
) -> None:
    *_, before, after = run(make_spec(behavior), 3, [*wanted, None])
    assert after.replicas == before.replicas
