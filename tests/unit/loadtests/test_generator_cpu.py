# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import os

import psutil
import pytest
from tidegate_loadtests.generator_cpu import Generator, Tick, assess, busiest, choose_core, look

from tidegate.errors import ConfigurationError


def ticks(*shares: float, wait: float = 0.0) -> list[Tick]:
    """A look a second, the generator having used these shares of a core and waited for others in between."""
    found = [Tick(100.0, 5.0, 0.0)]
    for share in shares:
        found.append(Tick(found[-1].clock + 1, found[-1].cpu + share, found[-1].wait + wait))
    return found


@pytest.mark.parametrize(
    ("shares", "mean", "peak", "saturated"),
    [
        ((0.2, 0.4), 0.3, 0.4, False),
        ((1.0, 1.0), 1.0, 1.0, True),
        ((0.95, *[0.5] * 9), 0.545, 0.95, False),
        ((0.95, 0.95, *[0.5] * 8), 0.59, 0.95, True),
    ],
)
def test_the_generator_is_saturated_above_nine_tenths_of_a_core_for_a_tenth_of_the_time(
    shares: tuple[float, ...], mean: float, peak: float, saturated: bool
) -> None:
    found = assess(ticks(*shares), 100, 200, core=1)
    assert found.cpu_mean == pytest.approx(mean)
    assert found.cpu_peak == pytest.approx(peak)
    assert found.saturated is saturated


def test_a_generator_whose_core_is_used_by_others_is_saturated_too() -> None:
    found = assess(ticks(0.45, 0.45, wait=0.5), 100, 200, core=1)
    assert (found.cpu_mean, found.wait_mean) == pytest.approx((0.45, 0.5))
    assert found.saturated


def test_only_the_measured_time_counts() -> None:
    assert assess(ticks(1.0, 0.25, 1.0), 101, 102, core=None).cpu_mean == pytest.approx(0.25)


def test_a_generator_that_was_not_seen_may_have_been_the_bottleneck() -> None:
    found = assess(ticks(0.5), 200, 300, core=None)
    assert found == Generator(None, None, None, None, 0.0)
    assert found.saturated


def test_a_process_is_looked_at_until_it_ends() -> None:
    seen = look(psutil.Process())
    assert seen.cpu > 0
    assert seen.wait >= 0
    with psutil.Popen(["true"]) as process:
        process.wait()
    assert look(process) is None


def test_a_core_is_chosen_among_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    assert choose_core(None) == 5
    assert choose_core(2) == 2
    with pytest.raises(ConfigurationError, match="cannot be pinned to core 1: expected one of 0, 2, 5"):
        choose_core(1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert choose_core(None) is None


def test_the_busiest_of_several_is_the_one_that_may_have_been_the_bottleneck() -> None:
    calm, busy = (assess(ticks(share), 100, 200, core=None) for share in (0.5, 0.95))
    unseen = assess([], 100, 200, core=None)
    assert busiest([calm, busy]) is busy
    assert busiest([calm, unseen]) is unseen
