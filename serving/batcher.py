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

from serving.cost import Cost
from serving.encode import Answers, Share, Sheet
from serving.engine import Engine
from serving.inference import Check, run_together
from serving.matrix import Part
from serving.metrics import Metrics
from serving.rejection import Kind, RequestError
from tidegate.batch import Batch
from tidegate.contract import Output

QUEUED_ROWS = 100_000
"""A guard of memory: as many rows of thirty features are 24 MB."""

BATCH_ROWS = 1_024
BATCH_SECONDS = 0.05
"""How long a batch of several requests may take: who comes next waits so long at most."""

LOOP_SECONDS = 0.001
"""What the loop may compute itself: no more than a probe or a large body costs it anyway."""

WAIT_SECONDS = 0.25
"""How long a request may have to wait; more only makes every answer late, and none more of them."""

Outcome = Share | RequestError
"""An answer, or the reason why there is none."""

_CALLS = 4
"""Calls of the engine for which it is always worth to wait, whatever they take."""

logger = logging.getLogger("tidegate.serving")


class Job(Protocol):
    """A request, from when it is read to when it is answered."""

    part: Part
    rows: int
    """How many rows the part has."""
    outputs: tuple[Output, ...]
    """The outputs that it is to be answered with."""
    queued: float
    """Since when it waits, by ``time.perf_counter``."""
    deadline: float | None
    """Until when the client waits, by the same clock."""
    gone: bool
    """Whether the client has gone, and nothing need be computed."""

    def deliver(self, outcome: Outcome) -> None:
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
        cost: Cost | None = None,
        *,
        queued_rows: int = QUEUED_ROWS,
        batch_rows: int = BATCH_ROWS,
        seen: Callable[[Batch, Answers], object] = lambda batch, answers: None,
        start_thread: Callable[[], object] = lambda: None,
    ) -> None:
        self._run = partial(run_together, engine, check=check)
        self._selects = engine.selects
        self._metrics = metrics
        self._cost = cost or Cost()
        self._queued_rows = queued_rows
        self._batch_rows = batch_rows
        self._waiting: deque[Job] = deque()
        self.rows = 0
        """How many rows wait."""
        self._at_ease = 0
        """How many rows the idle engine is known to compute in time: up to so many all are admitted at once,
        which saves 8 % of a request's cost."""
        self._scheduled = False
        self._busy = False
        self._free_at = 0.0
        """When the thread is expected to be done."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine", initializer=start_thread)
        self._seen = seen
        metrics.queued_rows = lambda: self.rows

    def submit(self, job: Job) -> None:
        """Take a request; its answer is delivered later, never from within this call.

        Raises:
            RequestError: It would have to wait too long, for us or for its client.
        """
        rows = job.rows
        if job.deadline is not None or (self.rows and (self._busy or self.rows + rows > self._at_ease)):
            self._admit(job, rows)
        self._waiting.append(job)
        self.rows += rows
        if not (self._scheduled or self._busy):
            self._schedule()

    def check_room(self) -> None:
        """Refuse a request before it is even read, when what waits already takes too long.

        Reading a hundred rows of JSON costs half of what computing them does: a server that reads what it
        refuses has under twice its capacity only half of it left for answers.

        Raises:
            RequestError: It would have to wait too long.
        """
        if self.rows > self._at_ease or (self.rows and self._busy):
            self._check_wait(self._wait())

    def close(self) -> None:
        """End the thread, after what it computes now."""
        self._thread.shutdown()

    def _admit(self, job: Job, rows: int) -> None:
        wait = self._wait()
        if self.rows:
            self._check_wait(wait, rows)
        done = time.perf_counter() + wait + (self._cost.seconds(rows) or 0.0)
        if job.deadline is not None and done > job.deadline:
            raise _too_late("it would be answered")

    def _wait(self) -> float:
        """Seconds until all that waits now is computed."""
        busy = max(0.0, self._free_at - time.perf_counter()) if self._busy else 0.0
        return busy + self._cost.drain(self.rows)

    def _check_wait(self, wait: float, rows: int = 0) -> None:
        longest = max(WAIT_SECONDS, _CALLS * self._cost.smallest)
        if wait > longest or self.rows + rows > self._queued_rows:
            raise RequestError(
                f"The server is busy: {self.rows} rows wait for {wait:.2f} seconds; ask again in a second.",
                Kind.OVERLOADED,
            )

    def _schedule(self) -> None:
        self._scheduled = True
        # After all that this turn of the loop has brought: the batch is whatever arrived together.
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy:  # an answer that was delivered while the last batch was taken brought a request
            return
        jobs, rows = self._take()
        if jobs:
            expected = self._cost.seconds(rows)
            if expected is not None and expected <= LOOP_SECONDS:
                self._deliver(jobs, rows, *self._compute(jobs))
            else:
                self._busy = True
                self._free_at = time.perf_counter() + (expected or 0.0)
                loop = asyncio.get_running_loop()
                computed = loop.run_in_executor(self._thread, self._compute, jobs)
                computed.add_done_callback(partial(self._computed, jobs, rows))
                return
        if self._waiting and not self._scheduled:
            self._schedule()

    def _take(self) -> tuple[list[Job], int]:
        """The next batch: what waits, in order; not for clients that have gone or would not wait so long."""
        taken: list[Job] = []
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
            if job.gone:
                continue
            if job.deadline is not None and now > job.deadline:
                job.deliver(_too_late("it could be computed"))
                continue
            waits.append(now - job.queued)
            taken.append(job)
            rows += count
        if taken:
            self._metrics.computed(rows, waits)
        return taken, rows

    def _fits(self, rows: int) -> bool:
        if rows > self._batch_rows:
            return False
        expected = self._cost.seconds(rows)
        # Two of the slowest calls must always go together, or nothing would learn that it saves time.
        return expected is None or expected <= max(BATCH_SECONDS, 2 * self._cost.smallest)

    def _compute(self, jobs: Sequence[Job]) -> tuple[list[Outcome], float]:
        """Outcomes and what they took, in seconds; on the loop or on the thread, never on both at a time."""
        started = time.perf_counter()
        wanted = None
        if self._selects:
            wanted = frozenset(output.name for job in jobs for output in job.outputs)
        outcomes = self._run([job.part for job in jobs], wanted=wanted)
        return outcomes, time.perf_counter() - started

    def _computed(
        self, jobs: Sequence[Job], rows: int, computed: "asyncio.Future[tuple[list[Outcome], float]]"
    ) -> None:
        self._busy = False
        if computed.cancelled():  # the loop ends, and nobody reads answers any more
            return
        self._deliver(jobs, rows, *computed.result())
        if self._waiting and not self._scheduled:
            self._schedule()

    def _deliver(self, jobs: Sequence[Job], rows: int, outcomes: Sequence[Outcome], seconds: float) -> None:
        self._cost.measured(rows, seconds)
        self._at_ease = min(self._queued_rows, self._cost.rows_within(WAIT_SECONDS))
        started = time.perf_counter()
        sheet: Sheet | None = None
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Share) and outcome.sheet is not sheet:  # they mostly have one for all
                sheet = outcome.sheet
                self._seen(sheet.batch, sheet.answers)
            if not job.gone:
                job.deliver(outcome)
        ended = time.perf_counter()
        self._metrics.stage("predict", sum(started - job.queued for job in jobs), len(jobs))
        self._metrics.stage("postprocess", ended - started, len(jobs))


def _too_late(what: str) -> RequestError:
    return RequestError(f"The client's deadline is over before {what}: ask with a longer one.", Kind.LATE)
