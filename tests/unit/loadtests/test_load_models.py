# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tidegate_loadtests.load_models import (
    Constant,
    Diurnal,
    LoadModel,
    Poisson,
    Ramp,
    Replay,
    Spike,
    Steps,
)

DURATION = 60.0
MODELS: dict[str, LoadModel] = {
    "constant": Constant(model="constant", rate=10),
    "poisson": Poisson(model="poisson", rate=10),
    "steps": Steps(model="steps", rates=(10, 0, 40), step_seconds=20),
    "rise": Ramp(model="ramp", from_rate=0, to_rate=20),
    "fall": Ramp(model="ramp", from_rate=20, to_rate=0),
    "spike": Spike(model="spike", base_rate=5, peak_rate=50, at_seconds=10, peak_seconds=5),
    "diurnal": Diurnal(model="diurnal", mean_rate=10, amplitude=10, period_seconds=40),
}


@pytest.mark.parametrize("load", MODELS.values(), ids=MODELS)
def test_expected_requests_are_the_integral_of_the_rate(load: LoadModel) -> None:
    width = 0.005
    middles = np.arange(width / 2, DURATION, width)
    rates = np.array([load.rate_at(second, DURATION) for second in middles])
    edges = np.arange(len(middles) + 1) * width
    expected = load.expected_requests(edges, DURATION)
    assert expected[0] == 0
    assert np.allclose(np.diff(expected), rates * width, atol=1e-5)
    assert load.planned_requests(DURATION) == round(rates.sum() * width)


def test_diurnal_begins_at_its_lowest() -> None:
    load = MODELS["diurnal"]
    assert [load.rate_at(second, DURATION) for second in (0, 10, 20, 40)] == pytest.approx([0, 10, 20, 0])


def test_diurnal_below_zero_is_rejected() -> None:
    with pytest.raises(ValidationError, match=r"at most 'mean_rate' \(1\), received 2"):
        Diurnal(model="diurnal", mean_rate=1, amplitude=2, period_seconds=1)


def test_spike_beyond_its_phase_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"within the phase of 12 s, received its end at 15 s"):
        MODELS["spike"].validate_duration(12)


def test_replay_counts_the_requests_of_its_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time_seconds\n100\n100.5\n101\n104\n")
    replay = Replay(model="replay", trace=trace, speed=2)
    assert replay.expected_requests(np.array([0, 0.2, 0.3, 3]), 3).tolist() == [0, 1, 2, 4]
    assert [replay.rate_at(second, 3) for second in (0, 0.9, 1.1, 2)] == [3, 3, 0, 1]
    assert replay.planned_requests(1) == 3
