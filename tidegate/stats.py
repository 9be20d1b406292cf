# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics: the project's one definition of a percentile."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray


def percentile(
    values: Sequence[float] | NDArray[np.float64], q: float, counts: NDArray[np.integer[Any]] | None = None
) -> float | None:
    """Return a percentile by nearest rank, the inverse of the cumulative distribution.

    It is the smallest value that at least q percent of the values do not exceed. Each percentile of latencies
    is therefore the latency of one real request.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    >>> percentile([1.0, 2.0, 3.0], 50, counts=np.array([1, 1, 7]))
    3.0

    Args:
        values: The values in any order, ``[values]``.
        q: From 0 to 100.
        counts: How many times each value counts, ``[values]``; by default once.

    Returns:
        One of the values; None if there are none.
    """
    array = np.asarray(values, np.float64)
    total = len(array) if counts is None else int(counts.sum())
    if not total:
        return None
    # q * total / 100 is a whole number for many totals, and its float may be a little larger.
    rank = max(1, ceil(q * total / 100 * (1 - 1e-12)))
    if counts is None:
        return float(np.partition(array, rank - 1)[rank - 1])
    order = np.argsort(array)
    return float(array[order][np.searchsorted(np.cumsum(counts[order]), rank)])
