# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from tests.unit.loadtests.test_summary import make_samples
from tidegate_loadtests.time_series import compute_time_series


def test_time_series_scales_partial_bins_to_their_length() -> None:
    samples = make_samples([-0.25, 0.5, 1.2, 1.6, 2.25], error=["", "", "", "status 500", ""])
    series = compute_time_series(samples, duration=2.5, warmup=0.5)
    assert series.time.tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert series.goodput.tolist() == [2.0, 1.0, 1.0, 2.0]
    assert series.failures.tolist() == [0.0, 0.0, 1.0, 0.0]


def test_time_series_of_an_hour_has_wide_bins_with_gaps() -> None:
    samples = make_samples([0.0, 3599.0], completed=[0.01, 3599.01])
    series = compute_time_series(samples, duration=3600, warmup=0)
    assert series.bin_seconds == 30
    assert len(series.time) == 120
    assert series.latency_ms[99.0][0] == pytest.approx(10)
    assert np.isnan(series.latency_ms[99.0][1:-1]).all()
