# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Warnings of leakage: features that tell the target or the row, and test rows that are known already.

A warning is a suspicion, because a good feature may look the same. It names columns, rows and counts, and
never a value.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Datatype
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.data.columns import Array
from tidegate_training.data.split import Splits

MIN_ROWS = 50
"""Smallest number of rows to judge; few rows are often separated by chance."""
_MONOTONIC = 0.9999
"""Rank correlation with the target from which a feature is a function of it."""
_DIFFERENT = 0.9
"""Ratio of different values to rows from which a column of categories names rows."""
_DUPLICATES = 0.01
"""Ratio of known test rows above which duplicates are reported, if there are two or more."""


def find_leakage(
    features: FeatureTable,
    target: Array | None,
    splits: Splits,
    *,
    texts: Collection[str],
    unused_times: Mapping[str, str],
) -> list[str]:
    """Return a warning for each suspicion of leakage.

    Args:
        features: The features.
        target: ``[rows]`` of classes or values; None without one.
        splits: The split.
        texts: The features that are free texts or times, whose values differ by nature.
        unused_times: By column of times by which the rows are not split, its use.
    """
    warnings = []
    if len(features) >= MIN_ROWS:
        for name, column in features.columns.items():
            present = ~features.missing(name)
            if target is not None and tells_target(column[present], target[present]):
                warnings.append(
                    f"The feature '{name}' alone determines the target: leave it out with features.drop if "
                    "it is a copy, a function or a consequence of the target."
                )
            elif name not in texts and names_rows(column[present], features.datatypes[name]):
                warnings.append(
                    f"The feature '{name}' has another value in almost every row, as an identifier has: "
                    "leave it out with features.drop unless its value means something for new rows."
                )
        warnings += _duplicates(features, target, splits)
    return warnings + [
        f"The rows are not split by time, and the column '{name}' has times ({use}): set split.time if the "
        "model predicts the future, because later rows train for earlier ones."
        for name, use in unused_times.items()
    ]


def tells_target(column: Array, target: Array) -> bool:
    """Return whether one feature determines the target: by its order, or by its categories.

    Args:
        column: ``[rows]``, the feature.
        target: ``[rows]``, the classes or values.
    """
    if len(column) < MIN_ROWS:
        return False
    values, code_of, counts = np.unique(column, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return False
    if target.dtype.kind == "f":
        if column.dtype.kind in "OU":
            return False
        ranks = (_ranks(column), _ranks(target))
        return bool(abs(np.corrcoef(*ranks)[0, 1]) > _MONOTONIC)
    _, classes = np.unique(target, return_inverse=True)
    if column.dtype.kind in "OUb" or counts.mean() >= 2:
        pairs = len(np.unique(code_of * (classes.max() + 1) + classes))
        return bool(pairs == len(values) and counts.mean() >= 2)
    changes = np.count_nonzero(np.diff(classes[np.argsort(column, kind="stable")]))
    return bool(changes == classes.max())


def names_rows(column: Array, datatype: Datatype) -> bool:
    """Return whether a column of categories or whole numbers has another value in almost every row.

    Whole numbers name rows only if they are consecutive, because amounts differ from row to row, too.

    Args:
        column: ``[rows]``, the feature.
        datatype: Its data type.
    """
    n_different = len(np.unique(column))
    if len(column) < MIN_ROWS or n_different < _DIFFERENT * len(column):
        return False
    if datatype is Datatype.BYTES:
        return True
    return bool(datatype.is_integer and int(column.max()) - int(column.min()) < 1.2 * len(column))


def _ranks(values: Array) -> NDArray[np.float64]:
    """Return the mean rank of each value, ``[rows]``."""
    _, code_of, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[code_of], np.float64)


def _duplicates(features: FeatureTable, target: Array | None, splits: Splits) -> list[str]:
    """Return a warning if test rows have the features and the target of a training row."""
    if not any(datatype.is_float for datatype in features.datatypes.values()):
        return []  # rows of categories and whole numbers are often equal
    import pandas as pd

    columns = dict(features.columns)
    frame = pd.DataFrame(columns if target is None else {**columns, "": target})
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    known = np.isin(hashes[splits.test], hashes[splits.train])
    if known.sum() <= max(1, _DUPLICATES * len(known)):
        return []
    row = int(splits.test[int(np.argmax(known))]) + 1
    return [
        f"{known.sum():,} of {len(known):,} test rows equal a training row, the first in row {row:,}, so the "
        "metrics are too good: remove repeated rows, or set split.group to the column that they share."
    ]
