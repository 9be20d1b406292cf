# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Service time: how long one engine call takes, by its number of rows.

The estimator learns from measured calls only. Batch sizes fall into classes, one per power of two. The
estimate of a class is the mean of its last calls without the slowest, so one stall does not change it. A
median would be too low in a container with a CPU limit, where some calls wait for the next quota period. The
estimator knows no queue and reads no clock.
"""

from collections import deque

SAMPLES_PER_CLASS = 9
"""Calls per size class, few enough that the estimate follows the machine's speed."""

MIN_SAMPLES = 3
"""Calls of a size class before it has an estimate."""

MAX_EXTRAPOLATED_CLASSES = 2
"""Size classes above the largest measured one that still have an estimate."""


class ServiceTimeEstimator:
    """Engine time by batch size: a trimmed mean of the last nine calls of each size class, in seconds."""

    def __init__(self) -> None:
        self._samples: dict[int, deque[tuple[float, int]]] = {}
        """Seconds and rows of the last calls by size class, the number of binary digits of the row count."""
        self._means: dict[int, float] = {}
        """Mean seconds by size class, of the calls without the slowest."""
        self._rows: dict[int, float] = {}
        """Mean rows of the same calls, as far as they were read since the last one of their class."""
        self._line: tuple[float, float, float] | None = None
        """Rows and seconds of the largest class, and the seconds per further row; None after a record."""

        self._requested: set[int] = set()
        """The size classes of calls for requests."""
        self.minimum = 0.0
        """The shortest measured service time of these classes, in seconds; 0.0 before there is one."""

    def record(self, rows: int, seconds: float) -> None:
        """Add one engine call for requests."""
        self._requested.add(rows.bit_length())
        self._record(rows, seconds, MIN_SAMPLES)
        # Here and not when it is read, because each rejection reads it.
        self.minimum = min(
            (mean for size_class, mean in self._means.items() if size_class in self._requested), default=0.0
        )

    def record_warmup(self, rows: int, seconds: float) -> None:
        """Add one engine call before the first request. It counts at once: there may be no second one."""
        self._record(rows, seconds, 1)

    def _record(self, rows: int, seconds: float, min_samples: int) -> None:
        size_class = rows.bit_length()
        samples = self._samples.get(size_class)
        if samples is None:
            samples = self._samples[size_class] = deque(maxlen=SAMPLES_PER_CLASS)
        samples.append((seconds, rows))
        if len(samples) >= min_samples:
            # Only the means of the seconds, because this runs after each engine call.
            kept = sorted(samples)[:-1] or samples
            total = 0.0
            for kept_seconds, _ in kept:
                total += kept_seconds
            self._means[size_class] = total / len(kept)
            self._rows.pop(size_class, None)
            self._line = None

    def service_time(self, rows: int) -> float | None:
        """Return the expected seconds of one call with these rows, or None if too little is measured."""
        mean = self._means.get(rows.bit_length())
        return self._derive(rows) if mean is None else mean

    def row_time(self, rows: int) -> float | None:
        """Return the expected seconds per row of calls of about this size, or None if too little is measured.

        Within a size class it is one value, so that two sizes compare by what their calls took and not by
        their place in the class.
        """
        size_class = rows.bit_length()
        if size_class in self._means:
            return self._means[size_class] / self._mean_rows(size_class)
        seconds = self._derive(rows)
        return None if seconds is None else seconds / rows

    def queue_time(self, rows: int) -> float:
        """Return the expected seconds until this many queued rows are computed, rather too few than too many.

        With only one measured class the slope is unknown and taken as 0, because single rows do not show the
        time of a large batch.
        """
        largest = max(self._means, default=0)
        if not (rows and largest):
            return 0.0
        if rows.bit_length() <= largest:
            return self.service_time(rows) or 0.0
        return self._extrapolate(rows)

    def rows_within(self, seconds: float) -> int:
        """Return the largest row count with a measured service time of at most ``seconds``, or 0."""
        largest = 1
        for size_class, mean in self._means.items():
            if mean <= seconds:
                largest = max(largest, 1 << size_class)
        return largest - 1

    @property
    def has_slope(self) -> bool:
        """Whether two size classes are measured, so that the time of larger batches can be estimated."""
        return len(self._means) > 1

    def _derive(self, rows: int) -> float | None:
        """Estimate the time of rows whose size class is not measured.

        Between two measured classes the estimate is linear, and below all of them equal to the smallest.
        Above all of them it follows their slope; with one class it is proportional to the rows.
        """
        size_class = rows.bit_length()
        below = max((other for other in self._means if other < size_class), default=None)
        above = min((other for other in self._means if other > size_class), default=None)
        if above is None:
            if below is None or size_class - below > MAX_EXTRAPOLATED_CLASSES:
                return None
            if self.has_slope:
                return self._extrapolate(rows)
            return self._means[below] * rows / self._mean_rows(below)
        if below is None:
            return self._means[above]
        rows_below, rows_above = self._mean_rows(below), self._mean_rows(above)
        position = (rows - rows_below) / (rows_above - rows_below)
        return self._means[below] + position * (self._means[above] - self._means[below])

    def _extrapolate(self, rows: float) -> float:
        """Estimate the time of more rows than the largest class has."""
        if self._line is None:
            self._line = self._fit_line()
        largest_rows, largest_seconds, slope = self._line
        return largest_seconds + slope * (rows - largest_rows)

    def _fit_line(self) -> tuple[float, float, float]:
        """Return the rows and the seconds of the largest class, and the least-squares slope of all classes.

        The largest classes decide the slope. The two largest alone would not do, because their rows may be
        almost the same. With one class the slope is 0.0, and it is never negative.
        """
        largest = max(self._means)
        class_rows = {key: self._mean_rows(key) for key in self._means}
        slope = 0.0
        if self.has_slope:
            mean_rows = sum(class_rows.values()) / len(class_rows)
            mean_seconds = sum(self._means.values()) / len(class_rows)
            deviations = {key: rows - mean_rows for key, rows in class_rows.items()}
            covariance = sum(
                deviation * (self._means[key] - mean_seconds) for key, deviation in deviations.items()
            )
            slope = max(0.0, covariance / sum(deviation**2 for deviation in deviations.values()))
        return class_rows[largest], self._means[largest], slope

    def _mean_rows(self, size_class: int) -> float:
        """Return the mean rows of the calls of :attr:`_means`."""
        mean_rows = self._rows.get(size_class)
        if mean_rows is None:  # read for each request of a long queue, and computed once per engine call
            samples = self._samples[size_class]
            kept = sorted(samples)[:-1] or samples
            mean_rows = self._rows[size_class] = sum(rows for _, rows in kept) / len(kept)
        return mean_rows
