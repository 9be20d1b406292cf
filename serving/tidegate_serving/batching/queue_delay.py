# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Queue delay: how long a request has waited in its socket, and how long it will wait in the queue.

A request waits in two places. It waits in its socket while the event loop is busy, which no queue shows:
``EventLoopLag`` measures that part. Then it waits until the engine has computed the batch on the thread and
all queued rows: ``QueueDelayEstimator`` estimates that part from measured service times. Neither decides:
``admission`` compares the delay with its bounds.
"""

from collections.abc import Callable

from tidegate_serving.batching.admission import ALWAYS_ADMITTED_QUEUE_DELAY, MAX_QUEUED_ROWS
from tidegate_serving.batching.service_time import ServiceTimeEstimator

OVERHEAD_BATCHES = 8
"""Batches over which the dispatch overhead is averaged, as an exponential moving average."""


class EventLoopLag:
    """Time that requests wait in their sockets for the event loop, from its last two iterations.

    Requests that an iteration reads arrived while the loop was busy before, and have waited since then. If
    the loop was idle in between, they have waited for that much less. The shorter one of the last two
    iterations counts, because one pause of the machine or one very large request is not an overload.
    """

    def __init__(self) -> None:
        self._started_at = self._ended_at = 0.0
        self._busy_seconds = self._previous_busy_seconds = 0.0
        self.earliest_arrival = 0.0
        """Earliest arrival of a request of this iteration at its socket, in the clock's seconds."""

    def start_iteration(self, now: float) -> None:
        """Record the time at which an iteration reads its first request."""
        idle_seconds = now - self._ended_at
        busy_seconds = min(self._busy_seconds, self._previous_busy_seconds)
        self.earliest_arrival = now - max(0.0, busy_seconds - idle_seconds)
        self._started_at = now

    def end_iteration(self, now: float) -> None:
        """Record the time at which an iteration has read all its requests."""
        self._previous_busy_seconds, self._busy_seconds = self._busy_seconds, now - self._started_at
        self._ended_at = now

    def add_busy_time(self, started_at: float, now: float) -> None:
        """Add work of the event loop after an iteration, such as the responses of a batch."""
        self._busy_seconds += now - started_at
        self._ended_at = now


class QueueDelayEstimator:
    """Estimated delay of one engine's queue, used from one event loop.

    Args:
        clock: Seconds of a monotonic clock.
        service_time: The engine's service times, which this estimator also records.
        max_queued_rows: Rows that may wait in the queue.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        service_time: ServiceTimeEstimator,
        max_queued_rows: int = MAX_QUEUED_ROWS,
    ) -> None:
        self.lag = EventLoopLag()
        self.always_admit_rows = 0
        """Rows that an idle engine is known to compute within ``ALWAYS_ADMITTED_QUEUE_DELAY``."""
        self._clock = clock
        self._service_time = service_time
        self._max_queued_rows = max_queued_rows
        self._busy_until = -float("inf")
        """Expected end of the batch on the engine's thread, in the clock's seconds."""
        self._typical_batch_rows = 0
        """Rows of a full batch, known once a batch has left rows in the queue; 0 before that."""
        self._dispatch_overhead = 0.0
        """Seconds that a batch on the thread takes in addition to its service time.

        Under load the event loop and the thread wait for each other to release the interpreter.
        """

    def queue_delay(self, now: float, queued_rows: int) -> float:
        """Return the seconds from a request's arrival at its socket until all rows before it are computed.

        Args:
            now: When the event loop reads the request, in the clock's seconds.
            queued_rows: Rows in the queue.
        """
        delay = max(now, self._busy_until) - self.lag.earliest_arrival
        if not self._typical_batch_rows:  # one batch has always emptied the queue
            return delay + self._service_time.queue_time(queued_rows)
        full_batches, rest = divmod(queued_rows, self._typical_batch_rows)
        batch_seconds = self._service_time.queue_time(self._typical_batch_rows) + self._dispatch_overhead
        return delay + full_batches * batch_seconds + self._service_time.queue_time(rest)

    def record_batch(self, rows: int, next_request_rows: int | None) -> None:
        """Record how many rows left the queue as one batch.

        Args:
            rows: Rows of the batch.
            next_request_rows: Rows of the first request that is still in the queue; None if the queue is
                empty.
        """
        if next_request_rows is not None:
            # The next request may be larger than the batch, and one engine call will compute it.
            self._typical_batch_rows = max(rows, next_request_rows)
        elif self._typical_batch_rows:
            self._typical_batch_rows = max(self._typical_batch_rows, rows)

    def start_batch(self, expected_seconds: float) -> float:
        """Record that the thread starts a batch with this expected service time.

        Returns:
            The time of the start, in the clock's seconds.
        """
        started_at = self._clock()
        self._busy_until = started_at + expected_seconds + self._dispatch_overhead
        return started_at

    def end_batch(self, started_at: float, service_seconds: float) -> float:
        """Record that the event loop has received the outputs of the thread's batch.

        Args:
            started_at: The time of the batch's start, from :meth:`start_batch`.
            service_seconds: Measured seconds of the engine call.

        Returns:
            The time of the end, in the clock's seconds.
        """
        ended_at = self._clock()
        self._busy_until = -float("inf")
        overhead = max(0.0, ended_at - started_at - service_seconds)
        self._dispatch_overhead += (overhead - self._dispatch_overhead) / OVERHEAD_BATCHES
        return ended_at

    def record_service_time(self, rows: int, seconds: float) -> None:
        """Learn from one engine call, on the event loop or on the thread."""
        self._service_time.record(rows, seconds)
        known_rows = self._service_time.rows_within(ALWAYS_ADMITTED_QUEUE_DELAY)
        self.always_admit_rows = min(self._max_queued_rows, known_rows)
