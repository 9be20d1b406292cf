# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from tidegate_loadtests.scaling.hpa_spec import HpaSpec
from tidegate_loadtests.scaling.replica_model import ReplicaModel
from tidegate_loadtests.scaling.settings import ChartValues, ScalingSettings
from tidegate_loadtests.scaling.simulator import Pipeline, simulate
from tidegate_loadtests.scaling.suggestion import Objective, suggest, target_candidates

SAFE_RATE = 4000.0
OBJECTIVE = Objective(threshold_seconds=0.02)


@pytest.fixture
def settings() -> ScalingSettings:
    return ScalingSettings("chart", HpaSpec.model_validate(ChartValues().hpa_document()))


def slow_wave(seconds: int = 7200, peak: float = 20_000.0) -> np.ndarray:
    return peak * (1 - np.cos(2 * np.pi * np.arange(seconds) / seconds)) / 2


def test_suggest_slow_traffic_is_kept_for_less_than_the_peak(
    replica: ReplicaModel, settings: ScalingSettings
) -> None:
    rates = slow_wave()
    found = suggest(rates, replica, SAFE_RATE, settings, OBJECTIVE, Pipeline())
    assert found is not None
    suggested, simulation = found
    assert OBJECTIVE.is_kept(simulation)
    assert simulation.replica_seconds < len(rates) * 5  # five replicas serve the peak
    assert suggested.spec.max_replicas == 7
    assert suggested.spec.behavior == settings.spec.behavior


def test_suggest_result_is_reproduced_by_its_settings(
    replica: ReplicaModel, settings: ScalingSettings
) -> None:
    rates = slow_wave()
    found = suggest(rates, replica, SAFE_RATE, settings, OBJECTIVE, Pipeline())
    assert found is not None
    assert simulate(rates, replica, found[0]).replica_seconds == found[1].replica_seconds


def test_suggest_sudden_traffic_needs_replicas_before_it(
    replica: ReplicaModel, settings: ScalingSettings
) -> None:
    rates = np.where(np.arange(7200) % 3600 < 1800, 1000.0, 20_000.0)
    found = suggest(rates, replica, SAFE_RATE, settings, OBJECTIVE, Pipeline())
    assert found is not None
    assert found[0].spec.min_replicas >= 5


def test_suggest_impossible_threshold_finds_none(replica: ReplicaModel, settings: ScalingSettings) -> None:
    objective = Objective(threshold_seconds=1e-6)
    assert suggest(slow_wave(600), replica, SAFE_RATE, settings, objective, Pipeline()) is None


def test_target_candidates_in_flight_rises_with_the_fraction(
    replica: ReplicaModel, settings: ScalingSettings
) -> None:
    candidates = list(target_candidates(replica, SAFE_RATE, settings))
    in_flight = [metric.target for metric in candidates if metric.source == "External"]
    assert in_flight == sorted(in_flight)
    # 8 requests are in flight at the safe rate, and a ratio of 1.1 does not scale.
    assert in_flight[-1] == pytest.approx(8000 / 1.1, rel=0.01)
    assert {metric.source for metric in candidates} == {"External", "ContainerResource"}
