# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schedule import poisson_arrivals


@given(st.integers(0, 50), st.floats(-100, 100), st.floats(0.1, 100), st.integers(0, 10))
def test_poisson_arrivals_are_ascending_and_in_the_interval(
    count: int, begin: float, length: float, seed: int
) -> None:
    arrivals = poisson_arrivals(count, begin, begin + length, np.random.default_rng(seed))
    assert arrivals.shape == (count,)
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= begin) & (arrivals <= begin + length)).all()


def test_poisson_arrivals_of_the_same_seed_are_the_same() -> None:
    schedules = [poisson_arrivals(9, 0, 1, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)]
    assert schedules[0] == schedules[1] != schedules[2]


def test_poisson_arrivals_have_exponential_gaps() -> None:
    gaps = np.diff(poisson_arrivals(20_000, 0, 1000, np.random.default_rng(1)))
    assert gaps.mean() == pytest.approx(0.05, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
