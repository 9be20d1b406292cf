# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaigns import make_campaign, make_phase
from tests.support.timelines import make_series, make_timeline
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.checks import CheckResult
from tidegate_loadtests.scaling_checks import StepFunction, check_scaling, respond, terminating_times
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


READY = StepFunction((0.0, 10.0, 30.0), (1, 3, 2))


@pytest.mark.parametrize(
    ("begin", "end", "values"),
    [
        (-5, 5, [(-5, 1), (0, 1)]),  # before the first change, the first value
        (0, 10, [(0, 1)]),  # neither the change at the beginning again, nor the one at the end
        (0, 10.5, [(0, 1), (10, 3)]),
        (10, 30, [(10, 3)]),
        (5, 40, [(5, 1), (10, 3), (30, 2)]),
        (40, 50, [(40, 2)]),
    ],
)
def test_step_function_within_has_each_change_once(
    begin: float, end: float, values: list[tuple[float, int]]
) -> None:
    assert list(READY.within(begin, end)) == values


@pytest.mark.parametrize(
    ("begin", "end", "at_least", "time"),
    [(0, 10, 3, None), (0, 11, 3, 10), (10, 11, 3, 10), (12, 40, 3, 12), (30, 40, 3, None), (0, 40, 4, None)],
)
def test_step_function_first_comes_before_the_end(
    begin: float, end: float, at_least: int, time: float | None
) -> None:
    assert READY.first(begin, end, at_least) == time


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
        ("ready_seconds", [(0, 1, 1), (75, 2, 2)], 120, None, "fail", 100),  # the rate needs three
        ("ready_seconds", [(0, 1, 1), (75, 1, 3)], 120, None, "fail", 100),  # not by the autoscaler
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


@pytest.mark.parametrize(
    ("late_from", "late_until", "value"),
    [
        (60, 90, 30),
        (60, 97, None),  # not within the phase
        (97, 120, 0),  # the next phase has no threshold
        (60, 61, 5),
    ],
)
def test_recovery_ends_with_the_phase_of_the_step(
    late_from: float, late_until: float, value: float | None
) -> None:
    fields: dict[str, Any] = {"model": "constant", "rate": 400}
    campaign = make_campaign(
        {"name": "low", "duration": 60, "load": fields | {"rate": 100}},
        {"name": "high", "duration": 37, "load": fields, "thresholds": {"max_p99_ms": 50}},
        {"name": "on", "duration": 60, "load": fields},
        target={"watch": {"deployment": "iris"}},
        scaling={"max_recovery_seconds": 50},
    )
    result = check(
        campaign, make_timeline(SCALED), lambda second: 0.5 if late_from <= second < late_until else 0.0
    )["recovery_seconds"]
    assert result.value == value


def test_recovery_without_latency_thresholds_is_inconclusive() -> None:
    campaign = make_campaign(
        make_phase("quiet", rate=100, duration=60, thresholds={"max_p99_ms": 50}),
        make_phase("loud", rate=400, duration=60),
        target={"watch": {"deployment": "iris"}},
        scaling={"max_recovery_seconds": 50},
    )
    assert check(campaign, make_timeline(SCALED))["recovery_seconds"].outcome == "inconclusive"


def test_times_are_those_of_the_slowest_step() -> None:
    campaign = make_step_campaign(TIMES, rates=(100, 200, 400))
    changes = [(0, 1, 1), (62, 2, 1), (65, 2, 2), (138, 3, 2), (150, 3, 3)]
    checks = check(campaign, make_timeline(changes), lambda second: 0.5 if 120 <= second < 150 else 0.0)
    assert (checks["reaction_seconds"].value, checks["ready_seconds"].value) == (18, 30)
    assert checks["recovery_seconds"].value == 30
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
        ((100, 150), SAFE_RATE, 0, "inconclusive"),  # one replica is just enough
        ((100, 151), SAFE_RATE, 0, "fail"),
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


def test_step_after_which_the_replicas_rise_needed_them() -> None:
    campaign = make_step_campaign(TIMES, rates=(100, 140))
    checks = check(campaign, make_timeline([(0, 1, 1), (70, 2, 2)]), safe_rate=None)
    assert (checks["reaction_seconds"].value, checks["ready_seconds"].value) == (10, 10)


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
        ([1] * 9 + [2, 2, 2, 1, 2], 0, "pass", None),  # the campaign ends at 120 s
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


@pytest.mark.parametrize(
    ("durations", "changes", "detail"),
    [
        ((10.5,), [(0, 1, 1), (10, 3, 3)], "11.5 replica-seconds, ideal 10.5"),
        ((10.5,), [(0, 1, 1), (10.5, 3, 3)], "10.5 replica-seconds, ideal 10.5"),
        # A second counts with the rate in its middle: the tenth with 100 /s, which one replica serves.
        ((9.75, 10.5), [(0, 1, 1)], "20.2 replica-seconds, ideal 40.8"),
        ((9.25, 10.5), [(0, 1, 1)], "19.8 replica-seconds, ideal 41.2"),
    ],
)
def test_replica_seconds_count_the_last_part_of_a_second(
    durations: tuple[float, ...], changes: list[tuple[float, int, int]], detail: str
) -> None:
    campaign = make_campaign(
        *(
            {"name": f"rate-{rate}", "duration": duration, "load": {"model": "constant", "rate": rate}}
            for rate, duration in zip((100, 400), durations, strict=False)
        ),
        target={"watch": {"deployment": "iris"}},
        scaling={"max_replica_seconds_ratio": 1.5, "sizes": "capacity.yaml"},
    )
    assert check(campaign, make_timeline(changes))["replica_seconds_ratio"].detail == detail


def test_replica_seconds_without_a_safe_rate_are_inconclusive() -> None:
    campaign = make_step_campaign({"max_replica_seconds_ratio": 1.5})
    assert (
        check(campaign, make_timeline(STUCK), safe_rate=None)["replica_seconds_ratio"].outcome
        == "inconclusive"
    )


def test_ideal_replicas_are_never_below_the_least() -> None:
    campaign = make_step_campaign({"max_replica_seconds_ratio": 1.0, "min_replicas": 2})
    result = check(campaign, make_timeline([(0, 2, 2), (60, 3, 3)]))["replica_seconds_ratio"]
    assert (result.value, result.outcome) == (1.0, "pass")


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
        (3, 120, 10, "fail", 110),  # latency was above its threshold at the limit, 15 s after all were ready
    ],
)
def test_max_replicas_must_not_be_the_limit(
    hpa_max: int, late_until: float, value: float, outcome: str, mark: float | None
) -> None:
    timeline = make_timeline(SCALED, hpa_max=hpa_max)
    result = check(make_step_campaign({}), timeline, late_from_60_to(late_until))["limited_seconds"]
    assert (result.value, result.outcome, result.mark_seconds) == (value, outcome, mark)


def test_max_replicas_is_the_latest_and_counts_every_step() -> None:
    timeline = make_timeline([(0, 1, 1), (70, 2, 2), (115, 1, 1), (130, 2, 2)], hpa_max=2)
    first = replace(timeline.replicas[0], hpa_max=10)
    timeline = replace(timeline, replicas=[first, *timeline.replicas[1:]])
    result = check(make_step_campaign({}, rates=(100, 350, 500)), timeline)["limited_seconds"]
    assert (result.value, result.outcome, result.mark_seconds) == (45 + 50, "fail", 70)
    assert "maxReplicas is 2, too low for 350 /s" in result.detail


def test_max_replicas_below_the_capacity_that_is_needed_fails() -> None:
    timeline = make_timeline([(0, 1, 1), (75, 2, 2)], hpa_max=2)
    result = check(make_step_campaign({}), timeline)["limited_seconds"]
    assert result.outcome == "fail"
    assert "maxReplicas is 2, too low for 400 /s" in result.detail


PINNED = [(0, 2, 2)]
DIURNAL = {"model": "diurnal", "mean_rate": 200, "amplitude": 180, "period_seconds": 300}


def check_one_phase(
    load: dict[str, Any],
    changes: list[tuple[float, int, int]],
    late: Callable[[float], float],
    thresholds: dict[str, float] | None = None,
    **options: Any,
) -> CheckResult | None:
    """Check the replica limit of 2 in a campaign of 300 seconds."""
    campaign = make_campaign(
        {"name": "main", "duration": 300, "load": load, "thresholds": thresholds or {}},
        target={"watch": {"deployment": "iris"}},
        scaling={},
    )
    return check(campaign, make_timeline(changes, hpa_max=2), late, **options).get("limited_seconds")


@pytest.mark.parametrize(
    ("changes", "late", "safe_rate", "value", "mark"),
    [
        (PINNED, lambda second: 0.5 if 100 <= second < 200 else 0.0, None, 100, 100),  # missed at the peak
        (PINNED, lambda second: 0.5 if 100 <= second < 200 else 0.0, 200.0, 100, 100),
        (PINNED, lambda _: 0.0, 150.0, 94, 103),  # more than 300 /s from 103.1 s to 196.9 s
        (PINNED, lambda _: 0.0, 190.0, 0, None),  # the peak is 380 /s
        (PINNED, lambda _: 0.0, None, 0, None),
        (PINNED, lambda second: 0.5 if second == 150 else 0.0, None, 0, None),  # one slow second of 300
        ([(0, 1, 1)], lambda _: 0.5, None, 0, None),  # the autoscaler could have added one
        ([(0, 2, 1)], lambda _: 0.5, None, 0, None),  # not the limit: one of the permitted is not ready
        ([(0, 1, 1), (100, 2, 1), (150, 2, 2)], lambda _: 0.5, None, 135, 165),
        ([(0, 1, 1), (100, 2, 2), (200, 1, 1)], lambda _: 0.5, None, 85, 115),
    ],
)
def test_max_replicas_counts_at_every_time_of_a_daily_curve(
    changes: list[tuple[float, int, int]],
    late: Callable[[float], float],
    safe_rate: float | None,
    value: float,
    mark: float | None,
) -> None:
    result = check_one_phase(DIURNAL, changes, late, {"max_p99_ms": 50}, safe_rate=safe_rate)
    assert result is not None
    assert (result.value, result.mark_seconds) == (value, mark)
    assert result.outcome == ("fail" if value else "pass")


def test_max_replicas_of_a_phase_that_is_not_judged_is_ignored() -> None:
    campaign = make_campaign(
        make_phase("warm-up", rate=400, duration=30, judged=False),
        make_phase("main", rate=100, duration=30, thresholds={"max_p99_ms": 50}),
        target={"watch": {"deployment": "iris"}},
        scaling={},
    )
    timeline = make_timeline([(0, 1, 1)], hpa_max=1)
    result = check(campaign, timeline, lambda second: 0.5 if second < 30 else 0.0)["limited_seconds"]
    assert (result.value, result.outcome) == (0, "pass")


def test_max_replicas_of_a_replay_is_judged_by_latency(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time_seconds\n" + "\n".join(str(index / 100) for index in range(30_000)))
    load = {"model": "replay", "trace": str(trace)}
    # By its rate, which varies from second to second, the replay would need ten replicas.
    late, in_time = (
        check_one_phase(load, PINNED, late, {"max_p99_ms": 50}, safe_rate=10.0)
        for late in (lambda _: 0.5, lambda _: 0.0)
    )
    assert late is not None
    assert in_time is not None
    assert (late.value, late.outcome, in_time.value, in_time.outcome) == (300, "fail", 0, "pass")
    assert check_one_phase(load, PINNED, lambda _: 0.5, safe_rate=10.0) is None


@pytest.mark.parametrize(
    ("load", "safe_rate"),
    [({"model": "closed", "users": 64}, 10.0), ({"model": "poisson", "rate": 400}, None)],
)
def test_max_replicas_that_nothing_can_show_is_not_checked(
    load: dict[str, Any], safe_rate: float | None
) -> None:
    assert check_one_phase(load, PINNED, lambda _: 0.5, safe_rate=safe_rate) is None


def pod(time: float, name: str, deleted: bool, gone: bool = False) -> PodRecord:
    return PodRecord(
        time=time,
        name=name,
        phase="Running",
        ready=not deleted,
        endpoint_ready=not deleted,
        deleted=deleted,
        gone=gone,
    )


TERMINATION = [pod(0, "a", False), pod(0, "b", False), pod(80, "b", True), pod(85, "b", True, gone=True)]


@pytest.mark.parametrize(
    ("failures", "value", "outcome", "mark"),
    [
        ({}, 0.0, "pass", None),
        ({20: 50}, 0.0, "pass", None),  # no pod terminates then
        ({82: 24}, 0.01, "pass", None),
        ({20: 50, 82: 20, 85: 5}, 25 / 2400, "fail", 82),
    ],
)
def test_scale_down_without_loss_counts_failures_while_pods_terminate(
    failures: dict[int, int], value: float, outcome: str, mark: float | None
) -> None:
    checks = check(make_step_campaign({}), make_timeline(SCALED, TERMINATION), failures=failures)
    result = checks["termination_failure_ratio"]
    assert (result.value, result.outcome, result.mark_seconds) == (pytest.approx(value), outcome, mark)


@pytest.mark.parametrize(
    ("begin", "end", "requests", "limit"),
    [
        (20, 20, 100, 0.02),  # one record: the second in which it was seen
        (20, 25, 600, 0.02),
        (20.5, 25.5, 600, 0.02),
        (25, 45, 500, 0.02),  # the phase that is not judged begins at 30 s
        (30, 65, 600, 0.05),  # and ends at 60 s
        (28.5, 61.5, 400, 0.02),
    ],
)
def test_scale_down_counts_requests_of_judged_phases_only(
    begin: float, end: float, requests: int, limit: float
) -> None:
    campaign = make_three_phase_campaign()
    pods = [pod(begin, "b", True), pod(end, "b", True, gone=True)]
    result = check(campaign, make_timeline(STUCK, pods))["termination_failure_ratio"]
    assert f"of {requests:,} requests" in result.detail
    assert result.threshold == limit


@pytest.mark.parametrize(("begin", "end"), [(35, 55), (30, 60), (95, 100)])
def test_scale_down_outside_of_judged_phases_is_not_checked(begin: float, end: float) -> None:
    pods = [pod(begin, "b", True), pod(end, "b", True, gone=True)]
    assert "termination_failure_ratio" not in check(make_three_phase_campaign(), make_timeline(STUCK, pods))


def make_three_phase_campaign() -> Campaign:
    """Make a campaign of three phases of 30 seconds, without a judgement of the second."""
    return make_campaign(
        make_phase("first", duration=30, thresholds={"max_failure_ratio": 0.02}),
        make_phase("pause", duration=30, judged=False),
        make_phase("last", duration=30, thresholds={"max_failure_ratio": 0.05}),
        target={"watch": {"deployment": "iris"}},
        scaling={},
    )


def test_scale_down_without_termination_is_not_checked() -> None:
    assert "termination_failure_ratio" not in check(
        make_step_campaign({}), make_timeline(SCALED, TERMINATION[:2])
    )


@pytest.mark.parametrize(
    ("pods", "times"),
    [
        (TERMINATION, [(80, 85)]),
        (TERMINATION[:3], [(80, 120)]),  # it still terminates when the campaign ends
        ([*TERMINATION[:3], pod(90, "b", True)], [(80, 120)]),  # the second record is another change
        ([pod(0, "b", False), pod(80, "b", True, gone=True)], [(80, 80)]),  # deleted by force
        ([*TERMINATION, pod(100, "a", True)], [(80, 85), (100, 120)]),
    ],
)
def test_terminating_times_last_until_the_pod_is_gone(
    pods: list[PodRecord], times: list[tuple[float, float]]
) -> None:
    assert terminating_times(pods, 120) == times


def test_scale_down_counts_failures_until_the_pod_is_gone() -> None:
    checks = check(make_step_campaign({}), make_timeline(SCALED, TERMINATION[:3]), failures={110: 200})
    result = checks["termination_failure_ratio"]
    assert (result.outcome, result.mark_seconds) == ("fail", 110)


def test_thresholds_that_are_absent_are_not_checked() -> None:
    assert check(make_step_campaign({}), make_timeline(SCALED)) == {}
