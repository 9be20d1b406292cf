# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tallies: histograms of plain integers, as cheap as counting can be in Python.

prometheus_client's own cost a microsecond and more an observation, for locks that one event loop does not
need.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily


class Histogram:
    """Counts values by bucket.

    Args:
        bounds: The buckets' upper bounds, ascending; one more is above all of them.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, or several of them."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def add_descending(self, values: Sequence[float]) -> None:
        """Count values that begin with the largest and end with the smallest, mostly all of one bucket."""
        bounds, counts = self._bounds, self._counts
        bucket = bisect_left(bounds, values[0])
        if bucket == bisect_left(bounds, values[-1]):
            counts[bucket] += len(values)
        else:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def expose(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add what was counted to a family of Prometheus' metrics."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
        family.add_metric(labels, buckets, self._sum)
