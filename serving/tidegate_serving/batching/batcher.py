# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The batcher: gathers what arrives together, admits what can be answered in time, and has it computed.

All requests that one turn of the event loop brings are one batch: nobody waits for a timer, and one client
alone waits for nothing. A batch whose cost is known and small is computed at once, on the loop; any other on
one thread, so that the loop stays free for health probes, and what arrives meanwhile is the next batch. So
batches grow with the load.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from tidegate.batch import Batch
from tidegate.contract import Output
from tidegate_serving.batching.admission import OVERLOAD_SECONDS, AdmissionController, EventLoopLag
from tidegate_serving.batching.runner import Check, run_batch
from tidegate_serving.batching.service_time import ServiceTimeEstimator
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.engines.base import Engine, Outputs
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import Metrics

QUEUED_ROWS = 100_000
"""A guard of memory: as many rows of thirty features are 24 MB."""

BATCH_ROWS = 8_192
"""A forest of 100 trees in scikit-learn takes 4.1 ms a call and 0.8 µs a row: so many take twice the time of
1,024."""

BATCH_SECONDS = 0.05
"""How long a batch of several requests may take: who comes next waits so long at most."""

LOOP_SECONDS = 0.001
"""What the loop may compute itself: no more than a probe or a large body costs it anyway."""

Outcome = ResultSlice | RequestError
"""An answer, or the reason why there is none."""

_REMEMBERED = 8
"""Batches: over so many the hand-over to the thread is averaged."""

_EASE_SECONDS = OVERLOAD_SECONDS / 2
"""A wait in which nobody is ever refused, so that nobody need ask how long it is: 8 % of a request's cost."""

logger = logging.getLogger("tidegate.serving")


class PendingRequest(Protocol):
    """A request, from when it is read to when it is answered."""

    inputs: Inputs
    rows: int
    """How many rows the part has."""
    outputs: tuple[Output, ...]
    """The outputs that it is to be answered with."""
    enqueued_at: float
    """Since when it waits, by ``time.perf_counter``."""
    deadline: float | None
    """Until when the client waits, by the same clock."""
    cancelled: bool
    """Whether the client has gone, and nothing need be computed."""

    def resolve(self, outcome: Outcome) -> None:
        """Take the answer, or the reason why there is none. It must not raise."""


class Batcher:
    """One engine's queue, used from one event loop.

    Args:
        engine: What computes.
        check: What makes a batch of requests' rows.
        metrics: What counts.
        cost: What is known of the engine's speed.
        queued_rows: How many rows may wait.
        batch_rows: How many rows may be computed together; one request alone may be larger.
        seen: Called with the rows and answers of each call of the engine, on the loop.
        start_thread: Called first on the thread.
    """

    def __init__(
        self,
        engine: Engine,
        check: Check,
        metrics: Metrics,
        cost: ServiceTimeEstimator | None = None,
        *,
        queued_rows: int = QUEUED_ROWS,
        batch_rows: int = BATCH_ROWS,
        seen: Callable[[Batch, Outputs], object] = lambda batch, answers: None,
        start_thread: Callable[[], object] = lambda: None,
    ) -> None:
        self._run = partial(run_batch, engine, check=check)
        self._selects = engine.selects_outputs
        self._metrics = metrics
        self._cost = cost or ServiceTimeEstimator()
        self._queued_rows = queued_rows
        self._batch_rows = batch_rows
        self._waiting: deque[PendingRequest] = deque()
        self.rows = 0
        """How many rows wait."""
        self._at_ease = 0
        """How many rows the idle engine is known to compute with ease."""
        self._admission = AdmissionController()
        self._lag = EventLoopLag()
        self._scheduled = False
        self._gathering_since = 0.0
        """Since when the next batch is gathered."""
        self._busy = False
        self._free_at = 0.0
        """When the thread is expected to be done."""
        self._full = 0
        """How many rows go together at least, where not all did that waited; 0 if they always did."""
        self._hand_over = 0.0
        """What a batch on the thread takes beyond its computing, in seconds: under load each side waits for
        the other to let it run."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine", initializer=start_thread)
        self._seen = seen
        metrics.queued_rows = lambda: self.rows

    def submit(self, job: PendingRequest) -> None:
        """Take a request; its answer is delivered later, never from within this call.

        Raises:
            RequestError: It would have to wait too long, for us or for its client.
        """
        rows = job.rows
        if not self._scheduled:
            self._schedule(job.enqueued_at)
        waiting = self.rows
        if job.deadline is not None or (waiting and (self._busy or waiting + rows > self._at_ease)):
            self._admit(job, rows)
        self._waiting.append(job)
        self.rows += rows

    def reject_if_overloaded(self, now: float) -> None:
        """Refuse a request before it is even read, when what is before it already takes too long.

        Reading a hundred rows of JSON costs more than computing them: a server that reads what it refuses
        has under twice its capacity only half of it left for answers.

        Args:
            now: By ``time.perf_counter``.

        Raises:
            RequestError: It would have to wait too long.
        """
        if not self._scheduled:
            self._schedule(now)
        waiting, late = self.rows, now - self._lag.since > _EASE_SECONDS
        if not (late or waiting > self._at_ease or (waiting and self._busy)):
            return
        if waiting and not self._busy and now - self._gathering_since > _EASE_SECONDS:
            # With very many clients a turn may last, and what it has brought must not wait for its end.
            self._gathering_since = now
            self._next()
        self._check_wait(now, self._wait(now))

    def close(self) -> None:
        """End the thread, after what it computes now."""
        self._thread.shutdown()

    def _admit(self, job: PendingRequest, rows: int) -> None:
        wait = self._wait(job.enqueued_at)
        if self.rows:  # one that finds the queue empty is as large as it is
            self._check_wait(job.enqueued_at, wait, rows)
        done = job.enqueued_at + wait + (self._cost.seconds(rows) or 0.0)
        if job.deadline is not None and done > job.deadline:
            raise _too_late("it would be answered")

    def _wait(self, now: float) -> float:
        """Seconds until all that waits now is computed."""
        busy = max(0.0, self._free_at - now) if self._busy else 0.0
        if not self._full:  # all that ever waited was one batch
            return busy + self._cost.drain(self.rows)
        full, rest = divmod(self.rows, self._full)
        return busy + full * (self._cost.drain(self._full) + self._hand_over) + self._cost.drain(rest)

    def _check_wait(self, now: float, wait: float, rows: int = 0) -> None:
        if self.rows + rows > self._queued_rows:
            raise RequestError(
                f"The server is busy: {self.rows} rows wait, and {rows} more would be too many: expected at "
                f"most {self._queued_rows}; ask again in a second.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )
        self._admission.check(now, now - self._lag.since + wait, self._cost.smallest)

    def _schedule(self, now: float) -> None:
        self._scheduled = True
        self._gathering_since = now
        self._lag.begin(now)
        # After all that this turn of the loop has brought: the batch is whatever arrived together.
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if not self._busy:
            self._next()
        now = time.perf_counter()
        self._lag.end(now)
        if self._waiting and not (self._busy or self._scheduled):
            self._schedule(now)

    def _next(self) -> None:
        """Compute what waits, or have it computed."""
        jobs, rows = self._take()
        if not jobs:
            return
        expected = self._cost.seconds(rows)
        if expected is not None and expected <= LOOP_SECONDS:
            self._deliver(jobs, rows, *self._compute(jobs))
            return
        self._busy = True
        began = time.perf_counter()
        self._free_at = began + (expected or 0.0) + self._hand_over
        computed = asyncio.get_running_loop().run_in_executor(self._thread, self._compute, jobs)
        computed.add_done_callback(partial(self._computed, jobs, rows, began))

    def _take(self) -> tuple[list[PendingRequest], int]:
        """The next batch: what waits, in order; not for clients that have gone or would not wait so long."""
        taken: list[PendingRequest] = []
        waits: list[float] = []
        rows, now = 0, time.perf_counter()
        all_fit = self._fits(self.rows)  # asked once a tick, for they mostly do: 4 % of a request's cost
        while self._waiting:
            job = self._waiting[0]
            count = job.rows
            if taken and not (all_fit or self._fits(rows + count)):
                break
            self._waiting.popleft()
            self.rows -= count
            if job.cancelled:
                continue
            if job.deadline is not None and now > job.deadline:
                job.resolve(_too_late("it could be computed"))
                continue
            waits.append(now - job.enqueued_at)
            taken.append(job)
            rows += count
        if self._waiting:
            # What was left may be larger than what was taken, and will be computed in one call too.
            self._full = max(rows, self._waiting[0].rows)
        elif self._full:
            self._full = max(self._full, rows)
        if taken:
            self._metrics.record_batch(rows, waits)
        return taken, rows

    def _fits(self, rows: int) -> bool:
        if rows > self._batch_rows:
            return False
        expected = self._cost.seconds(rows)
        # Two of the slowest calls must always go together, or nothing would learn that it saves time.
        return expected is None or expected <= max(BATCH_SECONDS, 2 * self._cost.smallest)

    def _compute(self, jobs: Sequence[PendingRequest]) -> tuple[list[Outcome], float]:
        """Outcomes and what they took, in seconds; on the loop or on the thread, never on both at a time."""
        started = time.perf_counter()
        wanted = None
        if self._selects:
            wanted = frozenset(output.name for job in jobs for output in job.outputs)
        outcomes = self._run([job.inputs for job in jobs], wanted=wanted)
        return outcomes, time.perf_counter() - started

    def _computed(
        self,
        jobs: Sequence[PendingRequest],
        rows: int,
        began: float,
        computed: "asyncio.Future[tuple[list[Outcome], float]]",
    ) -> None:
        self._busy = False
        if computed.cancelled():  # the loop ends, and nobody reads answers any more
            return
        outcomes, seconds = computed.result()
        ended = time.perf_counter()
        self._hand_over += (max(0.0, ended - began - seconds) - self._hand_over) / _REMEMBERED
        self._deliver(jobs, rows, outcomes, seconds)
        now = time.perf_counter()
        self._lag.work(ended, now)
        if self._waiting and not self._scheduled:
            self._schedule(now)

    def _deliver(
        self, jobs: Sequence[PendingRequest], rows: int, outcomes: Sequence[Outcome], seconds: float
    ) -> None:
        self._cost.measured(rows, seconds)
        self._at_ease = min(self._queued_rows, self._cost.rows_within(_EASE_SECONDS))
        started = time.perf_counter()
        sheet: BatchResult | None = None
        for job, outcome in zip(jobs, outcomes, strict=True):
            if (
                isinstance(outcome, ResultSlice) and outcome.result is not sheet
            ):  # they mostly have one for all
                sheet = outcome.result
                self._seen(sheet.batch, sheet.outputs)
            if not job.cancelled:
                job.resolve(outcome)
        ended = time.perf_counter()
        self._metrics.record_stage("predict", sum(started - job.enqueued_at for job in jobs), len(jobs))
        self._metrics.record_stage("postprocess", ended - started, len(jobs))


def _too_late(what: str) -> RequestError:
    return RequestError(
        f"The client's deadline is over before {what}: ask with a longer one.", ErrorCode.DEADLINE_EXCEEDED
    )
