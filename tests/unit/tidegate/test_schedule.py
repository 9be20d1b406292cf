# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schedule import poisson_arrivals


@settings(deadline=None)
@given(
    count=st.integers(0, 5_000),
    begin=st.floats(-100, 100),
    seconds=st.floats(0, 100),
    seed=st.integers(0, 2**32),
)
def test_arrivals_are_ascending_within_the_interval(
    count: int, begin: float, seconds: float, seed: int
) -> None:
    end = begin + seconds
    times = poisson_arrivals(count, begin, end, np.random.default_rng(seed))
    assert times.shape == (count,)
    assert (np.diff(times) >= 0).all()
    assert count == 0 or (times[0] >= begin and times[-1] <= end)


def test_arrivals_have_exponential_gaps() -> None:
    gaps = np.diff(poisson_arrivals(30_000, 0, 30, np.random.default_rng(0)))
    # The standard deviation of an exponential distribution is its mean.
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05


def test_arrivals_follow_from_the_seed() -> None:
    first, same, other = (
        poisson_arrivals(100, 0, 10, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other
