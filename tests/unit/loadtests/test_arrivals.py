# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.loadtests.test_load_models import DURATION, MODELS
from tidegate_loadtests.arrivals import CHUNK_REQUESTS, random_arrivals, regular_arrivals
from tidegate_loadtests.load_models import Constant, Diurnal, Floats, LoadModel, Poisson

RANDOM = {name: load for name, load in MODELS.items() if load.random}


def draw(load: LoadModel, count: int, seed: int = 1, duration: float = DURATION) -> Floats:
    return np.concatenate(list(random_arrivals(load, duration, count, np.random.default_rng(seed))))


@pytest.mark.parametrize("load", RANDOM.values(), ids=RANDOM)
def test_random_arrivals_follow_the_rate(load: LoadModel) -> None:
    count = 60_000
    times = draw(load, count)
    assert len(times) == count
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] <= times[-1] <= DURATION
    # Given their number, the arrivals of a Poisson process are independent with the density of the rate.
    # 1.95 / sqrt(n) is the critical value of Kolmogorov and Smirnov's test at 0.1 %.
    expected = load.expected_requests(times, DURATION) / load.expected_requests(
        np.array([DURATION]), DURATION
    )
    distance = np.abs(expected - (np.arange(count) + 0.5) / count).max()
    assert distance < 1.95 / np.sqrt(count)


def test_arrivals_of_a_constant_rate_have_exponential_gaps() -> None:
    gaps = np.diff(draw(Poisson(model="poisson", rate=1000), 60_000))
    # The standard deviation of an exponential distribution is its mean.
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05


def test_arrivals_have_the_variance_of_a_poisson_process() -> None:
    load = Diurnal(model="diurnal", mean_rate=100, amplitude=90, period_seconds=60)
    draws = np.array([np.histogram(draw(load, 600, seed), 6, (0, 60))[0] for seed in range(400)])
    means = np.diff(load.expected_requests(np.arange(0, 61, 10.0), DURATION)) / 10
    # Of a fixed number, the part in a bin is binomial.
    assert np.allclose(draws.mean(axis=0), means, atol=5 * np.sqrt(600 / 4 / 400))
    assert np.allclose(draws.var(axis=0) / (means * (1 - means / 600)), 1, atol=0.35)


def test_arrivals_follow_from_the_seed() -> None:
    load = RANDOM["spike"]
    assert np.array_equal(draw(load, 2000), draw(load, 2000))
    assert not np.array_equal(draw(load, 2000), draw(load, 2000, seed=2))


@settings(deadline=None)
@given(rate=st.floats(0.1, 5000), duration=st.floats(0.1, 50), count=st.integers(1, 9))
def test_regular_arrivals_of_all_generators_are_those_of_one(
    rate: float, duration: float, count: int
) -> None:
    load = Constant(model="constant", rate=rate)
    parts = [list(regular_arrivals(load, duration, index, count)) for index in range(count)]
    assert all(len(chunk) <= CHUNK_REQUESTS for part in parts for chunk in part)
    times = np.sort(np.concatenate([np.empty(0), *(chunk for part in parts for chunk in part)]))
    assert np.allclose(times, np.arange(load.planned_requests(duration)) / rate)


def test_memory_does_not_grow_with_the_length_of_a_phase() -> None:
    """Two hours at 2,000 requests per second are 14 million arrivals; one chunk of them exists at a time."""
    load = Poisson(model="poisson", rate=2000)
    chunks = random_arrivals(load, 7200, 14_400_000, np.random.default_rng(1))
    next(chunks)
    tracemalloc.start()
    try:
        total = sum(len(next(chunks)) for _ in range(200))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total > 150 * CHUNK_REQUESTS
    assert peak_bytes < 100 * 8 * CHUNK_REQUESTS
