# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import os

import psutil
import pytest

from tidegate.errors import ConfigurationError
from tidegate_loadtests.generator_cpu import (
    CpuTimes,
    Generator,
    busiest,
    measure_generator,
    read_cpu_times,
    select_cpu,
)


def make_measurements(*utilizations: float, wait: float = 0.0) -> list[CpuTimes]:
    """Return one measurement per second, with the given CPU use and wait in each second."""
    measurements = [CpuTimes(100.0, 5.0, 0.0)]
    for utilization in utilizations:
        last = measurements[-1]
        measurements.append(CpuTimes(last.clock + 1, last.used + utilization, last.waited + wait))
    return measurements


@pytest.mark.parametrize(
    ("utilizations", "mean", "maximum", "saturated"),
    [
        ((0.2, 0.4), 0.3, 0.4, False),
        ((1.0, 1.0), 1.0, 1.0, True),
        ((0.95, *[0.5] * 9), 0.545, 0.95, False),
        ((0.95, 0.95, *[0.5] * 8), 0.59, 0.95, True),
    ],
)
def test_generator_above_90_percent_for_a_tenth_is_saturated(
    utilizations: tuple[float, ...], mean: float, maximum: float, saturated: bool
) -> None:
    generator = measure_generator(make_measurements(*utilizations), [(100, 200)], pinned_cpu=1)
    assert generator.utilization_mean == pytest.approx(mean)
    assert generator.utilization_max == pytest.approx(maximum)
    assert generator.saturated is saturated


def test_generator_that_waits_for_its_cpu_is_saturated() -> None:
    generator = measure_generator(make_measurements(0.45, 0.45, wait=0.5), [(100, 200)], pinned_cpu=1)
    assert (generator.utilization_mean, generator.run_queue_wait_mean) == pytest.approx((0.45, 0.5))
    assert generator.saturated


def test_generator_is_measured_in_judged_phases_only() -> None:
    generator = measure_generator(make_measurements(1.0, 0.25, 1.0), [(101, 102)], pinned_cpu=None)
    assert generator.utilization_mean == pytest.approx(0.25)


def test_generator_saturated_in_one_phase_is_saturated() -> None:
    measurements = make_measurements(*[0.2] * 50, 1.0, 1.0)
    generator = measure_generator(measurements, [(100, 150), (150, 152)], pinned_cpu=1)
    assert generator.utilization_mean == pytest.approx(12 / 52)
    assert generator.saturated_ratio == 1
    assert not measure_generator(measurements, [(100, 152)], pinned_cpu=1).saturated


def test_generator_without_measurements_counts_as_saturated() -> None:
    generator = measure_generator(make_measurements(0.5), [(200, 300)], pinned_cpu=None)
    assert generator == Generator(None, None, None, None, 0.0)
    assert generator.saturated


def test_cpu_times_are_read_until_the_process_ends() -> None:
    times = read_cpu_times(psutil.Process())
    assert times.used > 0
    assert times.waited >= 0
    with psutil.Popen(["true"]) as process:
        process.wait()
    assert read_cpu_times(process) is None


def test_select_cpu_takes_the_requested_or_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    assert select_cpu(None) == 5
    assert select_cpu(2) == 2
    with pytest.raises(ConfigurationError, match=r"'cpu'.* CPU 1: expected one of 0, 2, 5; correct"):
        select_cpu(1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert select_cpu(None) is None


def test_busiest_is_the_most_likely_bottleneck() -> None:
    idle, busy = (
        measure_generator(make_measurements(utilization), [(100, 200)], pinned_cpu=None)
        for utilization in (0.5, 0.95)
    )
    unmeasured = measure_generator([], [(100, 200)], pinned_cpu=None)
    assert busiest([idle, busy]) is busy
    assert busiest([idle, unmeasured]) is unmeasured
