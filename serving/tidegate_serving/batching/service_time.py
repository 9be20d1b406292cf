# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Service time: how long one engine call takes, by its number of rows.

The estimator learns from measured calls only. Batch sizes fall into classes, one per power of two. The
estimate of a class is the median of its last calls, so one slow call does not change it. The estimator knows
no queue and reads no clock.
"""

from collections import deque

SAMPLES_PER_CLASS = 9
"""Calls per size class. Five slower calls change the median, so the estimate follows the machine's speed."""

MIN_SAMPLES = 3
"""Calls of a size class before it has an estimate."""

MAX_EXTRAPOLATED_CLASSES = 2
"""Size classes above the largest measured one that still have an estimate."""


class ServiceTimeEstimator:
    """Engine time by batch size: the median of the last nine calls of each size class, in seconds."""

    def __init__(self) -> None:
        self._samples: dict[int, deque[float]] = {}
        self._medians: dict[int, float] = {}
        """By size class, which is the number of binary digits of the row count."""
        self._derived: dict[int, float | None] = {}
        """Estimates of size classes without a median. A new sample clears them."""

    def record(self, rows: int, seconds: float) -> None:
        """Add one engine call."""
        size_class = rows.bit_length()
        samples = self._samples.get(size_class)
        if samples is None:
            samples = self._samples[size_class] = deque(maxlen=SAMPLES_PER_CLASS)
        samples.append(seconds)
        if len(samples) >= MIN_SAMPLES:
            self._medians[size_class] = sorted(samples)[len(samples) // 2]
            self._derived.clear()

    def service_time(self, rows: int) -> float | None:
        """Return the expected seconds of one call with these rows, or None if too little is measured."""
        size_class = rows.bit_length()
        median = self._medians.get(size_class)
        if median is not None:
            return median
        if size_class not in self._derived:
            self._derived[size_class] = self._derive(size_class)
        return self._derived[size_class]

    def _derive(self, size_class: int) -> float | None:
        """Estimate a size class from its measured neighbours.

        Between two of them the estimate is linear, above all of them proportional to the rows, and below all
        of them equal to the smallest.
        """
        below = max((other for other in self._medians if other < size_class), default=None)
        above = min((other for other in self._medians if other > size_class), default=None)
        if above is None:
            if below is None or size_class - below > MAX_EXTRAPOLATED_CLASSES:
                return None
            return self._medians[below] * float(1 << (size_class - below))
        if below is None:
            return self._medians[above]
        position = ((1 << size_class) - (1 << below)) / ((1 << above) - (1 << below))
        return self._medians[below] + position * (self._medians[above] - self._medians[below])

    def queue_time(self, rows: int) -> float:
        """Return the expected seconds until this many queued rows are computed, rather too few than too many.

        Above the largest measured class the estimate follows the line through the two largest classes. With
        only one class the slope is unknown and taken as 0, because single rows do not show the time of a
        large batch.
        """
        *others, largest = sorted(self._medians) or [0]
        if not largest:
            return 0.0
        if rows.bit_length() <= largest:
            return self.service_time(rows) or 0.0
        if not others:
            return self._medians[largest]
        rise = self._medians[largest] - self._medians[others[-1]]
        slope = rise / (_middle(largest) - _middle(others[-1]))
        return self._medians[largest] + max(0.0, slope) * (rows - _middle(largest))

    def rows_within(self, seconds: float) -> int:
        """Return the largest row count with a measured service time of at most ``seconds``, or 0."""
        largest = 1
        for size_class, median in self._medians.items():
            if median <= seconds:
                largest = max(largest, 1 << size_class)
        return largest - 1

    @property
    def minimum(self) -> float:
        """The shortest measured service time of any size class, in seconds; 0.0 before there is one."""
        return min(self._medians.values(), default=0.0)


def _middle(size_class: int) -> float:
    """Return the middle of the row counts of a size class."""
    return 0.75 * (1 << size_class)
