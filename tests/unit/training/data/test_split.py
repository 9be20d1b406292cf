# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import DataError
from tidegate_training.config import Split
from tidegate_training.data.split import Splits, require_classes, require_two_rows, split_rows, weighted_rows

SIZES = st.sampled_from([(0.2, 0.2), (0.1, 0.3), (0.3, 0.1), (0.25, 0.25)])


def covers(splits: Splits, rows: int) -> bool:
    together = np.concatenate([indices for _, indices in splits.items()])
    return sorted(together) == list(range(rows))


@given(SIZES, st.integers(20, 200), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_split_rows_puts_each_row_in_one_split_of_given_size(
    sizes: tuple[float, float], rows: int, seed: int
) -> None:
    options = Split(test=sizes[0], validation=sizes[1])
    splits = split_rows(options, rows, seed)
    assert covers(splits, rows)
    assert abs(len(splits.test) - sizes[0] * rows) <= 1
    assert abs(len(splits.validation) - sizes[1] * rows) <= 2


@given(SIZES, st.lists(st.integers(0, 12), min_size=40, max_size=120), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_split_rows_by_group_puts_each_group_in_one_split(
    sizes: tuple[float, float], groups: list[int], seed: int
) -> None:
    options = Split(test=sizes[0], validation=sizes[1], group="g")
    values = np.array(groups)
    try:
        splits = split_rows(options, len(groups), seed, groups=values)
    except DataError:
        assert len(set(groups)) < 5
        return
    assert covers(splits, len(groups))
    groups_by_split = [set(values[indices]) for _, indices in splits.items()]
    assert sum(map(len, groups_by_split)) == len(set(groups))


@given(SIZES, st.lists(st.integers(0, 50), min_size=30, max_size=120))
@settings(max_examples=50, deadline=None)
def test_split_rows_by_time_trains_on_the_past(sizes: tuple[float, float], times: list[int]) -> None:
    options = Split(test=sizes[0], validation=sizes[1], time="t")
    values = np.array(times)
    try:
        splits = split_rows(options, len(times), 0, times=values)
    except DataError:
        return
    assert covers(splits, len(times))
    assert values[splits.train].max() < values[splits.validation].min()
    assert values[splits.validation].max() < values[splits.test].min()


def test_split_rows_stratified_keeps_the_class_proportions() -> None:
    labels = np.repeat(["a", "b"], [160, 40])
    splits = split_rows(Split(), 200, 3, labels=labels)
    assert [np.mean(labels[indices] == "b") for _, indices in splits.items()] == [0.2, 0.2, 0.2]


def test_split_rows_depends_on_the_seed_alone() -> None:
    first, again, other = (split_rows(Split(), 100, seed) for seed in (1, 1, 2))
    assert first.test.tolist() == again.test.tolist() != other.test.tolist()


def test_split_rows_class_with_too_few_rows_is_named() -> None:
    with pytest.raises(DataError, match=r"'rare' has 2 rows, .*needs 3 rows.*split\.stratify: false"):
        split_rows(Split(), 102, 0, labels=np.repeat(["often", "rare"], [100, 2]))


def test_require_classes_missing_class_is_named_with_its_rows() -> None:
    splits = Splits(np.arange(4), np.arange(4, 6), np.arange(6, 8))
    require_classes(splits, np.array(["a", "b", "a", "b", "a", "a", "b", "b"]))
    with pytest.raises(DataError, match=r"class 'b' \(1 validation rows and 2 test rows\): choose"):
        require_classes(splits, np.array(["a", "a", "a", "a", "a", "b", "b", "b"]))
    with pytest.raises(DataError, match=r"class '2' \(1 test rows\), and of 1 more"):
        require_classes(splits, np.array([0, 1, 0, 1, 0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (100, {"times": np.zeros(100)}, "no validation row: 100 rows .*give more data"),
        (100, {"groups": np.zeros(100)}, "has 1 groups, .*at least 3"),
        (1, {}, "cannot be split"),
    ],
)
def test_split_rows_too_few_rows_are_rejected(rows: int, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_rows(Split(), rows, 0, **arguments)


def test_require_two_rows_names_the_split_with_one() -> None:
    require_two_rows(Splits(np.arange(4), np.arange(4, 6), np.arange(6, 8)))
    with pytest.raises(DataError, match="leaves one test row, and R² needs two"):
        require_two_rows(Splits(np.arange(4), np.arange(4, 6), np.arange(6, 7)))


def test_weighted_rows_leave_out_rows_with_the_weight_zero() -> None:
    splits = Splits(np.arange(4), np.arange(4, 6), np.arange(6, 8))
    counted = weighted_rows(splits, np.array([1.0, 0, 2, 0, 1, 0, 0, 1]))
    assert [rows.tolist() for _, rows in counted.items()] == [[0, 2], [4], [7]]
    with pytest.raises(DataError, match="its rows have the sample weight 0"):
        require_classes(counted, np.array(["a", "b", "a", "b", "a", "b", "b", "a"]))
    with pytest.raises(DataError, match="Every validation row has the sample weight 0"):
        weighted_rows(splits, np.array([1.0, 0, 2, 0, 0, 0, 0, 1]))
