# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Histograms of latencies: percentiles with a stated error, in memory that does not grow with the requests.

The edges of the buckets grow geometrically, as in DDSketch (Masson, Rim and Lee, VLDB 2019), so each value
lies within one relative error of the middle of its bucket. The range is fixed, so all histograms have the
same buckets, and the sum of two is the histogram of all their values.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tidegate.stats import percentile

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MIN_MS = 1e-3
"""Smaller values count as this one, the resolution of the load generator's clock."""
MAX_MS = 1e7
"""Larger values count in the last bucket: almost three hours."""


@dataclass(frozen=True)
class Buckets:
    """Buckets from :data:`MIN_MS` to :data:`MAX_MS`.

    >>> buckets = Buckets(relative_error=0.01)
    >>> buckets.count, float(buckets.middles[buckets.indices(np.array([50.0]))[0]].round(1))
    (1152, 49.5)
    """

    relative_error: float
    """The largest relative difference between a value and the middle of its bucket."""

    @property
    def _growth(self) -> float:
        return log((1 + self.relative_error) / (1 - self.relative_error))

    @cached_property
    def count(self) -> int:
        """Number of buckets."""
        return ceil(log(MAX_MS / MIN_MS) / self._growth)

    @cached_property
    def edges(self) -> Floats:
        """The edges in milliseconds, ``[edges]``: one more than buckets."""
        return np.asarray(MIN_MS * np.exp(self._growth * np.arange(self.count + 1)))

    @cached_property
    def middles(self) -> Floats:
        """The values with the same relative difference from both edges, ``[buckets]``."""
        return 2 * self.edges[:-1] * self.edges[1:] / (self.edges[:-1] + self.edges[1:])

    def indices(self, values_ms: Floats) -> Counts:
        """Return the bucket of each value, ``[values]``."""
        positions = np.log(np.maximum(values_ms, MIN_MS) / MIN_MS) / self._growth
        return np.minimum(positions.astype(np.int64), self.count - 1)


BUCKETS = Buckets(relative_error=0.001)
"""The buckets of a summary's percentiles."""


class Histogram:
    """Counts of values in milliseconds, in :data:`BUCKETS`."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(BUCKETS.count, dtype=np.int64)
        self._max_ms: float | None = None

    def add(self, values_ms: Floats) -> None:
        """Count values in milliseconds, ``[values]``."""
        if len(values_ms):
            self.counts += np.bincount(BUCKETS.indices(values_ms), minlength=BUCKETS.count)
            self._max_ms = max(float(values_ms.max()), self._max_ms or 0.0)

    def __add__(self, other: "Histogram") -> Self:
        total = type(self)()
        total.counts = self.counts + other.counts
        total._max_ms = max((one for one in (self._max_ms, other._max_ms) if one is not None), default=None)
        return total

    @property
    def max_ms(self) -> float | None:
        """The exact largest value; None without values."""
        return self._max_ms

    def percentile(self, q: float) -> float | None:
        """Return a percentile with the relative error of :data:`BUCKETS`; None without values."""
        estimate = percentile(BUCKETS.middles, q, self.counts)
        return None if estimate is None or self._max_ms is None else min(estimate, self._max_ms)
