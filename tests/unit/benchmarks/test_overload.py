# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from benchmarks.overload import Figure, largest_drop, recovery_seconds, storm_seconds
from benchmarks.retrying import REJECTED, Completion


@pytest.mark.parametrize(
    ("rates", "drop"),
    [([10.0], 0.0), ([10.0, 20.0, 30.0], 0.0), ([10.0, 20.0, 10.0, 20.0], 0.5), ([40.0, 39.0, 38.0], 0.05)],
)
def test_largest_drop_compares_with_fewer_clients(rates: list[float], drop: float) -> None:
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
