# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_loadtests.partition import Share, shares
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.schedule import arrivals

from tests.support.stub_server import make_contract

CONTRACT = make_contract()


def whole(plan: LoadTest) -> Share:
    return Share(plan=plan, contract=CONTRACT)


@settings(deadline=None)
@given(
    rate=st.floats(1, 500),
    duration=st.floats(20, 60),
    warmup=st.floats(0, 10),
    seed=st.integers(0, 2**32),
)
def test_the_offered_rate_is_exact_and_every_start_is_within_its_time(
    rate: float, duration: float, warmup: float, seed: int
) -> None:
    plan = LoadTest(rate=rate, connections=1, duration=duration, warmup=warmup, seed=seed)
    times = arrivals(whole(plan))
    assert len(times) == plan.planned
    assert (times >= 0).sum() == plan.measured == round(rate * duration)
    assert (np.diff(times) >= 0).all()
    assert len(times) == 0 or (times[0] >= -warmup and times[-1] <= duration)


def test_the_same_seed_gives_the_same_starts_and_another_seed_others() -> None:
    plan = LoadTest(rate=100, connections=1, duration=10, seed=1)
    assert np.array_equal(arrivals(whole(plan)), arrivals(whole(plan)))
    assert not np.array_equal(arrivals(whole(plan)), arrivals(whole(plan.model_copy(update={"seed": 2}))))


def test_gaps_are_those_of_independent_clients() -> None:
    gaps = np.diff(arrivals(whole(LoadTest(rate=1000, connections=1, duration=30, warmup=0))))
    # Of a Poisson process the gaps are exponential: their standard deviation is their mean.
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05


@settings(deadline=None)
@given(
    rate=st.floats(1, 500),
    duration=st.floats(20, 60),
    warmup=st.floats(0, 10),
    of=st.integers(1, 9),
)
def test_the_shares_of_a_load_add_up_to_it(rate: float, duration: float, warmup: float, of: int) -> None:
    plan = LoadTest(rate=rate, connections=1, duration=duration, warmup=warmup)
    parts = [arrivals(share) for share in shares(plan, CONTRACT, of)]
    assert len(parts) == of
    assert sum(len(part) for part in parts) == plan.planned
    assert sum((part >= 0).sum() for part in parts) == plan.measured
    # At most one request apart in the warm-up, and one in the measured time.
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


def test_shares_have_seeds_of_their_own_which_the_plans_seed_decides() -> None:
    plan = LoadTest(rate=100, connections=8, duration=20, seed=1)
    seeds = [share.plan.seed for share in shares(plan, CONTRACT, 8)]
    assert len(set(seeds)) == 8
    assert seeds == [share.plan.seed for share in shares(plan, CONTRACT, 8)]
    assert not set(seeds) & {
        share.plan.seed for share in shares(plan.model_copy(update={"seed": 2}), CONTRACT, 8)
    }


def test_the_shares_of_many_workers_together_are_as_random_as_one_generators_arrivals() -> None:
    plan = LoadTest(rate=1000, connections=10, duration=30, warmup=0)
    together = np.sort(np.concatenate([arrivals(share) for share in shares(plan, CONTRACT, 10)]))
    gaps = np.diff(together)
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05
    # A second's requests vary as those of a Poisson process do: their variance is their mean.
    counts = np.histogram(together, bins=300, range=(0, 30))[0]
    assert abs(counts.var() / counts.mean() - 1) < 0.3
