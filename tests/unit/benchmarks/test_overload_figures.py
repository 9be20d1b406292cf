# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from benchmarks.overload_figures import (
    ClosedLoop,
    Figure,
    closed_loop_figures,
    cost_figures,
    experiment_figures,
    failures,
    largest_drop,
    recovery_seconds,
    storm_seconds,
)
from benchmarks.retrying import REJECTED, Completion


@pytest.mark.parametrize(
    ("rates", "drop"),
    [
        ([[10.0]], 0.0),
        ([[10.0], [20.0], [30.0]], 0.0),
        ([[10.0], [20.0], [10.0], [20.0]], 0.5),
        ([[40.0], [39.0], [38.0]], 0.05),
        ([[0.0], [40.0]], 0.0),
        ([[40.0], [0.0], [40.0]], 1.0),
        # The machine is half as fast in the second sweep, and slow once in the third.
        ([[40.0, 20.0, 40.0], [40.0, 20.0, 10.0], [38.0, 19.0, 38.0]], 0.05),
    ],
)
def test_largest_drop_compares_with_fewer_clients(rates: list[list[float]], drop: float) -> None:
    assert largest_drop(rates) == pytest.approx(drop)


def completions(status: int, *times: float) -> list[Completion]:
    return [Completion(time, status) for time in times]


def test_recovery_seconds_end_with_the_first_usual_half_second() -> None:
    slow = completions(200, 5.3, 5.9)
    usual = completions(200, *(6.0 + step / 20 for step in range(20)))
    # 0.9 of 20 responses per second in half a second are 9 responses.
    assert recovery_seconds([*slow, *usual], 5.0, 20.0) == pytest.approx(1.35)
    assert recovery_seconds(slow, 5.0, 20.0) == math.inf


def test_recovery_seconds_rejections_are_no_goodput() -> None:
    rejected = completions(REJECTED, *(5.0 + step / 20 for step in range(20)))
    assert recovery_seconds(rejected, 5.0, 20.0) == math.inf


def test_storm_seconds_last_until_the_last_rejection() -> None:
    storm = [*completions(REJECTED, 5.0, 6.0, 7.5), *completions(200, 9.0)]
    assert storm_seconds(storm, 6.0) == 1.5
    assert storm_seconds(storm, 8.0) == 0.0


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "met"),
    [(0.9, 0.9, None, True), (0.89, 0.9, None, False), (2.0, None, 2.0, True), (None, 0.9, None, None)],
)
def test_figure_met_compares_with_the_target(
    value: float | None, at_least: float | None, at_most: float | None, met: bool | None
) -> None:
    assert Figure("key", "meaning", value, at_least, at_most).met is met


@pytest.mark.parametrize("status", [500, 503])
def test_recovery_seconds_errors_are_no_goodput(status) -> None:
    failed = completions(status, *(5.0 + step / 20 for step in range(20)))
    assert recovery_seconds(failed, 5.0, 20.0) == math.inf


def experiments(changed_rounds=3, **changes):
    """Return experiments that meet every target, with changes such as ``storm={"rejected": 0}``.

    The changes of ``overload`` concern as many of its five rounds as ``changed_rounds`` says.
    """
    usual = {"generator_cpu": 0.1, "failed": 0}
    overload = usual | {
        "capacity": 100.0,
        "offered": 200.0,
        "goodput": 95.0,
        "p99_seconds": 2.1,
        "engine_call_seconds": 0.1,
        "send_delay_ms": 1.0,
    }
    changed = overload | changes.get("overload", {})
    return {
        "overload": [changed] * changed_rounds + [overload] * (5 - changed_rounds),
        "stall": usual | {"recovery_seconds": 0.5} | changes.get("stall", {}),
        "storm": usual | {"rejected": 1_000, "seconds_after_storm": 1.5} | changes.get("storm", {}),
    }


def test_failures_count_errors_and_missing_responses() -> None:
    assert failures([200, REJECTED, 500, 0, None]) == 3


def test_experiment_figures_meet_targets() -> None:
    assert [figure.met for figure in experiment_figures(experiments())] == [True] * 6


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"overload": {"goodput": 89.0}}, "overload_goodput"),
        ({"overload": {"p99_seconds": 2.21}}, "overload_p99"),
        ({"overload": {"failed": 1}}, "overload_failed"),
        ({"overload": {"capacity": 200.0, "offered": 400.0, "goodput": 190.0}}, "overload_after"),
        ({"stall": {"recovery_seconds": 2.1}}, "stall_recovery"),
        ({"storm": {"seconds_after_storm": 4.1}}, "storm_end"),
    ],
)
def test_experiment_figures_miss_one_target(changes, key) -> None:
    figures = experiment_figures(experiments(**changes))
    assert [figure.key for figure in figures if figure.met is False] == [key]


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"overload": {"failed": 1}}, {"overload_p99"}),
        ({"overload": {"send_delay_ms": 101.0}}, {"overload_goodput", "overload_p99"}),
        ({"overload": {"offered": 149.0}}, {"overload_goodput", "overload_p99"}),
        ({"overload": {"p99_seconds": None}}, {"overload_p99"}),
        ({"stall": {"failed": 1}}, {"stall_recovery"}),
        ({"stall": {"generator_cpu": 0.95}}, {"stall_recovery"}),
        ({"storm": {"failed": 1}}, {"storm_end"}),
        ({"storm": {"rejected": 0}}, {"storm_end"}),
        ({"storm": {"generator_cpu": 0.95}}, {"storm_end"}),
    ],
)
def test_experiment_figures_are_inconclusive(changes, keys) -> None:
    figures = experiment_figures(experiments(**changes))
    assert {figure.key for figure in figures if figure.value is None} == keys


@pytest.mark.parametrize("change", [{"goodput": 50.0, "p99_seconds": 3.0}, {"p99_seconds": None}])
def test_experiment_figures_one_round_decides_nothing(change) -> None:
    figures = experiment_figures(experiments(changed_rounds=1, overload=change))
    assert [figure.met for figure in figures] == [True] * 6


def test_experiment_figures_compare_with_the_capacity_of_a_round() -> None:
    """The machine became half as fast after the first round, and the server lost nothing."""
    figures = experiment_figures(experiments(overload={"capacity": 50.0, "offered": 100.0, "goodput": 47.5}))
    assert next(iter(figures)).value == pytest.approx(0.95)


def test_cost_figures_divide_rejection_by_response() -> None:
    costs = {250: {"response_seconds": 2e-3, "rejection_seconds": 1e-4}}
    costs[5_000] = {"response_seconds": 2e-2, "rejection_seconds": None}
    small, large = cost_figures(costs)
    assert (small.value, small.met) == (pytest.approx(0.05), True)
    assert large.value is None


def test_closed_loop_figures_compare_loads_of_one_setting() -> None:
    loops = [
        ClosedLoop(server, "rf", 0.3, clients, (rps,), (1.0,), rejected, generator_cpu)
        for server, clients, rps, rejected, generator_cpu in (
            ("tidegate-sklearn", 1, 100.0, 0, 0.1),
            ("tidegate-sklearn", 4, 80.0, 3, 0.1),
            ("tidegate", 2, 50.0, 0, 0.1),
            ("tidegate", 64, 60.0, 0, 0.99),
        )
    ]
    rejected, drop, _, saturated = closed_loop_figures(loops)
    assert (rejected.value, rejected.met) == (3, False)
    assert (drop.value, drop.met) == (pytest.approx(0.2), False)
    assert "`rf`, 0.3 CPU, 1 to 4 clients" in drop.meaning
    assert saturated.value is None
    assert "2 to 64 clients" in saturated.meaning


def test_closed_loop_figures_divide_by_the_reference() -> None:
    """In the second sweep the machine is half as fast for the second number of clients and its reference."""
    loops = [
        ClosedLoop("tidegate", "rf", 0.3, 1, (100.0, 100.0), (50.0, 50.0), 0, 0.1),
        ClosedLoop("tidegate", "rf", 0.3, 4, (100.0, 50.0), (50.0, 25.0), 0, 0.1),
    ]
    _, drop = closed_loop_figures(loops)
    assert drop.value == 0.0
