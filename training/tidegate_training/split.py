# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The split: which rows train, which choose, which judge.

It comes before anything is fitted, so that nothing of the rows that judge reaches what they judge. It
divides row numbers and never looks at features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate_training.config import Split

Indices = NDArray[np.intp]
Array = NDArray[Any]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Parts:
    """The row numbers of the three parts, each in the order of the data."""

    train: Indices
    validation: Indices
    test: Indices

    def items(self) -> list[tuple[str, Indices]]:
        """The parts by name, the one that trains first."""
        return [(name, getattr(self, name)) for name in PARTS]


def divide(
    options: Split,
    rows: int,
    seed: int,
    *,
    labels: Array | None = None,
    groups: Array | None = None,
    times: Array | None = None,
) -> Parts:
    """Divide rows by number.

    Args:
        options: The sizes, as shares of the rows (of the groups, where rows are grouped).
        rows: How many there are.
        seed: Where the shuffling starts; an order in time needs none.
        labels: The class of each row; given, each part has the classes in the same shares.
        groups: The group of each row; given, no group is in two parts.
        times: The time of each row; given, all of train is before all of validation, and that before test.

    Raises:
        DataError: There is too little to divide.
    """
    if times is not None:
        parts = _by_time(options, times)
    elif groups is not None:
        parts = _by_group(options, groups, seed)
    else:
        parts = _at_random(options, rows, seed, labels)
    for name, indices in parts.items():
        if len(indices) == 0:
            raise DataError(
                f"The split leaves no row for {name}: {rows} rows are too few for test {options.test:g} and "
                f"validation {options.validation:g}; give more data or other sizes."
            )
    return parts


def require_classes(parts: Parts, labels: Array) -> None:
    """Refuse a split whose training part misses a class, which then could neither be learned nor judged.

    Args:
        parts: The parts.
        labels: The class of each row.

    Raises:
        DataError: Which class is missing, and where its rows are.
    """
    missing = np.setdiff1d(labels, labels[parts.train])
    if len(missing):
        found = {name: int((labels[indices] == missing[0]).sum()) for name, indices in parts.items()}
        where = " and ".join(f"{count} rows in {name}" for name, count in found.items() if count)
        others = f", nor has it {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"The training part has no row of the class '{missing[0]}', which has {where}{others}: choose "
            "other sizes or another split, or leave these rows out."
        )


def _at_random(options: Split, rows: int, seed: int, labels: Array | None) -> Parts:
    from sklearn.model_selection import train_test_split

    if labels is not None:
        classes, counts = np.unique(labels, return_counts=True)
        rarest = int(np.argmin(counts))
        if counts[rarest] < len(PARTS):
            raise DataError(
                f"The class '{classes[rarest]}' has {counts[rarest]} rows, and a stratified split needs "
                f"{len(PARTS)} of each: give more rows, drop the class, or set split.stratify: false."
            )

    def cut(indices: Indices, size: float) -> tuple[Indices, Indices]:
        try:
            return tuple(
                train_test_split(
                    indices,
                    test_size=size,
                    random_state=seed,
                    stratify=None if labels is None else labels[indices],
                )
            )
        except ValueError as error:
            raise DataError(f"The data cannot be split: {str(error).rstrip('.')}.") from None

    return _cut_twice(options, np.arange(rows), cut)


def _by_group(options: Split, groups: Array, seed: int) -> Parts:
    names, group_of_row = np.unique(groups, return_inverse=True)
    if len(names) < len(PARTS):
        raise DataError(
            f"The column '{options.group}' has {len(names)} groups, and a split needs at least {len(PARTS)}."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    test = max(1, round(options.test * len(names)))
    validation = max(1, round(options.validation * len(names)))
    part_of_group = np.zeros(len(names), dtype=np.intp)
    part_of_group[order[:test]] = 2
    part_of_group[order[test : test + validation]] = 1
    part_of_row = part_of_group[group_of_row]
    return Parts(*(np.flatnonzero(part_of_row == part) for part in range(len(PARTS))))


def _by_time(options: Split, times: Array) -> Parts:
    # Rows of one time stay together, in the earlier part: of two things that happened at once neither is
    # the other's future.
    ordered = np.sort(times)
    rows = len(times)
    first = round((1 - options.test - options.validation) * rows)
    second = round((1 - options.test) * rows)
    last_train = ordered[max(first - 1, 0)]
    last_validation = ordered[max(second - 1, 0)]
    return Parts(
        np.flatnonzero(times <= last_train),
        np.flatnonzero((times > last_train) & (times <= last_validation)),
        np.flatnonzero(times > last_validation),
    )


def _cut_twice(
    options: Split, rows: Indices, cut: Callable[[Indices, float], tuple[Indices, Indices]]
) -> Parts:
    rest, test = cut(rows, options.test)
    train, validation = cut(rest, options.validation / (1 - options.test))
    return Parts(np.sort(train), np.sort(validation), np.sort(test))
