# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_training.config import Split
from tidegate_training.split import Parts, divide, require_classes

from tidegate.errors import DataError

SIZES = st.sampled_from([(0.2, 0.2), (0.1, 0.3), (0.3, 0.1), (0.25, 0.25)])


def covers(parts, rows: int) -> bool:
    together = np.concatenate([indices for _, indices in parts.items()])
    return sorted(together) == list(range(rows))


@given(SIZES, st.integers(20, 200), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_row_is_in_one_part_and_the_sizes_are_as_asked(sizes, rows: int, seed: int):
    options = Split(test=sizes[0], validation=sizes[1])
    parts = divide(options, rows, seed)
    assert covers(parts, rows)
    assert abs(len(parts.test) - sizes[0] * rows) <= 1
    assert abs(len(parts.validation) - sizes[1] * rows) <= 2


@given(SIZES, st.lists(st.integers(0, 12), min_size=40, max_size=120), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_no_group_is_in_two_parts(sizes, groups: list[int], seed: int):
    options = Split(test=sizes[0], validation=sizes[1], group="g")
    values = np.array(groups)
    try:
        parts = divide(options, len(groups), seed, groups=values)
    except DataError:
        assert len(set(groups)) < 5
        return
    assert covers(parts, len(groups))
    seen = [set(values[indices]) for _, indices in parts.items()]
    assert sum(map(len, seen)) == len(set(groups))


@given(SIZES, st.lists(st.integers(0, 50), min_size=30, max_size=120))
@settings(max_examples=50, deadline=None)
def test_the_past_trains_and_the_future_tests(sizes, times: list[int]):
    options = Split(test=sizes[0], validation=sizes[1], time="t")
    values = np.array(times)
    try:
        parts = divide(options, len(times), 0, times=values)
    except DataError:
        return
    assert covers(parts, len(times))
    assert values[parts.train].max() < values[parts.validation].min()
    assert values[parts.validation].max() < values[parts.test].min()


def test_stratified_parts_have_the_classes_in_the_same_shares():
    labels = np.repeat(["a", "b"], [160, 40])
    parts = divide(Split(), 200, 3, labels=labels)
    assert [np.mean(labels[indices] == "b") for _, indices in parts.items()] == [0.2, 0.2, 0.2]


def test_the_same_seed_divides_the_same_and_another_one_differently():
    first, again, other = (divide(Split(), 100, seed) for seed in (1, 1, 2))
    assert first.test.tolist() == again.test.tolist() != other.test.tolist()


def test_a_class_too_small_to_be_in_every_part_is_named():
    with pytest.raises(DataError, match="The class 'rare' has 2 rows"):
        divide(Split(), 102, 0, labels=np.repeat(["often", "rare"], [100, 2]))


def test_a_class_that_the_training_part_misses_is_named_with_its_rows():
    parts = Parts(np.arange(4), np.arange(4, 6), np.arange(6, 8))
    require_classes(parts, np.array(["a", "b", "a", "b", "a", "a", "b", "b"]))
    with pytest.raises(DataError, match="the class 'b', which has 1 rows in validation and 2 rows in test:"):
        require_classes(parts, np.array(["a", "a", "a", "a", "a", "b", "b", "b"]))
    with pytest.raises(DataError, match="the class '2', which has 1 rows in test, nor has it 1 more"):
        require_classes(parts, np.array([0, 1, 0, 1, 0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("rows", "arguments", "sentence"),
    [
        (100, {"times": np.zeros(100)}, "leaves no row for"),
        (100, {"groups": np.zeros(100)}, "has 1 groups"),
        (1, {}, "cannot be split"),
    ],
)
def test_too_little_to_divide_is_told(rows: int, arguments, sentence: str):
    with pytest.raises(DataError, match=sentence):
        divide(Split(), rows, 0, **arguments)
