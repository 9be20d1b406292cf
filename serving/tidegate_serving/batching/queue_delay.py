# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Queue delay: how long a request has waited in its socket, and how long it will wait in the queue.

A request waits in two places. It waits in its socket while the event loop is busy, which no queue shows:
``EventLoopLag`` measures that part. Then it waits until the engine has computed the batch on the thread and
all queued rows: ``QueueDelayEstimator`` estimates that part from measured service times. Neither decides:
``admission`` compares the delay with its bounds.
"""

from collections.abc import Callable

from tidegate_serving.batching.service_time import ServiceTimeEstimator

AVERAGED_BATCHES = 8
"""Full batches over which their rows and their time are averaged."""

MAX_GROWTH = 4.0
"""Largest factor by which one batch may exceed the average, so that one stall hardly changes it."""

BACKLOG_BATCHES = 2
"""Full batches that wait in a backlog. The next batch may be larger than the average, but hardly twice."""


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


class _Average:
    """An exponential moving average over the last full batches; 0.0 before the first."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float) -> None:
        if self.value:
            self.value += (min(value, MAX_GROWTH * self.value) - self.value) / AVERAGED_BATCHES
        else:
            self.value = float(value)


class QueueDelayEstimator:
    """Estimated delay of one engine's queue, used from one event loop.

    Args:
        clock: Seconds of a monotonic clock.
        service_time: The engine's service times, which this estimator also records.
        short_delay: The queue delay in seconds that :attr:`short_delay_rows` keep.
    """

    def __init__(
        self, clock: Callable[[], float], service_time: ServiceTimeEstimator, short_delay: float
    ) -> None:
        self.lag = EventLoopLag()
        self.short_delay_rows = 0
        """Rows that an idle engine is known to compute within the short delay."""
        self._clock = clock
        self._service_time = service_time
        self._short_delay = short_delay
        self._busy_until = -float("inf")
        """Expected end of the batch on the engine's thread, in the clock's seconds."""
        self._full_batch_rows = _Average()
        """Rows of a full batch, known once a batch has left rows in the queue."""
        self._full_batch_seconds = _Average()
        """Average time from the start of a full batch to the start of the next batch.

        In addition to the service time, it has the time in which the event loop reads requests and writes
        responses, and in which the loop and the engine's thread wait for each other.
        """
        self._full_batch_started_at: float | None = None
        """Start of the last batch if that batch left rows in the queue, in the clock's seconds."""

    def queue_delay(self, now: float, queued_rows: int) -> float:
        """Return the seconds from a request's arrival at its socket until all rows before it are computed.

        Args:
            now: When the event loop reads the request, in the clock's seconds.
            queued_rows: Rows in the queue.
        """
        free_at = max(now, self._busy_until)
        if not self._full_batch_rows.value:  # one batch has always emptied the queue
            return free_at - self.lag.earliest_arrival + self._service_time.queue_time(queued_rows)
        batch_rows = round(self._full_batch_rows.value)
        full_batches, rest = divmod(queued_rows, batch_rows)
        batch_seconds = self._full_batch_seconds.value or self._service_time.queue_time(batch_rows)
        if self._full_batch_started_at is not None:
            free_at = max(free_at, self._full_batch_started_at + batch_seconds)
        delay = free_at - self.lag.earliest_arrival
        return delay + full_batches * batch_seconds + self._service_time.queue_time(rest)

    def is_backlog(self, queued_rows: int) -> bool:
        """Return whether the queue holds several full batches, so that later requests miss the next one.

        Args:
            queued_rows: Rows in the queue.
        """
        return 0 < BACKLOG_BATCHES * self._full_batch_rows.value < queued_rows

    def record_batch(self, now: float, rows: int, next_request_rows: int | None) -> None:
        """Record that a batch left the queue, before its engine call.

        Args:
            now: The time, in the clock's seconds.
            rows: Rows of the batch.
            next_request_rows: Rows of the next request if the batch was full without it; None if the batch
                emptied the queue, or if a larger one may run as soon as more service times are measured.
        """
        if self._full_batch_started_at is not None:
            self._full_batch_seconds.add(now - self._full_batch_started_at)
            self._full_batch_started_at = None
        if next_request_rows is not None:
            # The next request may be larger than the batch, and one engine call will compute it.
            self._full_batch_rows.add(max(rows, next_request_rows))
            self._full_batch_started_at = now
        elif rows > self._full_batch_rows.value:  # batches that were full are no longer
            self._full_batch_rows, self._full_batch_seconds = _Average(), _Average()

    def start_batch(self, expected_seconds: float) -> None:
        """Record that the thread starts a batch with this expected service time."""
        self._busy_until = self._clock() + expected_seconds

    def end_batch(self) -> float:
        """Record that the event loop has received the outputs of the thread's batch.

        Returns:
            The time of the end, in the clock's seconds.
        """
        self._busy_until = -float("inf")
        return self._clock()

    def record_service_time(self, rows: int, seconds: float) -> None:
        """Learn from one engine call, on the event loop or on the thread."""
        self._service_time.record(rows, seconds)
        self.short_delay_rows = self._service_time.rows_within(self._short_delay)
