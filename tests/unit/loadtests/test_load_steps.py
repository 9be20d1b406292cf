# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any

import pytest

from tests.support.campaigns import Fields, make_campaign, make_phase
from tidegate_loadtests.load_steps import find_load_steps


def phase(duration: float, name: str = "main", judged: bool = True, **load: Any) -> Fields:
    return {"name": name, "duration": duration, "judged": judged, "load": load}


STEPS = phase(90, model="steps", rates=[100, 400, 200], step_seconds=30)
LATE_STEP = [phase(19.5, "a", model="constant", rate=100), phase(1, "b", model="constant", rate=400)]
SPIKE = phase(60, model="spike", base_rate=50, peak_rate=500, at_seconds=20.123, peak_seconds=10)
WARMUP = make_phase("warm-up", rate=100, duration=10.5, judged=False)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([make_phase(rate=100)], [(0, 20, 0, 100)]),
        ([STEPS], [(0, 30, 0, 100), (30, 60, 100, 400)]),
        (LATE_STEP, [(0, 19.5, 0, 100), (19.5, 20.5, 100, 400)]),
        ([SPIKE], [(0, 20.123, 0, 50), (20.123, 30.123, 50, 500)]),
        ([WARMUP, make_phase(rate=100)], []),
        ([WARMUP, make_phase(rate=110)], []),  # the autoscaler's tolerance
        ([WARMUP, make_phase(rate=111)], [(10.5, 30.5, 100, 111)]),
        ([WARMUP, make_phase(rate=400)], [(10.5, 30.5, 100, 400)]),
        ([WARMUP, phase(60, model="ramp", from_rate=100, to_rate=1000)], []),
        ([WARMUP, phase(60, model="ramp", from_rate=300, to_rate=1000)], [(10.5, 70.5, 100, 300)]),
        ([WARMUP, phase(60, model="diurnal", mean_rate=200, amplitude=100, period_seconds=30)], []),
        ([phase(20, model="closed", users=4)], []),
        ([WARMUP, phase(0.2, "closed", model="closed", users=4), make_phase(rate=400)], []),
        ([make_phase("a", rate=300), make_phase("b", rate=100)], [(0, 20, 0, 300)]),
    ],
)
def test_load_steps_are_sudden_rises_in_judged_phases(
    phases: list[Fields], expected: list[tuple[float, ...]]
) -> None:
    found = [
        (step.time, step.end, step.rate_before, pytest.approx(step.rate_after, rel=1e-3))
        for step in find_load_steps(make_campaign(*phases))
    ]
    assert found == expected


def test_load_step_belongs_to_the_phase_that_it_begins() -> None:
    [_, step] = find_load_steps(make_campaign(make_phase("low", rate=100), make_phase("high", rate=400)))
    assert step.phase.name == "high"


def test_replay_has_no_load_step(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    times = [*range(10), *(10 + index / 50 for index in range(500))]
    trace.write_text("time_seconds\n" + "".join(f"{time}\n" for time in times))
    replay = phase(20, "replay", model="replay", trace=str(trace))
    steps = find_load_steps(make_campaign(WARMUP, replay, make_phase("after", rate=400)))
    # The rate of the replay rises from 1 to 50 requests per second after ten seconds.
    assert [(step.time, step.phase.name) for step in steps] == [(30.5, "after")]
