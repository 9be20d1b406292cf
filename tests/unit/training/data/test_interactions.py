# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_training.config import Split
from tidegate_training.data.interactions import merge_repeats, split_by_user


def test_merge_repeats_keeps_the_earliest_with_all_weights() -> None:
    users, items = np.array(["a", "a", "b", "a"]), np.array([7, 8, 7, 7])
    times, weights = np.array([5, 2, 9, 1]), np.array([1.0, 2.0, 4.0, 8.0])
    rows, merged = merge_repeats(users, items, times, weights)
    assert rows.tolist() == [1, 2, 3]
    assert merged is not None
    assert merged.tolist() == [2.0, 4.0, 9.0]
    rows, counts = merge_repeats(users, items, None, None)
    assert rows.tolist() == [0, 1, 2]
    assert counts is not None
    assert counts.tolist() == [2.0, 1.0, 1.0]


def test_merge_repeats_without_repeats_changes_nothing() -> None:
    rows, weights = merge_repeats(np.array([1, 1, 2]), np.array([1, 2, 1]), None, None)
    assert (rows.tolist(), weights) == ([0, 1, 2], None)


@given(
    st.sampled_from([(0.2, 0.2), (0.5, 0.4), (0.05, 0.3)]),
    st.lists(st.integers(0, 9), min_size=1, max_size=90),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_split_by_user_tests_on_each_user_s_latest(
    sizes: tuple[float, float], users: list[int], source: Any
) -> None:
    times = np.array(source.sample(range(1000), len(users)))
    options, column = Split(test=sizes[0], validation=sizes[1]), np.array(users)
    splits = split_by_user(options, column, times, seed=0)
    assert sorted(np.concatenate(splits)) == list(range(len(users)))
    for user in set(users):
        train, validation, test = (times[rows[column[rows] == user]] for rows in splits)
        count = users.count(user)
        assert len(train) >= 1
        assert len(test) == min(int(sizes[0] * count + 0.5), count - len(train))
        assert max(train) < min([*validation, 1000])
        assert max([*train, *validation]) < min([*test, 1000])


def test_split_by_user_without_times_shuffles_by_the_seed() -> None:
    options, users = Split(), np.repeat(np.arange(20), 10)
    first, again, other = (split_by_user(options, users, None, seed) for seed in (1, 1, 2))
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in again]
    assert first[2].tolist() != other[2].tolist()
    assert (np.bincount(users[first[2]]) == 2).all()


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (10, (6, 2, 2))]
)
def test_split_by_user_of_few_interactions_trains_only(count: int, expected: tuple[int, ...]) -> None:
    splits = split_by_user(Split(), np.zeros(count, np.int64), None, seed=0)
    assert tuple(map(len, splits)) == expected
