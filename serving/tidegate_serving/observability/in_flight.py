# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Requests in flight: how many requests have no response yet, as an average over time.

An event-loop iteration may read, compute and send its responses, and a scrape runs in a later iteration. The
number of requests at the moment of a scrape is therefore nearly always 0 for a compiled model, at any rate.
Autoscalers need the average, which Little's law equates with rate times duration.

The average is exact from sums: ``S(t)``, the durations of all requests up to now, is the integral of the
number of requests in flight. Its increase over a window, divided by the window, is the average.
"""

from collections import deque
from itertools import pairwise

WINDOW_SECONDS = 15.0
"""The duration of the average, in seconds: Kubernetes' autoscaler decides as often."""

RESOLUTION_SECONDS = 0.25
"""Least time between two samples of the sum, in seconds.

Between two samples the sum is interpolated. The error of the average is below the peak in flight times this
duration divided by the window.
"""


class RequestsInFlight:
    """The number of requests in flight, and its average over the last ``WINDOW_SECONDS``.

    Times are seconds of one monotonic clock, and never decrease from call to call.

    Args:
        now: The time from which on requests are counted. Before it, none are in flight.
    """

    __slots__ = ("_ended", "_offset", "_sample_at", "_samples", "started")

    def __init__(self, now: float) -> None:
        self.started = 0
        """Requests since the start of the server."""
        self._ended = 0
        self._offset = 0.0
        """The ends of requests minus their starts: S(t) without the term that grows with t."""
        self._samples: deque[tuple[float, float]] = deque([(now, 0.0)])
        """Times and sums of the window, and the last ones before it."""
        self._sample_at = now + RESOLUTION_SECONDS

    @property
    def count(self) -> int:
        """Requests without a response yet."""
        return self.started - self._ended

    def start(self, now: float) -> None:
        """Count the start of a request."""
        if now >= self._sample_at:
            self._sample(now)
        self.started += 1
        self._offset -= now

    def end(self, now: float) -> None:
        """Count the end of a request."""
        if now >= self._sample_at:
            self._sample(now)
        self._ended += 1
        self._offset += now

    def average(self, now: float) -> float:
        """Return the average number of requests in flight over the last ``WINDOW_SECONDS``."""
        start, total = now - WINDOW_SECONDS, self._sum(now)
        if start <= self._samples[0][0]:
            return total / WINDOW_SECONDS
        for (left, left_sum), (right, right_sum) in pairwise([*self._samples, (now, total)]):
            if left <= start < right:
                before = left_sum + (right_sum - left_sum) * (start - left) / (right - left)
                return max(0.0, total - before) / WINDOW_SECONDS
        return 0.0

    def _sum(self, now: float) -> float:
        return self._offset + self.count * now

    def _sample(self, now: float) -> None:
        samples = self._samples
        samples.append((now, self._sum(now)))
        while samples[1][0] <= now - WINDOW_SECONDS:
            samples.popleft()
        self._sample_at = now + RESOLUTION_SECONDS
