# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stub_server import make_contract
from tidegate_loadtests.partition import Partition, split_load
from tidegate_loadtests.plan import LoadTest

CONTRACT = make_contract()


def whole_load(plan: LoadTest) -> Partition:
    return Partition(plan=plan, contract=CONTRACT)


@settings(deadline=None)
@given(
    rate=st.floats(1, 500),
    duration=st.floats(20, 60),
    warmup=st.floats(0, 10),
    seed=st.integers(0, 2**32),
)
def test_starts_have_the_exact_rate_within_their_time(
    rate: float, duration: float, warmup: float, seed: int
) -> None:
    plan = LoadTest(rate=rate, connections=1, duration=duration, warmup=warmup, seed=seed)
    times = whole_load(plan).intended_starts()
    assert len(times) == plan.planned_requests
    assert (times >= 0).sum() == plan.measured_requests == round(rate * duration)
    assert (np.diff(times) >= 0).all()
    assert len(times) == 0 or (times[0] >= -warmup and times[-1] <= duration)


def test_starts_follow_from_the_seed() -> None:
    plan = LoadTest(rate=100, connections=1, duration=10, seed=1)
    other = plan.model_copy(update={"seed": 2})
    times = whole_load(plan).intended_starts()
    assert np.array_equal(times, whole_load(plan).intended_starts())
    assert not np.array_equal(times, whole_load(other).intended_starts())


def test_starts_have_exponential_gaps() -> None:
    plan = LoadTest(rate=1000, connections=1, duration=30, warmup=0)
    gaps = np.diff(whole_load(plan).intended_starts())
    # The standard deviation of an exponential distribution is its mean.
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05


@settings(deadline=None)
@given(
    rate=st.floats(1, 500),
    duration=st.floats(20, 60),
    warmup=st.floats(0, 10),
    count=st.integers(1, 9),
)
def test_partitions_add_up_to_the_load(rate: float, duration: float, warmup: float, count: int) -> None:
    plan = LoadTest(rate=rate, connections=1, duration=duration, warmup=warmup)
    starts = [partition.intended_starts() for partition in split_load(plan, CONTRACT, count)]
    assert len(starts) == count
    assert sum(len(times) for times in starts) == plan.planned_requests
    assert sum((times >= 0).sum() for times in starts) == plan.measured_requests
    # They differ by at most one request in the warm-up, and by one in the measured time.
    assert max(map(len, starts)) - min(map(len, starts)) <= 2


def test_partitions_have_own_seeds_derived_from_the_plan() -> None:
    plan = LoadTest(rate=100, connections=8, duration=20, seed=1)
    other = plan.model_copy(update={"seed": 2})
    seeds = [partition.plan.seed for partition in split_load(plan, CONTRACT, 8)]
    assert len(set(seeds)) == 8
    assert seeds == [partition.plan.seed for partition in split_load(plan, CONTRACT, 8)]
    assert not set(seeds) & {partition.plan.seed for partition in split_load(other, CONTRACT, 8)}


def test_partitions_together_are_a_poisson_process() -> None:
    plan = LoadTest(rate=1000, connections=10, duration=30, warmup=0)
    partitions = split_load(plan, CONTRACT, 10)
    times = np.sort(np.concatenate([partition.intended_starts() for partition in partitions]))
    gaps = np.diff(times)
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05
    # The number of requests per bin has a Poisson distribution, whose variance is its mean.
    counts = np.histogram(times, bins=300, range=(0, 30))[0]
    assert abs(counts.var() / counts.mean() - 1) < 0.3
