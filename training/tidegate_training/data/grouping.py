# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of rows that have metrics of their own: by a column of the data, or by the activity of a user.

The column need not be a feature, because a model is compared between groups that it must not see.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import FieldError
from tidegate_training.bundling.features import Indices
from tidegate_training.config import GroupColumn
from tidegate_training.data.columns import Array, Column
from tidegate_training.data.source import Source
from tidegate_training.evaluation.breakdown import Grouping

MAX_GROUPS = 50
"""Largest number of groups of a column; a column with more has names or numbers, and no groups."""
MISSING = "missing"
ACTIVITY_EDGES = (5.0, 10.0, 20.0)
"""Numbers of training interactions that divide users, because few of them are a cold start."""


def read_groupings(source: Source, columns: Sequence[GroupColumn]) -> dict[str, Grouping]:
    """Return the groups of each column.

    Args:
        source: The data.
        columns: The columns, with edges for numbers.

    Raises:
        FieldError: If a column does not exist, or has too many values for groups.
        DataError: If a value is not a number, and the column has edges.
    """
    groups = {}
    for index, options in enumerate(columns):
        name = options.column
        source.require_column(name, ("evaluation", "groups", index))
        column = source.column(name).convert("number" if options.edges else None)
        problem = None
        if options.edges:
            if column.kind not in ("float", "integer"):
                problem = f"the column has values of the kind '{column.kind}', and edges divide numbers"
            else:
                groups[name] = group_numbers(column.values.astype(np.float64), options.edges)
        else:
            groups[name] = _group_values(column)
            if len(groups[name].names) > MAX_GROUPS or column.kind in ("float", "time"):
                problem = (
                    f"the column '{name}' has {len(groups[name].names)} different values of the kind "
                    f"'{column.kind}', expected at most {MAX_GROUPS} groups: set edges, as in {{column: "
                    f"{name}, edges: [30, 50]}}, or choose another column"
                )
        if problem is not None:
            raise FieldError(("evaluation", "groups", index), problem)
    return groups


def group_numbers(values: NDArray[np.float64], edges: Sequence[float]) -> Grouping:
    """Divide numbers by edges; each edge is the first number of the next group.

    >>> group_numbers(np.array([29.0, 30.0, np.nan]), [30.0, 50.0]).codes.tolist()
    [0, 1, 3]

    Args:
        values: ``[rows]``; NaN if missing.
        edges: The edges in ascending order.
    """
    texts = [f"{edge:g}" for edge in edges]
    names = [f"below {texts[0]}"]
    names += [f"{low} to below {high}" for low, high in pairwise(texts)]
    codes = np.searchsorted(edges, values, side="right")
    return _with_missing((*names, f"from {texts[-1]}"), codes, np.isnan(values))


def group_users(users: Array, train: Indices) -> Grouping:
    """Divide interactions by the number of training interactions of their user.

    Args:
        users: ``[rows]``, the user of each interaction.
        train: The numbers of the training rows, ``[training_rows]``.
    """
    _, user_of = np.unique(users, return_inverse=True)
    counts = np.bincount(user_of[train], minlength=int(user_of.max()) + 1)
    return group_numbers(counts[user_of].astype(np.float64), ACTIVITY_EDGES)


def _group_values(column: Column) -> Grouping:
    names, codes = np.unique(column.values.astype(str), return_inverse=True)
    texts = [name.lower() for name in names] if column.kind == "boolean" else list(names)
    return _with_missing(texts, codes, column.missing)


def _with_missing(names: Sequence[str], codes: Indices, missing: NDArray[np.bool_]) -> Grouping:
    """Return groups with one for missing values, if there are any."""
    if not missing.any():
        return Grouping(tuple(names), codes)
    return Grouping((*names, MISSING), np.where(missing, len(names), codes))
