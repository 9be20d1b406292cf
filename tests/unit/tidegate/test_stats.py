# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats import percentile


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([], 50, None),
        ([7.0], 99, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 75, 3.0),
        (list(range(1, 101)), 99, 99.0),
        (list(range(1, 101)), 100, 100.0),
        (list(range(1, 1001)), 99, 990.0),
        (list(range(1, 101)), 7, 7.0),
        (list(range(1, 1001)), 99.9, 999.0),
    ],
)
def test_percentile_is_the_value_at_its_nearest_rank(
    values: list[float], q: float, expected: float | None
) -> None:
    assert percentile(np.array(values, float), q) == expected
    assert percentile(values, q) == expected


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 50)), max_size=20), st.integers(0, 100))
def test_percentile_with_counts_repeats_each_value(pairs: list[tuple[float, int]], q: int) -> None:
    values, counts = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs], np.int64)
    assert percentile(values, q, counts) == percentile(np.repeat(values, counts), q)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(1, 100))
def test_percentile_is_the_smallest_value_that_reaches_its_rank(values: list[float], q: int) -> None:
    result = percentile(values, q)
    assert result in values
    assert sum(value <= result for value in values) * 100 >= q * len(values)
    assert sum(value < result for value in values) * 100 < q * len(values)
