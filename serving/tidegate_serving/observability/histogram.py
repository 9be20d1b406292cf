# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Histograms of plain numbers, for one event loop.

The histogram of prometheus_client takes a lock per observation, which one event loop does not need.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily

BUFFER_SIZE = 64
"""Values that a buffer adds to its histogram together, because one by one each costs more."""


class Histogram:
    """Counts of values by bucket, and their sum.

    Args:
        bounds: The buckets' upper bounds, ascending. One more bucket is above all of them.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return self._sum

    def add(self, value: float, times: int = 1) -> None:
        """Count a value once or several times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def add_descending(self, values: Sequence[float]) -> None:
        """Count one or more values, of which the first is the largest and the last the smallest.

        Usually all values are in one bucket, so two comparisons replace one per value.
        """
        bounds, counts = self._bounds, self._counts
        bucket = bisect_left(bounds, values[0])
        if bucket == bisect_left(bounds, values[-1]):
            counts[bucket] += len(values)
        else:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def expose(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add the counts, with these label values, to a family that Prometheus scrapes."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
        family.add_metric(labels, buckets, self._sum)


class BufferedHistogram:
    """A buffer in front of a histogram, with a count of its own.

    Several buffers may share one histogram: the histogram counts the values of all, ``count`` those of one
    buffer.

    Args:
        histogram: The histogram that receives the values, ``BUFFER_SIZE`` at a time.
    """

    __slots__ = ("_buffer", "_flushed", "_histogram")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._buffer: list[float] = []
        self._flushed = 0

    @property
    def count(self) -> int:
        """The number of values, including those that are still in the buffer."""
        return self._flushed + len(self._buffer)

    def add(self, value: float) -> None:
        """Count a value."""
        buffer = self._buffer
        buffer.append(value)
        if len(buffer) == BUFFER_SIZE:
            self.flush()

    def flush(self) -> None:
        """Move the buffered values to the histogram."""
        buffer = self._buffer
        if buffer:
            self._flushed += len(buffer)
            buffer.sort(reverse=True)
            self._histogram.add_descending(buffer)
            buffer.clear()
