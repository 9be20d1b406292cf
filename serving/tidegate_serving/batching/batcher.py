# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The batcher: a queue of requests in front of one engine.

All requests of one event-loop iteration form one batch, so no request waits for a timer or for a batch to
fill. A batch with a known, short service time runs on the event loop. Any other batch runs on one thread, so
that the event loop stays free for health probes; requests that arrive meanwhile form the next batch. So
batches grow with the load.

The batcher queues, dispatches and resolves. ``queue_delay`` estimates how long a request would wait,
``admission`` decides whether that is too long, and ``runner`` computes a batch.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from tidegate.batch import Batch
from tidegate_serving.batching.admission import AdmissionController, deadline_exceeded
from tidegate_serving.batching.engine_thread import EngineThread
from tidegate_serving.batching.pending import PendingRequest, is_awaited
from tidegate_serving.batching.queue_delay import QueueDelayEstimator
from tidegate_serving.batching.runner import Outcome, Validate, run_batch
from tidegate_serving.batching.service_time import ServiceTimeEstimator
from tidegate_serving.batching.shadow import ShadowLane
from tidegate_serving.engines.base import Engine, Outputs
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.observability.metrics import Metrics

MAX_BATCH_ROWS = 8_192
"""Most rows of a batch of several requests. Beyond it a larger batch hardly saves time per row."""

MAX_BATCH_SECONDS = 0.05
"""Longest expected service time of a batch that saves little time, in seconds; the next one waits for it."""

MAX_BATCH_SHARE = 0.7
"""Largest service time of a longer batch, as a share of the time that its requests take one by one."""

MAX_BATCH_CALLS = 10
"""Longest expected service time of any batch of several requests, in shortest calls.

If a call takes ``a + b * rows``, a batch that takes ten times ``a`` has nine tenths of the highest
throughput.
"""

MAX_WAIT_SHARE = 0.25
"""Longest expected service time of a batch whose first request has waited long, as a share of its wait.

The shortest calls may be from a time without load, when none of them waited for the CPU. With their limit
alone the batches of an overloaded server would stay too small to empty its queue.
"""

EXPLORED_BATCHES = 4
"""One in so many full batches is larger than its estimate allows, to measure the estimate again."""

Resolve = Callable[[Sequence[PendingRequest], int, Sequence[Outcome], float], None]
"""Deliver the outcomes of a batch, given its requests, its rows and its service time."""

MAX_INLINE_SECONDS = 0.001
"""Longest expected service time of a batch that runs on the event loop, in seconds.

A health probe or the parsing of a large body blocks the event loop for as long.
"""

MAX_ENGINE_WAIT = 0.03
"""Longest time for which the event loop waits for the engine's thread, in seconds.

With a backlog, no request that is read now is in the next batch. The event loop then reads requests in
groups. Otherwise nearly each request of an overload would wake it, and it would take the CPU, its caches and
Python's lock from the engine as often. Each event-loop iteration may last as long, and a probe takes several.
"""


class Batcher:
    """One engine's queue, used from one event loop, with the lane of mirrored requests behind it.

    Args:
        engine: The engine that computes batches.
        validate: The function that makes one validated batch of several requests' inputs.
        metrics: The counters of this server.
        service_time: The engine's service times, if some are already measured.
        admission: The bounds on the queue.
        max_batch_rows: Most rows of a batch of several requests. A single request may have more.
        on_result: Called on the event loop with the batch and the outputs of each engine call.
        thread: The engine's thread.
        clock: Seconds of a monotonic clock, the one of ``PendingRequest.enqueued_at``.
    """

    def __init__(
        self,
        engine: Engine,
        validate: Validate,
        metrics: Metrics,
        service_time: ServiceTimeEstimator | None = None,
        *,
        admission: AdmissionController | None = None,
        max_batch_rows: int = MAX_BATCH_ROWS,
        on_result: Callable[[Batch, Outputs], object] = lambda batch, outputs: None,
        thread: EngineThread | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._on_result = on_result
        # The engine
        self._run = partial(run_batch, engine, validate=validate)
        self._selects_outputs = engine.selects_outputs
        self._thread = thread or EngineThread()
        # The decisions
        self._service_time = service_time or ServiceTimeEstimator()
        self._admission = admission or AdmissionController()
        self.rejection_seconds = self._admission.rejection_seconds
        """Seconds for which a transport holds the response to a request that was rejected as overload."""
        self._short_delay = self._admission.always_admitted_delay
        self._delay = QueueDelayEstimator(clock, self._service_time, self._short_delay)
        self._always_admitted_rows = 0
        """Queued rows that are accepted without an estimate while the engine is idle."""
        self._max_batch_rows = max_batch_rows
        self._full_batches = 0
        """Batches that left requests in the queue."""
        # The queue
        self._queue: deque[PendingRequest] = deque()
        self.queued_rows = 0
        """Rows that wait in the queue."""
        self._flush_scheduled = False
        self._accepted = False
        """Whether the event loop has accepted connections since the last flush."""
        self._collecting_since = 0.0
        """When the first request of the next batch arrived, in the clock's seconds."""
        self.shadow = ShadowLane(self, clock)
        """The queue of mirrored requests."""
        metrics.queued_rows = lambda: self.queued_rows

    def submit(self, request: PendingRequest) -> None:
        """Enqueue a request. Its outcome follows later, never within this call.

        Raises:
            RequestError: If the request would wait longer than the server allows or than its client waits.
        """
        rows = request.rows
        if not self._flush_scheduled:
            self.schedule_flush(request.enqueued_at)
        queued, deadline = self.queued_rows, request.deadline
        if self._thread.busy or queued + rows > self._always_admitted_rows:
            may_wait = queued or deadline is not None
        else:  # an idle engine computes the queue and this request within the short delay
            may_wait = deadline is not None and deadline - request.enqueued_at < self._short_delay
        if may_wait:
            self._admit(request, rows)
        self._queue.append(request)
        self.queued_rows += rows

    def reject_if_overloaded(self, now: float) -> None:
        """Reject a request before its body is parsed, if the requests before it already wait too long.

        Parsing costs more than the engine call for many bodies. A server that parses the requests that it
        rejects has little time left for others at twice its capacity.

        Args:
            now: When the server has received the request, in seconds of the batcher's clock.

        Raises:
            RequestError: If the request would wait longer than the server allows.
        """
        if not self._flush_scheduled:
            self.schedule_flush(now)
        queued, delay = self.queued_rows, self._delay
        late = now - delay.lag.earliest_arrival > self._short_delay
        if not (late or queued > self._always_admitted_rows or (queued and self._thread.busy)):
            return
        if queued and not self._thread.busy and now - self._collecting_since > self._short_delay:
            # With very many clients an iteration is long, and its first requests must not wait for its end.
            self._collecting_since = now
            self._start_batch()
        queued = self.queued_rows
        self._admission.reject_if_overloaded(
            delay.queue_delay(now, queued), self._service_time.minimum, queued
        )

    def note_connection(self) -> None:
        """Do not wait for the engine in this iteration, because more connections may wait to be accepted.

        An iteration accepts only a few, and no estimate of the queue delay has those that wait.
        """
        self._accepted = True

    def close(self) -> None:
        """Stop the thread after its current batch."""
        self._thread.close()

    @property
    def users_wait(self) -> bool:
        """Whether requests in the queue wait for more than the next batch."""
        return self.queued_rows > (0 if self._thread.busy else self._always_admitted_rows)

    @property
    def min_service_time(self) -> float:
        """The seconds of the shortest engine call."""
        return self._service_time.minimum

    def queue_delay(self, now: float, rows: int) -> float:
        """Return the seconds until the engine has computed the queue and these rows, from their arrival.

        Args:
            now: When the server has received them, in seconds of the batcher's clock.
            rows: Rows behind the queue.
        """
        return self._delay.queue_delay(now, self.queued_rows + rows)

    def _admit(self, request: PendingRequest, rows: int) -> None:
        now, queued = request.enqueued_at, self.queued_rows
        queue_delay = self._delay.queue_delay(now, queued)
        if queued:  # an empty queue admits a request of any size
            self._admission.reject_if_overloaded(queue_delay, self._service_time.minimum, queued + rows)
        if request.deadline is not None:
            service_time = self._service_time.service_time(rows) or 0.0
            computed_at = self._delay.lag.earliest_arrival + queue_delay + service_time
            if computed_at > request.deadline:
                raise deadline_exceeded(computed_at - request.deadline)

    def schedule_flush(self, now: float) -> None:
        """Start the next batch after this event-loop iteration."""
        if self._flush_scheduled:
            return
        self._flush_scheduled = True
        self._collecting_since = now
        self._delay.lag.start_iteration(now)
        # After all callbacks of this iteration, so that its requests form one batch.
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._metrics.record_iteration(self._clock() - self._delay.lag.earliest_arrival)
        if not self._thread.busy:
            self._start_batch()
        if self.shadow.queued_rows and not (self._thread.busy or self._queue):
            self._dispatch(*self.shadow.pop_batch(), self._resolve_shadow)
        accepted, self._accepted = self._accepted, False
        waits = self._thread.busy and not accepted and self._delay.is_backlog(self.queued_rows)
        if waits:
            self._thread.wait(MAX_ENGINE_WAIT)
        now = self._clock()
        self._delay.lag.end_iteration(now)
        if waits:
            self._thread.deliver()
        if (self._queue or self.shadow.queued_rows) and not self._thread.busy:
            self.schedule_flush(now)

    def _start_batch(self) -> None:
        """Compute the next batch of users' requests on the event loop, or start it on the thread."""
        self._dispatch(*self._pop_batch(), self._resolve)

    def _dispatch(self, requests: Sequence[PendingRequest], rows: int, resolve: Resolve) -> None:
        if not requests:
            return
        expected_seconds = self._service_time.service_time(rows)
        if expected_seconds is not None and expected_seconds <= MAX_INLINE_SECONDS:
            resolve(requests, rows, *self._compute(requests))
            return
        self._delay.start_batch(expected_seconds or 0.0)
        self._thread.run(partial(self._compute, requests), partial(self._end_batch, requests, rows, resolve))

    def _pop_batch(self) -> tuple[list[PendingRequest], int]:
        """Pop the next batch in FIFO order.

        Drop requests whose client disconnected or whose deadline has passed.

        Returns:
            The requests and the sum of their rows.
        """
        batch: list[PendingRequest] = []
        waits: list[float] = []
        rows, now = 0, self._clock()
        separate_seconds = 0.0
        max_rows = 0
        all_fit = self.fits(self.queued_rows)  # one test for all requests, because they usually fit
        while self._queue:
            request = self._queue[0]
            request_rows = request.rows
            if not all_fit:
                separate_seconds += self._service_time.service_time(request_rows) or 0.0
                if batch and not self.fits(rows + request_rows, separate_seconds):
                    max_rows = max_rows or self._max_overload_rows(rows, waits[0])
                    if rows + request_rows > max_rows:
                        break
            self._queue.popleft()
            self.queued_rows -= request_rows
            if is_awaited(request, now):
                waits.append(now - request.enqueued_at)
                batch.append(request)
                rows += request_rows
        next_rows = self._queue[0].rows if self._queue else 0
        full = next_rows and self._is_known(rows + next_rows)
        self._delay.record_batch(now, rows, next_rows if full else None)
        if batch:
            self._metrics.record_batch(rows, waits)
        return batch, rows

    def _max_overload_rows(self, rows: int, waited_seconds: float) -> int:
        """Return the most rows of a batch that fits with these and leaves requests in the queue.

        They are more if the larger batch saves time compared with several batches of ``rows``, and takes a
        share of the time for which its first request has waited: then the wait grows little, and the queue
        becomes shorter.

        Sometimes they are twice as many in any case. A few calls that waited for the CPU can make larger
        batches look slow. No batch of that size would run again, and the estimate would stay wrong for as
        long as the overload lasts.

        Args:
            rows: Rows of the batch so far.
            waited_seconds: Time for which its first request has waited.
        """
        self._full_batches += 1
        explored = rows if self._full_batches % EXPLORED_BATCHES else min(2 * rows, self._max_batch_rows)
        row_seconds = self._service_time.row_time(rows) or 0.0
        larger = min(rows + self.queued_rows, self._max_batch_rows)
        while larger > explored:
            limit = min(MAX_WAIT_SHARE * waited_seconds / larger, MAX_BATCH_SHARE * row_seconds)
            expected_seconds = self._service_time.row_time(larger)
            if expected_seconds is not None and expected_seconds <= limit:
                return larger
            larger //= 2
        return explored

    def fits(self, rows: int, separate_seconds: float = 0.0) -> bool:
        """Return whether several requests may form one batch.

        A batch may be long only if it saves time: otherwise its first requests would wait for the others.

        Args:
            rows: Rows of all the requests.
            separate_seconds: Expected service time of the requests, each in a batch of its own.
        """
        if rows > self._max_batch_rows:
            return False
        expected_seconds = self._service_time.service_time(rows)
        if expected_seconds is None:  # an engine without measurements computes its first requests one by one
            return False
        # Two of the slowest calls always fit, or the estimator would never measure that batching saves time.
        call = self._service_time.minimum
        saving = min(MAX_BATCH_SHARE * separate_seconds, MAX_BATCH_CALLS * call)
        limit = max(MAX_BATCH_SECONDS, 2 * call, saving)
        return expected_seconds <= limit

    def _is_known(self, rows: int) -> bool:
        """Return whether more measurements cannot change whether a batch may have this many rows."""
        service_time = self._service_time
        return rows > self._max_batch_rows or (
            service_time.has_slope and service_time.service_time(rows) is not None
        )

    def _compute(self, requests: Sequence[PendingRequest]) -> tuple[list[Outcome], float]:
        """Run one batch, on the event loop or on the thread, never on both at a time.

        Returns:
            One outcome per request, and the service time in seconds.
        """
        started_at = self._clock()
        output_names = None
        if self._selects_outputs:
            output_names = frozenset(output.name for request in requests for output in request.outputs)
        outcomes = self._run([request.inputs for request in requests], output_names=output_names)
        return outcomes, self._clock() - started_at

    def _end_batch(
        self,
        requests: Sequence[PendingRequest],
        rows: int,
        resolve: Resolve,
        computed: tuple[list[Outcome], float],
    ) -> None:
        outcomes, service_seconds = computed
        ended_at = self._delay.end_batch()
        resolve(requests, rows, outcomes, service_seconds)
        now = self._clock()
        self._delay.lag.add_busy_time(ended_at, now)
        if self._delay.is_backlog(self.queued_rows):
            self._start_batch()  # before the event loop reads more: the engine computes meanwhile
        if self._queue or self.shadow.queued_rows:
            self.schedule_flush(now)

    def _resolve(
        self, requests: Sequence[PendingRequest], rows: int, outcomes: Sequence[Outcome], seconds: float
    ) -> None:
        self._record_service_time(rows, seconds)
        started_at = self._clock()
        result: BatchResult | None = None
        for request, outcome in zip(requests, outcomes, strict=True):
            # Usually all outcomes are slices of one result.
            if isinstance(outcome, ResultSlice) and outcome.result is not result:
                result = outcome.result
                self._on_result(result.batch, result.outputs)
            if not request.cancelled:
                request.resolve(outcome)
        ended_at = self._clock()
        predict_seconds = sum(started_at - request.enqueued_at for request in requests)
        self._metrics.record_stage("predict", predict_seconds, len(requests))
        self._metrics.record_stage("postprocess", ended_at - started_at, len(requests))

    def _resolve_shadow(
        self, requests: Sequence[PendingRequest], rows: int, outcomes: Sequence[Outcome], seconds: float
    ) -> None:
        """Deliver the outcomes of mirrored requests, which count for the engine and not for users."""
        self._record_service_time(rows, seconds)
        self._metrics.record_shadow_batch(rows)
        for request, outcome in zip(requests, outcomes, strict=True):
            if not request.cancelled:
                request.resolve(outcome)

    def _record_service_time(self, rows: int, seconds: float) -> None:
        self._delay.record_service_time(rows, seconds)
        self._always_admitted_rows = min(self._admission.max_queued_rows, self._delay.short_delay_rows)
        self._metrics.record_service_time(seconds)
