# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tidegate_loadtests.scaling import hpa, replica_calculator
from tidegate_loadtests.scaling.replica_calculator import PodGroups, ReplicaCalculator, Tolerances
from tools.hpa_oracle import golden
from tools.hpa_oracle.comparison import compare

GOLDEN = list(golden.read())


def test_decide_golden_scenarios_equal_the_controller() -> None:
    comparison = compare(GOLDEN)
    assert comparison.examples == []
    assert comparison.scenarios == 500
    assert comparison.changes_of_replicas > 500


def strict(tolerances: Tolerances, ratio: float) -> bool:
    return 1.0 - tolerances.scale_down < ratio < 1.0 + tolerances.scale_up


def one_tolerance(behavior: Any, options: hpa.ControllerOptions) -> Tolerances:
    return Tolerances(options.tolerance, options.tolerance)


def without(group: str) -> Callable[[ReplicaCalculator, Any, bool], PodGroups]:
    grouped = ReplicaCalculator.group_pods

    def group_pods(calculator: ReplicaCalculator, metrics: Any, is_cpu: bool) -> PodGroups:
        empty: dict[str, Any] = {group: frozenset()}
        return replace(grouped(calculator, metrics, is_cpu), **empty)

    return group_pods


def always_append(events: Any, change: int, rules: Any, now: float) -> Any:
    return (*events, hpa.ScaleEvent(change, now))


def never_store(events: Any, change: int, rules: Any, now: float) -> Any:
    return events


def unlimited(current: int, *_: Any) -> int:
    return 1000


MUTATIONS: dict[str, tuple[Any, str, Any]] = {
    "tolerance_excludes_its_bounds": (Tolerances, "is_within", strict),
    "tolerance_of_the_controller_only": (hpa, "tolerances_of", one_tolerance),
    "proposal_rounds_down": (replica_calculator, "math", SimpleNamespace(ceil=math.floor)),
    "proposal_rounds_to_nearest": (replica_calculator, "math", SimpleNamespace(ceil=round)),
    "percent_policy_rounds_down": (hpa, "math", SimpleNamespace(ceil=math.floor)),
    "unready_pods_are_no_group": (ReplicaCalculator, "group_pods", without("unready")),
    "missing_pods_are_no_group": (ReplicaCalculator, "group_pods", without("missing")),
    "ignored_pods_are_no_group": (ReplicaCalculator, "group_pods", without("ignored")),
    "scale_events_are_forgotten": (hpa, "_store_scale_event", never_store),
    "scale_up_without_limit": (hpa, "_scale_up_limit", unlimited),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_golden_mutated_rule_differs(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, changed = MUTATIONS[mutation]
    monkeypatch.setattr(owner, name, changed)
    assert compare(GOLDEN).differences > 0


@pytest.mark.parametrize(
    "options",
    [
        hpa.ControllerOptions(downscale_stabilization=285.0),
        hpa.ControllerOptions(tolerance=0.11),
        hpa.ControllerOptions(cpu_initialization_period=285.0),
        hpa.ControllerOptions(initial_readiness_delay=15.0),
    ],
    ids=repr,
)
def test_golden_other_options_differ(options: hpa.ControllerOptions) -> None:
    def decide(spec: Any, observation: Any, state: Any, now: float) -> hpa.Decision:
        return hpa.decide(spec, observation, state, now, options)

    assert compare(GOLDEN, decide).differences > 0


def test_golden_written_scenarios_are_read_equal(tmp_path: Path) -> None:
    golden.write(GOLDEN[:3], tmp_path / "golden")
    assert list(golden.read(tmp_path / "golden")) == GOLDEN[:3]
