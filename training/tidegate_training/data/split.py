# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The split into training, validation and test rows.

The split comes before fitting, so that no fitted step depends on validation or test rows. It divides row
numbers and reads no features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate_training.bundling.features import Indices
from tidegate_training.config import Split
from tidegate_training.data.interactions import split_by_user

Array = NDArray[Any]

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Splits:
    """The row numbers of each split, in the order of the data."""

    train: Indices
    validation: Indices
    test: Indices

    def items(self) -> list[tuple[str, Indices]]:
        """Return the splits by name, the training rows first; each is ``[split_rows]``."""
        return [(name, getattr(self, name)) for name in SPLIT_NAMES]


def split_rows(
    options: Split,
    n_rows: int,
    seed: int,
    *,
    labels: Array | None = None,
    groups: Array | None = None,
    times: Array | None = None,
    users: Array | None = None,
) -> Splits:
    """Split row numbers at random, by group, by time, or user by user.

    Args:
        options: The sizes, as fractions of the rows, or of the groups.
        n_rows: The number of rows.
        seed: The seed of the shuffle; a split by time does not use it.
        labels: ``[rows]``, the class of each row. If given, each split has the same proportions of classes.
        groups: ``[rows]``, the group of each row. If given, each group is in one split.
        times: ``[rows]``, the time of each row. If given, training rows come before validation rows, and
            these come before test rows; with users, among the rows of each user.
        users: ``[rows]``, the user of each row. If given, the rows of each user are divided.

    Raises:
        DataError: If the rows are too few to split.
    """
    if users is not None:
        splits = Splits(*split_by_user(options, users, times, seed))
    elif times is not None:
        splits = _split_by_time(options, times)
    elif groups is not None:
        splits = _split_by_group(options, groups, seed)
    else:
        splits = _split_at_random(options, n_rows, seed, labels)
    for name, indices in splits.items():
        if len(indices) == 0:
            raise DataError(
                f"The split leaves no {name} row: {n_rows} rows are too few for test {options.test:g} and "
                f"validation {options.validation:g}; give more data or other sizes."
            )
    return splits


def weighted_rows(splits: Splits, weights: Array) -> Splits:
    """Return the rows that count: those with a weight above 0.

    Args:
        splits: The splits.
        weights: ``[rows]``, the weight of each row.

    Raises:
        DataError: If no row of a split counts.
    """
    counted = Splits(*(rows[weights[rows] > 0] for _, rows in splits.items()))
    for name, rows in counted.items():
        if len(rows) == 0:
            raise DataError(
                f"Every {name} row has the sample weight 0, so no {name} row counts: give more data or other "
                "sizes in split."
            )
    return counted


def require_classes(splits: Splits, labels: Array) -> None:
    """Check that the training rows have every class; the model could not predict a missing class.

    Args:
        splits: The splits, without the rows whose weight is 0.
        labels: ``[rows]``, the class of each row.

    Raises:
        DataError: If the training rows miss a class. The message counts the rows of the class in other
            splits.
    """
    missing = np.setdiff1d(labels, labels[splits.train])
    if len(missing):
        counts = {name: int((labels[indices] == missing[0]).sum()) for name, indices in splits.items()}
        where = " and ".join(f"{count} {name} rows" for name, count in counts.items() if count)
        where = where or "its rows have the sample weight 0"
        others = f", and of {len(missing) - 1} more classes" if len(missing) > 1 else ""
        raise DataError(
            f"There is no training row of the class '{missing[0]}' ({where}){others}: choose other sizes or "
            "another split, or leave these rows out."
        )


def require_two_rows(splits: Splits) -> None:
    """Check that each split has two rows or more, because R² is not defined for one.

    Args:
        splits: The splits.

    Raises:
        DataError: If a split has one row.
    """
    for name, rows in splits.items():
        if len(rows) < 2:
            raise DataError(
                f"The split leaves one {name} row, and R² needs two: give more data or other sizes in split."
            )


def _split_at_random(options: Split, n_rows: int, seed: int, labels: Array | None) -> Splits:
    from sklearn.model_selection import train_test_split

    if labels is not None:
        classes, counts = np.unique(labels, return_counts=True)
        rarest = int(np.argmin(counts))
        if counts[rarest] < len(SPLIT_NAMES):
            raise DataError(
                f"The class '{classes[rarest]}' has {counts[rarest]} rows, and a stratified split needs "
                f"{len(SPLIT_NAMES)} rows per class: give more rows, drop the class, or set "
                "split.stratify: false."
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

    return _cut_twice(options, np.arange(n_rows), cut)


def _split_by_group(options: Split, groups: Array, seed: int) -> Splits:
    names, group_of_row = np.unique(groups, return_inverse=True)
    if len(names) < len(SPLIT_NAMES):
        raise DataError(
            f"The column '{options.group}' has {len(names)} groups, and a split needs at least "
            f"{len(SPLIT_NAMES)}: give more data, or split without split.group."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    test = max(1, round(options.test * len(names)))
    validation = max(1, round(options.validation * len(names)))
    split_of_group = np.zeros(len(names), dtype=np.intp)
    split_of_group[order[:test]] = SPLIT_NAMES.index("test")
    split_of_group[order[test : test + validation]] = SPLIT_NAMES.index("validation")
    split_of_row = split_of_group[group_of_row]
    return Splits(*(np.flatnonzero(split_of_row == index) for index in range(len(SPLIT_NAMES))))


def _split_by_time(options: Split, times: Array) -> Splits:
    # Rows with equal times stay together, in the earlier split, because neither row is in the other's future.
    ordered = np.sort(times)
    n_rows = len(times)
    train_end = round((1 - options.test - options.validation) * n_rows)
    validation_end = round((1 - options.test) * n_rows)
    last_train = ordered[max(train_end - 1, 0)]
    last_validation = ordered[max(validation_end - 1, 0)]
    return Splits(
        np.flatnonzero(times <= last_train),
        np.flatnonzero((times > last_train) & (times <= last_validation)),
        np.flatnonzero(times > last_validation),
    )


def _cut_twice(
    options: Split, rows: Indices, cut: Callable[[Indices, float], tuple[Indices, Indices]]
) -> Splits:
    rest, test = cut(rows, options.test)
    train, validation = cut(rest, options.validation / (1 - options.test))
    return Splits(np.sort(train), np.sort(validation), np.sort(test))
