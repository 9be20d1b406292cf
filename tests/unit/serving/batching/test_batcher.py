# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes import HANG_SECONDS, FakeClock, FakeEngine, FakeRequest, label_values, run_iterations
from tidegate.batch import Batch
from tidegate.contract import Datatype, Output
from tidegate_serving.batching.admission import (
    ALWAYS_ADMITTED_QUEUE_DELAY,
    MAX_QUEUED_ROWS,
    AdmissionController,
)
from tidegate_serving.batching.batcher import (
    MAX_BATCH_ROWS,
    MAX_BATCH_SECONDS,
    MAX_BATCH_SHARE,
    MAX_ENGINE_WAIT,
    MAX_INLINE_SECONDS,
    Batcher,
)
from tidegate_serving.batching.queue_delay import BACKLOG_BATCHES
from tidegate_serving.batching.service_time import MIN_SAMPLES, ServiceTimeEstimator
from tidegate_serving.config import MAX_QUEUE_DELAY
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import Metrics

ONE_PER_BATCH = {1: MAX_BATCH_SECONDS, 2: 2 * MAX_BATCH_SECONDS}
"""Seconds by rows of an engine whose full batch is one request of one row."""


@dataclass
class Bench:
    """A batcher with an engine and a clock of the test."""

    batcher: Batcher
    engine: FakeEngine
    clock: FakeClock

    def request(self, *values: float, timeout: float | None = None) -> FakeRequest:
        deadline = None if timeout is None else self.clock() + timeout
        return FakeRequest(*values, clock=self.clock, deadline=deadline)

    def submit(self, *values: float) -> FakeRequest:
        request = self.request(*values)
        self.batcher.submit(request)
        return request

    def submit_until_rejected(self, *values: float) -> list[FakeRequest]:
        """Submit equal requests until one is rejected."""
        admitted: list[FakeRequest] = []
        while len(admitted) < 100:
            try:
                admitted.append(self.submit(*values))
            except RequestError:
                return admitted
        raise AssertionError(f"{len(admitted)} requests were admitted")

    async def busy(self, *values: float) -> FakeRequest:
        """Submit a request that occupies the engine's thread until the engine is unblocked."""
        self.engine.block()
        request = self.submit(*values or (1,))
        await self.engine.entered()
        return request


def service_times(seconds_by_rows: dict[int, float]) -> ServiceTimeEstimator:
    estimator = ServiceTimeEstimator()
    for rows, seconds in seconds_by_rows.items():
        for _ in range(MIN_SAMPLES):
            estimator.record(rows, seconds)
    return estimator


def run(
    scenario: Callable[[Bench], Awaitable[Any]],
    seconds_by_rows: dict[int, float] | None = None,
    *,
    call_seconds: float = 0.0,
    selects_outputs: bool = False,
    max_queued_rows: int = MAX_QUEUED_ROWS,
    max_batch_rows: int = MAX_BATCH_ROWS,
) -> None:
    """Run a scenario with a batcher that has measured these service times."""

    async def main() -> None:
        clock = FakeClock()
        engine = FakeEngine(clock, call_seconds, selects_outputs=selects_outputs)
        batcher = Batcher(
            engine,
            Batch.concatenate,  # type: ignore[arg-type]
            Metrics(CollectorRegistry()),
            service_times(seconds_by_rows or {}),
            clock=clock,
            admission=AdmissionController(max_queued_rows=max_queued_rows),
            max_batch_rows=max_batch_rows,
        )
        try:
            await asyncio.wait_for(scenario(Bench(batcher, engine, clock)), 2 * HANG_SECONDS)
        finally:
            engine.unblock()
            batcher.close()
        assert batcher.queued_rows == 0

    asyncio.run(main())


def test_batcher_one_iteration_is_one_inline_batch() -> None:
    async def scenario(bench: Bench) -> None:
        requests = [bench.submit(value) for value in (1, 2, 3)]
        assert bench.batcher.queued_rows == 3
        assert [label_values(await request.outcome) for request in requests] == [[2], [4], [6]]
        assert bench.engine.batch_rows == [3]
        assert bench.engine.threads == [threading.get_ident()]

    run(scenario, {3: MAX_INLINE_SECONDS / 2})


@pytest.mark.parametrize(
    "seconds_by_rows", [{}, {1: MAX_INLINE_SECONDS * 2}], ids=["unknown", "longer than inline"]
)
def test_batcher_other_batches_run_on_thread(seconds_by_rows: dict[int, float]) -> None:
    async def scenario(bench: Bench) -> None:
        request = await bench.busy()
        assert not request.outcome.done()  # this line runs, so the event loop is free
        bench.engine.unblock()
        assert label_values(await request.outcome) == [2]
        assert threading.get_ident() not in bench.engine.threads

    run(scenario, seconds_by_rows)


@pytest.mark.parametrize(
    "next_seconds", [MAX_INLINE_SECONDS / 2, MAX_INLINE_SECONDS * 2], ids=["short", "long"]
)
def test_batcher_busy_thread_delays_next_batch(next_seconds: float) -> None:
    """However short the next batch is, the event loop never runs it while the thread uses the engine."""

    async def scenario(bench: Bench) -> None:
        first = await bench.busy(*range(64))
        others = [bench.submit(value) for value in (2, 3, 4)]
        await run_iterations(1)
        assert bench.batcher.queued_rows == 3
        assert bench.engine.batch_rows == []
        bench.engine.unblock()
        assert len(label_values(await first.outcome)) == 64
        assert [label_values(await request.outcome) for request in others] == [[4], [6], [8]]
        assert bench.engine.batch_rows == [64, 3]
        inline = bench.engine.threads[1] == threading.get_ident()
        assert inline is (next_seconds < MAX_INLINE_SECONDS)

    run(scenario, {3: next_seconds, 64: MAX_INLINE_SECONDS * 4})


def test_batcher_full_queue_rejects_an_empty_one_admits() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        large = bench.submit(2, 3, 4)  # more rows than the queue may hold, but the queue is empty
        with pytest.raises(RequestError, match=r"4 rows.*\b2\b.*Retry after") as caught:
            bench.submit(5)
        assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
        bench.engine.unblock()
        assert label_values(await first.outcome) == [2]
        assert label_values(await large.outcome) == [4, 6, 8]

    run(scenario, max_queued_rows=2)


def test_batcher_long_queue_delay_rejects() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        bench.batcher.reject_if_overloaded(bench.clock())
        queued = bench.submit(*range(64))
        with pytest.raises(RequestError, match=r"queue delay of up to 33\.\d\d s"):
            bench.submit(5)
        with pytest.raises(RequestError, match=r"queue delay of up to 33\.\d\d s"):
            bench.batcher.reject_if_overloaded(bench.clock())  # before the body is parsed
        bench.engine.unblock()
        await asyncio.gather(first.outcome, queued.outcome)

    run(scenario, {1: MAX_INLINE_SECONDS * 2, 64: 30.0})


def test_batcher_queue_of_full_batches_admits_four() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        pair = [bench.submit(*range(8)) for _ in range(2)]
        bench.engine.unblock()
        await asyncio.gather(*(request.outcome for request in (first, *pair)))  # one batch left one request
        last = await bench.busy()
        admitted = bench.submit_until_rejected(*range(8))
        assert len(admitted) == 4  # a fifth would wait for the running batch and four calls
        bench.engine.unblock()
        await asyncio.gather(*(request.outcome for request in (last, *admitted)))

    quarter = MAX_QUEUE_DELAY / 4
    run(scenario, {8: quarter}, call_seconds=quarter, max_batch_rows=8)


def test_batcher_large_request_is_not_many_small_batches() -> None:
    async def scenario(bench: Bench) -> None:
        bench.engine.block()
        small, large = bench.submit(1), bench.submit(*range(64))
        await bench.engine.entered()  # the large request is left in the queue
        other = bench.submit(2)
        bench.engine.unblock()
        await asyncio.gather(small.outcome, large.outcome, other.outcome)
        assert bench.engine.batch_rows == [1, 64, 1]

    eighth = MAX_QUEUE_DELAY / 8
    run(scenario, {1: eighth, 64: eighth}, call_seconds=eighth, max_batch_rows=8)


def test_batcher_late_event_loop_rejects_until_idle() -> None:
    async def scenario(bench: Bench) -> None:
        async def iteration(busy_seconds: float) -> None:
            bench.batcher.reject_if_overloaded(bench.clock())
            bench.clock.advance(busy_seconds)
            await run_iterations(1)

        busy_seconds = MAX_QUEUE_DELAY * 1.5
        await iteration(busy_seconds)
        await iteration(busy_seconds)
        with pytest.raises(RequestError, match=r"queue delay of up to 3\.30 s"):
            await iteration(busy_seconds)
        bench.clock.advance(busy_seconds)
        await run_iterations(1)
        bench.clock.advance(busy_seconds)  # idle
        await iteration(0.0)

    run(scenario)


def test_batcher_long_iteration_starts_its_first_batch() -> None:
    async def scenario(bench: Bench) -> None:
        first = bench.submit(1)
        bench.batcher.reject_if_overloaded(bench.clock())
        assert not first.outcome.done()
        bench.clock.advance(ALWAYS_ADMITTED_QUEUE_DELAY * 2)
        bench.batcher.reject_if_overloaded(bench.clock())
        assert label_values(first.outcome.result()) == [2]

    run(scenario, {1: MAX_INLINE_SECONDS / 2})


def test_batcher_many_short_rows_are_admitted() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        requests = [bench.submit(*range(1000)) for _ in range(64)]
        bench.engine.unblock()
        await first.outcome
        for request in requests:
            assert len(label_values(await request.outcome)) == 1000

    run(scenario, {1: MAX_INLINE_SECONDS * 2, 1000: MAX_INLINE_SECONDS * 2})


def test_batcher_cancelled_request_is_dropped() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        cancelled, kept = bench.submit(2), bench.submit(3)
        cancelled.cancelled = True
        bench.engine.unblock()
        await first.outcome
        assert label_values(await kept.outcome) == [6]
        assert not cancelled.outcome.done()
        assert bench.engine.batch_rows == [1, 1]

    run(scenario)


def test_batcher_request_cancelled_in_call_has_no_outcome() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        first.cancelled = True
        bench.engine.unblock()
        assert label_values(await bench.submit(2).outcome) == [4]
        assert not first.outcome.done()

    run(scenario)


def test_batcher_deadline_that_passes_in_queue_is_dropped() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        late = bench.request(2, timeout=5)
        bench.batcher.submit(late)
        bench.clock.advance(6)
        bench.engine.unblock()
        await first.outcome
        outcome = await late.outcome
        assert isinstance(outcome, RequestError)
        assert outcome.code is ErrorCode.DEADLINE_EXCEEDED
        assert "1.000 s after the deadline" in str(outcome)
        assert bench.engine.batch_rows == [1]

    run(scenario)


def test_batcher_deadline_before_outputs_is_rejected() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(RequestError, match=r"\d s after the deadline") as caught:
            bench.batcher.submit(bench.request(1, timeout=10))
        assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
        admitted = bench.request(1, timeout=1000)
        bench.batcher.submit(admitted)
        assert label_values(await admitted.outcome) == [2]

    run(scenario, {1: 30.0})


def test_batcher_far_deadline_of_a_short_queue_needs_no_estimate() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.submit(1).outcome  # the first service time of this server
        estimates: list[float] = []

        def queue_delay(now: float, rows: int) -> float:
            estimates.append(now)
            return 0.0

        bench.batcher._delay.queue_delay = queue_delay  # type: ignore[method-assign]
        admitted = bench.request(1, timeout=2 * ALWAYS_ADMITTED_QUEUE_DELAY)
        bench.batcher.submit(admitted)
        assert not estimates
        with pytest.raises(RequestError):
            bench.batcher.submit(bench.request(1, timeout=-1))
        assert estimates
        assert label_values(await admitted.outcome) == [2]

    run(scenario, {1: 1e-5})


def test_batcher_batch_has_at_most_max_rows() -> None:
    async def scenario(bench: Bench) -> None:
        # One request alone may have more rows.
        requests = [bench.submit(1, 2, 3), bench.submit(4), bench.submit(5), bench.submit(6)]
        for request in requests:
            await request.outcome
        assert bench.engine.batch_rows == [3, 2, 1]

    run(scenario, {1: MAX_BATCH_SECONDS / 2, 2: MAX_BATCH_SECONDS / 2}, max_batch_rows=2)


def test_batcher_without_measurements_runs_one_by_one() -> None:
    """Otherwise the first batch would be as long as the queue, and nothing shorter would be measured."""

    async def scenario(bench: Bench) -> None:
        requests = [bench.submit(value) for value in range(MIN_SAMPLES + 2)]
        for request in requests:
            await request.outcome
        assert bench.engine.batch_rows == [1] * MIN_SAMPLES + [2]

    run(scenario)


def test_batcher_batch_of_several_is_short() -> None:
    async def scenario(bench: Bench) -> None:
        requests = [bench.submit(*range(8)) for _ in range(4)]
        for request in requests:
            await request.outcome
        assert bench.engine.batch_rows == [8, 8, 8, 8]

    run(scenario, {8: MAX_BATCH_SECONDS / 2, 16: MAX_BATCH_SECONDS * 2})


@pytest.mark.parametrize(
    ("share", "batch_rows"), [(MAX_BATCH_SHARE * 0.9, [32]), (MAX_BATCH_SHARE * 1.1, [8, 8, 8, 8])]
)
def test_batcher_long_batch_runs_if_it_saves_time(share: float, batch_rows: list[int]) -> None:
    async def scenario(bench: Bench) -> None:
        requests = [bench.submit(*range(8)) for _ in range(4)]
        for request in requests:
            await request.outcome
        assert bench.engine.batch_rows == batch_rows

    seconds = MAX_BATCH_SECONDS * 10
    run(scenario, {1: seconds / 2, 8: seconds, 16: 2 * seconds * share, 32: 4 * seconds * share})


def test_batcher_selecting_engine_receives_output_names() -> None:
    async def scenario(bench: Bench) -> None:
        requests = [bench.request(1), bench.request(2)]
        requests[1].outputs = (Output(name="label", datatype=Datatype.FP32),)  # the first selects none
        for request in requests:
            bench.batcher.submit(request)
        await asyncio.gather(*(request.outcome for request in requests))
        assert bench.engine.output_names == [frozenset({"label"})]

    run(scenario, {1: MAX_INLINE_SECONDS}, selects_outputs=True)


def test_batcher_result_is_reported_once_per_call() -> None:
    async def main() -> None:
        clock, reported = FakeClock(), []
        batcher = Batcher(
            FakeEngine(clock),
            Batch.concatenate,  # type: ignore[arg-type]
            Metrics(CollectorRegistry()),
            service_times({1: MAX_INLINE_SECONDS / 2}),
            on_result=lambda batch, outputs: reported.append((len(batch), outputs["label"].tolist())),
            clock=clock,
        )
        requests = [FakeRequest(value, clock=clock) for value in (1, 2)]
        for request in requests:
            batcher.submit(request)
        await asyncio.gather(*(request.outcome for request in requests))
        batcher.close()
        assert reported == [(2, [2, 4])]

    asyncio.run(main())


def test_batcher_with_a_backlog_waits_for_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop reads in groups as long as no request that it reads would be in the next batch."""
    waits: list[float] = []

    async def scenario(bench: Bench) -> None:
        monkeypatch.setattr(bench.batcher._thread, "wait", waits.append)
        requests = [await bench.busy()]
        requests += [bench.submit(value) for value in range(2)]
        await run_iterations(3)
        assert waits == []  # how many requests are a full batch is not known yet
        bench.engine.unblock()
        await asyncio.gather(*(request.outcome for request in requests))

        requests = [await bench.busy()]
        requests += [bench.submit(value) for value in range(BACKLOG_BATCHES)]
        await run_iterations(3)
        assert waits == []
        requests.append(bench.submit(1))
        await run_iterations(3)
        assert waits == [MAX_ENGINE_WAIT]
        bench.batcher.note_connection()
        requests.append(bench.submit(1))
        await run_iterations(3)
        assert waits == [MAX_ENGINE_WAIT]  # more connections may wait to be accepted
        bench.engine.unblock()
        await requests[0].outcome
        assert bench.batcher._thread.busy  # the next batch does not wait for requests of this iteration
        await asyncio.gather(*(request.outcome for request in requests))

    run(scenario, ONE_PER_BATCH, call_seconds=MAX_BATCH_SECONDS)


def test_batcher_delivers_the_batch_that_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its responses, and the next batch, come before the event loop reads."""

    async def scenario(bench: Bench) -> None:
        requests = [await bench.busy(), *(bench.submit(1) for _ in range(2))]
        bench.engine.unblock()
        await asyncio.gather(*(request.outcome for request in requests))

        first = await bench.busy()
        wait = bench.batcher._thread.wait

        def unblock_and_wait(_: float) -> None:
            bench.engine.unblock()
            wait(HANG_SECONDS)

        monkeypatch.setattr(bench.batcher._thread, "wait", unblock_and_wait)
        rest = [bench.submit(1) for _ in range(BACKLOG_BATCHES + 1)]
        queued = bench.batcher.queued_rows
        bench.batcher._flush()
        assert first.outcome.done()
        assert bench.batcher._thread.busy
        assert bench.batcher.queued_rows == queued - 1
        await asyncio.gather(*(request.outcome for request in rest))

    run(scenario, ONE_PER_BATCH, call_seconds=MAX_BATCH_SECONDS)
