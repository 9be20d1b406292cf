# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The agreement of simulated replicas with observed ones."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def largest_difference(simulated: Counts, observed: Counts, shift_seconds: int) -> int:
    """Return the largest difference in replicas that no shift in time explains.

    An observed number of replicas agrees with the simulation if it lies between the smallest and the largest
    simulated number within the shift, because syncs of a cluster have another phase.

    >>> largest_difference(np.array([1, 1, 3, 3, 3]), np.array([1, 1, 1, 3, 4]), shift_seconds=1)
    1

    Args:
        simulated: The simulated replicas, ``[seconds]``.
        observed: The observed replicas, ``[seconds]``.
        shift_seconds: The largest shift, in both directions.

    Returns:
        A number of replicas; 0 is full agreement.
    """
    padded = np.pad(simulated, shift_seconds, mode="edge")
    within = sliding_window_view(padded, 2 * shift_seconds + 1)
    above, below = observed - within.max(axis=1), within.min(axis=1) - observed
    return int(np.maximum(above, below).clip(min=0).max())
