# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats import percentile
from tidegate_loadtests.histogram import BUCKETS, MAX_MS, MIN_MS, Buckets, Histogram

VALUES = st.lists(st.floats(MIN_MS, MAX_MS * 0.99), max_size=60).map(np.array)


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


@given(VALUES, st.sampled_from([0.0, 1.0, 50.0, 95.0, 99.0, 99.9, 100.0]))
def test_percentile_agrees_with_that_of_the_values(values: np.ndarray, q: float) -> None:
    estimate, exact = histogram_of(values).percentile(q), percentile(values, q)
    if exact is None:
        assert estimate is None
    else:
        assert estimate == pytest.approx(exact, rel=BUCKETS.relative_error * (1 + 1e-9))


@given(st.lists(VALUES, max_size=4))
def test_sum_is_the_histogram_of_all_values(parts: list[np.ndarray]) -> None:
    total = sum(map(histogram_of, parts), Histogram())
    expected = histogram_of(np.concatenate([np.array([]), *parts]))
    assert total.counts.tolist() == expected.counts.tolist()
    assert total.max_ms == expected.max_ms


def test_values_beyond_the_range_count_at_its_ends() -> None:
    histogram = histogram_of(np.array([-1.0, 0.0, MIN_MS / 2, MAX_MS * 5]))
    assert (histogram.counts[0], histogram.counts[-1], histogram.counts.sum()) == (3, 1, 4)
    assert histogram.max_ms == MAX_MS * 5
    assert histogram.percentile(50) == pytest.approx(MIN_MS, rel=0.002)


def test_percentile_never_exceeds_the_largest_value() -> None:
    bucket = BUCKETS.indices(np.array([50.0]))[0]
    lowest = float(BUCKETS.edges[bucket]) * (1 + 1e-12)
    assert histogram_of(np.array([lowest])).percentile(99) == lowest < BUCKETS.middles[bucket]


@pytest.mark.parametrize("relative_error", [0.001, 0.01, 0.2])
def test_buckets_cover_the_range_within_the_error(relative_error: float) -> None:
    buckets = Buckets(relative_error)
    assert buckets.edges[0] == MIN_MS
    assert buckets.edges[-1] >= MAX_MS
    for edges in (buckets.edges[:-1], buckets.edges[1:]):
        assert np.abs(buckets.middles / edges - 1).max() == pytest.approx(relative_error)
