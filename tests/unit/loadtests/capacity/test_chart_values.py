# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.support.capacities import FIELDS
from tidegate_loadtests.capacity.chart_values import (
    chart_values,
    rate_at_cpu,
    size,
)
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.capacity.traffic import Autoscaler, Traffic

TRAFFIC = Traffic(peak=20_000, growth=50, largest_step=9_000)


def make_capacity(*cpu: float, **changes: Any) -> Capacity:
    fields = FIELDS | changes
    measurements = [dict(one) for one in FIELDS["cpu_at_rates"]]
    for measurement, value in zip(measurements, cpu or (0.7, 0.9, 0.98), strict=True):
        measurement["cpu_seconds_per_second"] = value
    return Capacity.model_validate(fields | {"cpu_at_rates": measurements})


BLIND = make_capacity()
LINEAR = make_capacity(0.2, 0.4, 0.8)


@pytest.mark.parametrize(
    ("capacity", "usable"),
    [
        (LINEAR, True),
        (make_capacity(0.3, 0.59, 0.8), True),
        (make_capacity(0.3, 0.61, 0.8), False),  # more than three quarters of the use at half of the rate
        (make_capacity(0.2, 0.4, 0.91), False),  # the limit is too near to show more load
        (BLIND, False),
    ],
)
def test_cpu_is_usable_if_it_rises_with_the_load(capacity: Capacity, usable: bool) -> None:
    assert size(capacity, TRAFFIC, Autoscaler.HPA).cpu_usable is usable


def test_target_rate_leaves_room_for_growth_in_the_reaction() -> None:
    sizing = size(LINEAR, TRAFFIC, Autoscaler.HPA)
    assert sizing.reaction_seconds == 15 + 15 + 15 + 3.5
    assert sizing.target_rate == pytest.approx(4000 * (1 - 50 * 48.5 / 20_000))
    assert size(LINEAR, TRAFFIC, Autoscaler.KEDA).reaction_seconds == 15 + 60 + 15 + 3.5
    assert size(LINEAR, replace(TRAFFIC, growth=1000), Autoscaler.HPA).target_rate == 2000


def test_targets_are_divided_by_the_tolerance() -> None:
    sizing = size(LINEAR, replace(TRAFFIC, growth=0), Autoscaler.HPA)
    assert sizing.cpu_target_percent == 72  # 0.8 / 1.1
    assert sizing.in_flight_target == pytest.approx(8 / 1.1, rel=1e-2)
    assert sizing.cpu_over_provisioning == pytest.approx(1, rel=1e-2)


def test_blind_cpu_target_is_reachable_and_over_provisions() -> None:
    sizing = size(BLIND, replace(TRAFFIC, growth=0), Autoscaler.HPA)
    assert sizing.cpu_target_percent == 81  # 0.9 / 1.1: the use can exceed the tolerance
    assert sizing.cpu_over_provisioning == pytest.approx(2, rel=1e-2)  # 0.9 CPUs at 2,000 of 4,000


def test_cpu_target_is_a_ratio_of_the_limit() -> None:
    capacity = make_capacity(0.2, 0.4, 0.8, limits={"cpu": 2.0})
    assert size(capacity, replace(TRAFFIC, growth=0), Autoscaler.HPA).cpu_target_percent == 36


@pytest.mark.parametrize(
    ("step", "peak", "expected"),
    [(0, 20_000, (1, 7)), (4000, 20_000, (1, 7)), (4001, 20_000, (2, 7)), (3000, 3000, (1, 1))],
)
def test_replicas_follow_from_step_and_peak(step: float, peak: float, expected: tuple[int, int]) -> None:
    sizing = size(LINEAR, Traffic(peak=peak, growth=0, largest_step=step), Autoscaler.HPA)
    assert (sizing.min_replicas, sizing.max_replicas) == expected


def test_queue_delay_is_at_least_two_seconds() -> None:
    assert size(LINEAR, TRAFFIC, Autoscaler.HPA).max_queue_delay_seconds == 2
    slow = make_capacity(threshold={"latency_ms": 500.0})
    assert size(slow, TRAFFIC, Autoscaler.HPA).max_queue_delay_seconds == 5


@pytest.mark.parametrize("autoscaler", list(Autoscaler))
@pytest.mark.parametrize("capacity", [BLIND, LINEAR])
def test_values_have_the_derived_figures_with_comments(capacity: Capacity, autoscaler: Autoscaler) -> None:
    text = chart_values(capacity, TRAFFIC, autoscaler)
    sizing, values = size(capacity, TRAFFIC, autoscaler), yaml.safe_load(text)
    assert values["capacity"] == {"digest": capacity.digest}
    assert values["resources"]["requests"] == values["resources"]["limits"] == {"cpu": "1", "memory": "315Mi"}
    scaling = values["autoscaling"]
    assert scaling["type"] == autoscaler.value
    assert scaling["targetCPUUtilization"] == sizing.cpu_target_percent
    assert scaling["keda"]["inFlightPerReplica"] == sizing.in_flight_target
    assert (scaling["minReplicas"], scaling["maxReplicas"]) == (sizing.min_replicas, sizing.max_replicas)
    assert max(map(len, text.splitlines())) <= 110
    for field in ("capacity", "resources", "type", "keda", "targetCPUUtilization", "minReplicas", "behavior"):
        assert re.search(rf"#[^\n]+\n *{field}:", text), field


def test_values_name_the_signal_that_works_first() -> None:
    blind = chart_values(BLIND, TRAFFIC, Autoscaler.HPA)
    assert blind.index("inFlightPerReplica") < blind.index("targetCPUUtilization")
    assert "CPU is a poor signal" in blind
    linear = chart_values(LINEAR, TRAFFIC, Autoscaler.HPA)
    assert linear.index("targetCPUUtilization") < linear.index("inFlightPerReplica")
    assert "CPU is a usable signal" in linear


def test_values_of_a_fractional_limit_use_millicores() -> None:
    values = yaml.safe_load(chart_values(make_capacity(limits={"cpu": 0.3}), TRAFFIC, Autoscaler.HPA))
    assert values["resources"]["limits"]["cpu"] == "300m"


def test_rate_at_cpu_is_the_lowest_that_uses_it() -> None:
    assert rate_at_cpu(BLIND, 0.9, 4000) == pytest.approx(2000, rel=0.01)
    assert rate_at_cpu(BLIND, 2.0, 4000) == 4000
