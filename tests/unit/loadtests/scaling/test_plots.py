# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from tidegate_loadtests.scaling.hpa_spec import HpaSpec
from tidegate_loadtests.scaling.plots import plot_simulations
from tidegate_loadtests.scaling.replica_model import ReplicaModel
from tidegate_loadtests.scaling.settings import ScalingSettings
from tidegate_loadtests.scaling.simulator import simulate


@pytest.mark.parametrize("seconds", [1, 60, 5000])
def test_plot_simulations_any_length_is_a_picture(replica: ReplicaModel, seconds: int) -> None:
    rates = np.linspace(0, 30_000, seconds)
    simulations = [
        simulate(rates, replica, ScalingSettings(f"{count} replicas", HpaSpec(max_replicas=count)))
        for count in (1, 4)
    ]
    picture = matplotlib.image.imread(BytesIO(plot_simulations(simulations, 4000.0, 0.02, 99.0)))
    assert picture.shape[:2] == (975, 1300)
    assert picture.std() > 0.05


def test_plot_simulations_without_replicas_is_a_picture(replica: ReplicaModel) -> None:
    settings = ScalingSettings("none", HpaSpec(min_replicas=0, max_replicas=1))
    simulation = simulate(np.ones(60), replica, settings, initial_replicas=0)
    assert plot_simulations([simulation], 4000.0, 0.02, 99.0).startswith(b"\x89PNG")
