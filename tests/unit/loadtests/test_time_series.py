# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from tests.support.campaigns import make_campaign, make_phase
from tests.support.samples import make_samples
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.time_series import BUCKETS, MAX_BINS, TimeSeries, TimeSeriesCounter


def count(campaign: Campaign, *batches: Samples) -> TimeSeries:
    counter = TimeSeriesCounter(campaign)
    for samples in batches:
        counter.add(samples)
    return counter.series()


def test_time_series_divides_the_last_bin_by_its_length() -> None:
    series = count(
        make_campaign(make_phase(rate=1000, duration=2.5)),
        make_samples([0.5, 1.2, 1.6], error=["", "", "status 500"]),
        make_samples([2.25, 2.4], completed=[2.26, 2.6]),
    )
    assert series.edges.tolist() == [0.0, 1.0, 2.0, 2.5]
    assert series.middles.tolist() == [0.5, 1.5, 2.25]
    assert series.requests.tolist() == [1, 2, 2]
    assert series.failures.tolist() == [0, 1, 0]
    assert series.goodput.tolist() == [1.0, 1.0, 2.0]


def test_time_series_of_hours_has_wide_bins_with_gaps() -> None:
    campaign = make_campaign(make_phase(duration=7200))
    series = count(campaign, make_samples([0.0, 7199.0], completed=[0.01, 7199.01]))
    assert len(series.requests) == MAX_BINS
    assert series.widths.tolist() == [12.0] * MAX_BINS
    assert series.latency_ms[99.0][[0, -1]] == pytest.approx([10, 10], rel=BUCKETS.relative_error)
    assert np.isnan(series.latency_ms[99.0][1:-1]).all()


def test_time_series_counts_late_requests_by_phase() -> None:
    campaign = make_campaign(
        make_phase("strict", duration=2, rate=1000, thresholds={"max_p99_ms": 50}),
        make_phase("loose", duration=2, rate=1000, thresholds={"max_p50_ms": 500}),
    )
    starts = [0.0, 0.5, 1.0, 2.0, 2.5, 3.0]
    series = count(
        campaign,
        make_samples(
            starts,
            completed=[0.04, 0.6, 1.01, 2.1, 3.2, 3.01],
            error=["", "", "", "", "", "status 503"],
        ),
    )
    assert series.missed[99.0].tolist() == [1, 0, 0, 1]  # a failure misses each percentile
    assert series.missed[50.0].tolist() == [0, 0, 1, 1]
    assert series.missed[95.0].tolist() == [0, 0, 0, 1]


def test_time_series_counts_requests_at_the_end_in_the_last_bin() -> None:
    series = count(make_campaign(make_phase(duration=10)), make_samples([10.0], error=["no response"]))
    assert series.failures.tolist() == [0] * 9 + [1]
