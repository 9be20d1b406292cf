# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Interactions of users with items: repeated ones as one, and their division into splits user by user.

Both happen before anything is fitted. A repeated interaction that was in two splits would tell the model what
it is tested on.
"""

import numpy as np
from numpy.typing import NDArray

from tidegate_training.bundling.features import Indices
from tidegate_training.config import Split
from tidegate_training.data.columns import Array


def merge_repeats(
    users: Array, items: Array, times: Array | None, weights: Array | None
) -> tuple[Indices, Array | None]:
    """Merge the interactions of one user with one item: the earliest stays, with the sum of the weights.

    Args:
        users: ``[rows]``, the user of each interaction.
        items: ``[rows]``, its item.
        times: ``[rows]``, its time; by default the order of the rows.
        weights: ``[rows]``, its weight; by default 1.

    Returns:
        The numbers of the rows that stay, ``[pairs]``, and their weights; None if every weight is 1.
    """
    n_rows = len(users)
    (user_of, _), (item_of, n_items) = _number(users), _number(items)
    order = np.arange(n_rows) if times is None else np.argsort(times, kind="stable")
    _, first, pair_of = np.unique(
        user_of[order] * n_items + item_of[order], return_index=True, return_inverse=True
    )
    if len(first) == n_rows:
        return np.arange(n_rows), weights
    sums = np.bincount(pair_of, None if weights is None else weights[order]).astype(np.float64)
    rows = order[first]
    by_row = np.argsort(rows)
    return rows[by_row], sums[by_row]


def split_by_user(
    options: Split, users: Array, times: Array | None, seed: int
) -> tuple[Indices, Indices, Indices]:
    """Divide the interactions of each user: the latest ones test, the earliest train.

    A fraction of a user's interactions that is less than half a row is none, so a user with very few
    interactions trains only.

    Args:
        options: The sizes, as fractions of each user's interactions.
        users: ``[rows]``, the user of each interaction.
        times: ``[rows]``, its time; None shuffles each user's interactions.
        seed: The seed of the shuffle.

    Returns:
        The row numbers of the training, validation and test rows, in order.
    """
    user_of, _ = _number(users)
    keys = np.random.default_rng(seed).permutation(len(users)) if times is None else times
    order = np.lexsort((keys, user_of))
    counts = np.bincount(user_of)
    from_last = (np.cumsum(counts)[user_of[order]] - 1) - np.arange(len(users))
    sizes = counts[user_of[order]]
    n_test = np.floor(options.test * sizes + 0.5).astype(np.intp)
    n_held_out = np.minimum(n_test + np.floor(options.validation * sizes + 0.5).astype(np.intp), sizes - 1)
    is_test = from_last < np.minimum(n_test, n_held_out)
    is_train = from_last >= n_held_out
    return (
        np.sort(order[is_train]),
        np.sort(order[~is_train & ~is_test]),
        np.sort(order[is_test]),
    )


def _number(values: Array) -> tuple[NDArray[np.intp], int]:
    """Return the number of each value among the sorted ones, ``[rows]``, and how many there are."""
    distinct, numbers = np.unique(values, return_inverse=True)
    return numbers, len(distinct)
