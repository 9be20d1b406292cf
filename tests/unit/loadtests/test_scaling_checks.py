# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.campaigns import make_campaign
from tests.support.timelines import make_series, make_timeline
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.checks import CheckResult
from tidegate_loadtests.scaling_checks import check_scaling, respond, terminating_times
from tidegate_loadtests.timeline.records import PodRecord, Timeline

SAFE_RATE = 150.0


def make_step_campaign(scaling: dict[str, Any], rates: tuple[float, ...] = (100, 400)) -> Campaign:
    """Make a campaign of one minute per rate, with a latency threshold and a budget of 1 % failures."""
    return make_campaign(
        {
            "name": "step",
            "duration": 60 * len(rates),
            "load": {"model": "steps", "rates": list(rates), "step_seconds": 60},
            "thresholds": {"max_p99_ms": 50, "max_failure_ratio": 0.01},
        },
        target={"watch": {"deployment": "iris"}},
        scaling={"sizes": "capacity.yaml"} | scaling,
    )


def check(
    campaign: Campaign,
    timeline: Timeline,
    late: Callable[[float], float] = lambda _: 0.0,
    failures: dict[int, int] | None = None,
    safe_rate: float | None = SAFE_RATE,
) -> dict[str, CheckResult]:
    series = make_series(campaign, late, failures)
    responses = respond(campaign, series, timeline, safe_rate)
    return {one.name: one for one in check_scaling(campaign, series, timeline, responses, safe_rate)}


def late_from_60_to(end: float) -> Callable[[float], float]:
    return lambda second: 0.5 if 60 <= second < end else 0.0


SCALED = [(0, 1, 1), (75, 3, 1), (90, 3, 2), (95, 3, 3)]
STUCK = [(0, 1, 1)]
NEVER_READY = [(0, 1, 1), (75, 3, 1)]
TIMES = {"max_reaction_seconds": 20, "max_ready_seconds": 40, "max_recovery_seconds": 50}


@pytest.mark.parametrize(
    ("name", "changes", "late_until", "value", "outcome", "mark"),
    [
        ("reaction_seconds", SCALED, 100, 15, "pass", 75),
        ("reaction_seconds", [(0, 1, 1), (85, 3, 3)], 100, 25, "fail", 85),
        ("reaction_seconds", STUCK, 120, None, "fail", 80),
        ("ready_seconds", SCALED, 100, 35, "pass", 95),
        ("ready_seconds", [(0, 1, 1), (75, 3, 1), (105, 3, 3)], 110, 45, "fail", 105),
        ("ready_seconds", [(0, 1, 1), (75, 3, 2)], 120, None, "fail", 100),
        ("ready_seconds", NEVER_READY, 120, None, "fail", 100),
        ("recovery_seconds", SCALED, 100, 40, "pass", 100),
        ("recovery_seconds", SCALED, 101, 45, "pass", 105),  # judged in windows of five seconds
        ("recovery_seconds", SCALED, 115, 55, "fail", 115),
        ("recovery_seconds", SCALED, 120, None, "fail", 110),
        ("recovery_seconds", SCALED, 60, 0, "pass", 60),
    ],
)
def test_times_count_from_the_load_step(
    name: str,
    changes: list[tuple[float, int, int]],
    late_until: float,
    value: float | None,
    outcome: str,
    mark: float,
) -> None:
    result = check(make_step_campaign(TIMES), make_timeline(changes), late_from_60_to(late_until))[name]
    assert (result.value, result.outcome, result.mark_seconds) == (value, outcome, mark)
    assert result.threshold == TIMES[f"max_{name}"]


def test_times_are_those_of_the_slowest_step() -> None:
    campaign = make_step_campaign(TIMES, rates=(100, 200, 400))
    changes = [(0, 1, 1), (62, 2, 1), (65, 2, 2), (138, 3, 2), (150, 3, 3)]
    checks = check(campaign, make_timeline(changes))
    assert (checks["reaction_seconds"].value, checks["ready_seconds"].value) == (18, 30)
    assert "from 200 /s to 400 /s at 120 s" in checks["reaction_seconds"].detail


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "reaction_seconds",
            "the desired replicas stayed at 1 after the load step from 100 /s to 400 /s at 60 s",
        ),
        ("ready_seconds", "the desired replicas stayed at 1"),
        ("recovery_seconds", "latency stayed above its threshold after the load step"),
    ],
)
def test_check_of_a_stuck_autoscaler_says_what_did_not_happen(name: str, text: str) -> None:
    assert text in check(make_step_campaign(TIMES), make_timeline(STUCK), late_from_60_to(120))[name].detail


@pytest.mark.parametrize(
    ("rates", "safe_rate", "late_until", "outcome"),
    [
        ((100, 140), SAFE_RATE, 0, "inconclusive"),  # one replica is enough for both rates
        ((100, 140), None, 0, "inconclusive"),  # no capacity file, and latency never rose
        ((100, 400), SAFE_RATE, 0, "fail"),  # three replicas are needed
        ((100, 140), None, 120, "fail"),  # latency rose, so more replicas were needed
        ((400,), SAFE_RATE, 0, "fail"),  # the start of a campaign is a step as well
    ],
)
def test_scaling_that_no_load_needed_is_inconclusive(
    rates: tuple[float, ...], safe_rate: float | None, late_until: float, outcome: str
) -> None:
    campaign = make_step_campaign({"max_reaction_seconds": 20}, rates)
    checks = check(campaign, make_timeline(STUCK), late_from_60_to(late_until), safe_rate=safe_rate)
    assert checks["reaction_seconds"].outcome == outcome
    if outcome == "inconclusive":
        assert "the load never needed more replicas" in checks["reaction_seconds"].detail


def test_scaling_without_a_load_step_is_inconclusive() -> None:
    campaign = make_campaign(
        {"name": "warm-up", "duration": 30, "judged": False, "load": {"model": "constant", "rate": 100}},
        {"name": "main", "duration": 60, "load": {"model": "ramp", "from_rate": 100, "to_rate": 400}},
        target={"watch": {"deployment": "iris"}},
        scaling={"max_reaction_seconds": 30},
    )
    result = check(campaign, make_timeline(SCALED))["reaction_seconds"]
    assert (result.outcome, result.mark_seconds) == ("inconclusive", None)
    assert "the load has no step in a judged phase" in result.detail


@pytest.mark.parametrize(
    ("scaling", "name", "value", "outcome", "mark"),
    [
        ({"min_replicas": 1}, "least_replicas", 1, "pass", None),
        ({"min_replicas": 2}, "least_replicas", 1, "fail", 0),
        ({"max_replicas": 3}, "most_replicas", 3, "pass", None),
        ({"max_replicas": 2}, "most_replicas", 3, "fail", 95),
        ({"final_replicas": 3}, "final_replicas", 3, "pass", None),
        ({"final_replicas": 2}, "final_replicas", 3, "fail", 120),
    ],
)
def test_replica_bounds_hold_for_ready_replicas(
    scaling: dict[str, int], name: str, value: int, outcome: str, mark: float | None
) -> None:
    result = check(make_step_campaign(scaling), make_timeline([*SCALED, (130, 1, 1)]))[name]
    assert (result.value, result.outcome, result.mark_seconds) == (value, outcome, mark)


@pytest.mark.parametrize(
    ("desired", "value", "outcome", "mark"),
    [
        ([1, 1, 1], 0, "pass", None),
        ([1, 2, 4], 0, "pass", None),
        ([1, 3, 2], 1, "pass", None),
        ([1, 3, 2, 2, 3], 2, "fail", 40),
        ([1, 3, 2, 3, 2], 3, "fail", 30),
    ],
)
def test_flapping_counts_the_changes_of_direction(
    desired: list[int], value: int, outcome: str, mark: float | None
) -> None:
    changes = [(index * 10.0, count, count) for index, count in enumerate(desired)]
    result = check(make_step_campaign({"max_direction_changes": 1}), make_timeline(changes))[
        "direction_changes"
    ]
    assert (result.value, result.outcome, result.mark_seconds) == (value, outcome, mark)


@pytest.mark.parametrize(
    ("changes", "limit", "value", "outcome"),
    [
        ([(0, 1, 1), (60, 3, 3)], 1.0, 1.0, "pass"),
        ([(0, 2, 2), (60, 4, 4)], 1.4, 1.5, "fail"),
        ([(0, 2, 2), (60, 4, 4)], 1.5, 1.5, "pass"),
        ([(0, 1, 1), (90, 3, 1)], 1.5, 0.75, "pass"),  # pods that are not ready use resources as well
    ],
)
def test_replica_seconds_are_compared_with_the_ideal(
    changes: list[tuple[float, int, int]], limit: float, value: float, outcome: str
) -> None:
    campaign = make_step_campaign({"max_replica_seconds_ratio": limit})
    result = check(campaign, make_timeline(changes))["replica_seconds_ratio"]
    assert (result.value, result.outcome) == (pytest.approx(value), outcome)
    assert "ideal 240" in result.detail


def test_replica_seconds_without_a_safe_rate_are_inconclusive() -> None:
    campaign = make_step_campaign({"max_replica_seconds_ratio": 1.5})
    assert (
        check(campaign, make_timeline(STUCK), safe_rate=None)["replica_seconds_ratio"].outcome
        == "inconclusive"
    )


def test_replica_seconds_of_a_closed_loop_are_inconclusive() -> None:
    campaign = make_campaign(
        {"name": "main", "duration": 60, "load": {"model": "closed", "users": 4}},
        target={"watch": {"deployment": "iris"}},
        scaling={"max_replica_seconds_ratio": 1.5, "sizes": "capacity.yaml"},
    )
    result = check(campaign, make_timeline(STUCK))["replica_seconds_ratio"]
    assert (result.value, result.outcome) == (None, "inconclusive")


@pytest.mark.parametrize(
    ("hpa_max", "late_until", "value", "outcome", "mark"),
    [
        (10, 100, 0, "pass", None),
        (3, 100, 0, "pass", None),  # the limit was reached, and was enough
        (3, 120, 45, "fail", 75),  # latency stayed above its threshold at the limit
    ],
)
def test_max_replicas_must_not_be_the_limit(
    hpa_max: int, late_until: float, value: float, outcome: str, mark: float | None
) -> None:
    timeline = make_timeline(SCALED, hpa_max=hpa_max)
    result = check(make_step_campaign({}), timeline, late_from_60_to(late_until))["limited_seconds"]
    assert (result.value, result.outcome, result.mark_seconds) == (value, outcome, mark)


def test_max_replicas_below_the_capacity_that_is_needed_fails() -> None:
    timeline = make_timeline([(0, 1, 1), (75, 2, 2)], hpa_max=2)
    result = check(make_step_campaign({}), timeline)["limited_seconds"]
    assert result.outcome == "fail"
    assert "maxReplicas is 2, too low for 400 /s" in result.detail


def pod(time: float, name: str, deleted: bool) -> PodRecord:
    return PodRecord(
        time=time, name=name, phase="Running", ready=not deleted, endpoint_ready=not deleted, deleted=deleted
    )


TERMINATION = [pod(0, "a", False), pod(0, "b", False), pod(80, "b", True), pod(85, "b", True)]


@pytest.mark.parametrize(
    ("failures", "value", "outcome", "mark"),
    [
        ({}, 0.0, "pass", None),
        ({20: 50}, 0.0, "pass", None),  # no pod terminates then
        ({82: 24}, 0.01, "pass", None),
        ({82: 20, 85: 5}, 25 / 2400, "fail", 82),
    ],
)
def test_scale_down_without_loss_counts_failures_while_pods_terminate(
    failures: dict[int, int], value: float, outcome: str, mark: float | None
) -> None:
    checks = check(make_step_campaign({}), make_timeline(SCALED, TERMINATION), failures=failures)
    result = checks["termination_failure_ratio"]
    assert (result.value, result.outcome, result.mark_seconds) == (pytest.approx(value), outcome, mark)


def test_scale_down_without_termination_is_not_checked() -> None:
    assert "termination_failure_ratio" not in check(
        make_step_campaign({}), make_timeline(SCALED, TERMINATION[:2])
    )


def test_terminating_times_last_until_the_last_record() -> None:
    assert terminating_times(TERMINATION) == [(80, 85)]


def test_thresholds_that_are_absent_are_not_checked() -> None:
    assert check(make_step_campaign({}), make_timeline(SCALED)) == {}
