# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tidegate.batch import Array, Batch
from tidegate.contract import Datatype, Output
from tidegate_serving.batching.admission import OVERLOAD_SECONDS, PATIENCE_SECONDS
from tidegate_serving.batching.batcher import BATCH_SECONDS, LOOP_SECONDS, Batcher, Outcome
from tidegate_serving.batching.runner import run_batch
from tidegate_serving.batching.service_time import ServiceTimeEstimator
from tidegate_serving.engines.base import OutputNames
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import Metrics


def batch(*values: float) -> Batch:
    return Batch({"input-0": np.array([[value] for value in values], dtype=np.float32)})


class Doubling:
    """Doubles each value; fails on a batch with a negative one; can be held."""

    name = platform = "doubling"
    selects_outputs = False

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()

    def run(self, batch: Batch, wanted: OutputNames = None) -> Mapping[str, Array]:
        self.entered.set()
        assert self.free.wait(30)
        self.sizes.append(len(batch))
        self.threads.add(threading.get_ident())
        values = batch.arrays["input-0"]
        if (values < 0).any():
            raise ValueError("negative")
        return {"label": values.reshape(-1) * 2}


class Asked:
    """A request that keeps what it is told."""

    def __init__(self, *values: float, deadline: float | None = None) -> None:
        self.inputs = batch(*values)
        self.rows = len(values)
        self.outputs: tuple[Output, ...] = ()
        self.enqueued_at = time.perf_counter()
        self.deadline = deadline
        self.cancelled = False
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def resolve(self, outcome: Outcome) -> None:
        self.outcome.set_result(outcome)


def labels(outcome: Outcome) -> list[float]:
    assert isinstance(outcome, ResultSlice), outcome
    return list(outcome.array("label").tolist())


def known(seconds: float, *rows: int) -> ServiceTimeEstimator:
    """A cost that is the same for these numbers of rows."""
    cost = ServiceTimeEstimator()
    for count in rows:
        for _ in range(3):
            cost.measured(count, seconds)
    return cost


def run(
    scenario: Callable[[Batcher, Doubling], Awaitable[Any]],
    cost: ServiceTimeEstimator | None = None,
    **limits: int,
) -> None:
    async def main() -> None:
        engine = Doubling()
        batcher = Batcher(
            engine,
            Batch.concatenate,  # type: ignore[arg-type]
            Metrics(CollectorRegistry()),
            cost,
            **limits,
        )
        try:
            await asyncio.wait_for(scenario(batcher, engine), 60)
        finally:
            engine.free.set()
            batcher.close()
        assert batcher.rows == 0

    asyncio.run(main())


def record_error(batcher: Batcher, job: Asked) -> bool:
    try:
        batcher.submit(job)
    except RequestError:
        return True
    return False


async def busy(batcher: Batcher, engine: Doubling) -> Asked:
    """A request that the thread computes until the engine is free."""
    engine.free.clear()
    engine.entered.clear()
    first = Asked(1)
    batcher.submit(first)
    await asyncio.to_thread(engine.entered.wait, 30)
    return first


def test_requests_share_a_call_and_each_gets_its_own_rows() -> None:
    engine = Doubling()
    results = run_batch(engine, [batch(1), batch(2, 3), batch(4)])
    assert [labels(result) for result in results] == [[2], [4, 6], [8]]
    assert engine.sizes == [4]


def test_a_row_that_fails_harms_only_its_own_request() -> None:
    results = run_batch(Doubling(), [batch(1), batch(2, -3), batch(4)])
    assert labels(results[0]) == [2]
    assert labels(results[2]) == [8]
    refused = results[1]
    assert isinstance(refused, RequestError)
    assert refused.kind is ErrorCode.INTERNAL


def test_one_turn_of_the_loop_is_one_batch_and_known_to_be_cheap_is_computed_on_it() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        jobs = [Asked(value) for value in (1, 2, 3)]
        for job in jobs:
            batcher.submit(job)
        assert batcher.rows == 3
        assert [labels(await job.outcome) for job in jobs] == [[2], [4], [6]]
        assert engine.sizes == [3]
        assert engine.threads == {threading.get_ident()}

    run(scenario, known(LOOP_SECONDS / 2, 3))


@pytest.mark.parametrize("cost", [None, known(LOOP_SECONDS * 2, 1)], ids=["unknown", "dear"])
def test_what_is_dear_or_unknown_is_computed_on_the_thread(cost: ServiceTimeEstimator | None) -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        job = await busy(batcher, engine)
        assert not job.outcome.done()  # we are running, so the loop is free
        engine.free.set()
        assert labels(await job.outcome) == [2]
        assert threading.get_ident() not in engine.threads

    run(scenario, cost)


def test_what_arrives_while_the_thread_computes_is_the_next_batch_however_cheap() -> None:
    cost = known(LOOP_SECONDS / 2, 2)
    cost = cost if cost.seconds(1) is None else known(LOOP_SECONDS * 2, 1)

    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        others = [Asked(value) for value in (2, 3, 4)]
        for job in others:
            batcher.submit(job)
        await asyncio.sleep(0)
        assert engine.sizes == []
        engine.free.set()
        assert [labels(await job.outcome) for job in (first, *others)] == [[2], [4], [6], [8]]
        assert engine.sizes == [1, 3]

    run(scenario, cost)


def test_a_full_queue_refuses_and_an_empty_one_never() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        large = Asked(2, 3, 4)  # more than may wait, but nothing else does
        batcher.submit(large)
        with pytest.raises(RequestError, match="busy") as caught:
            batcher.submit(Asked(5))
        assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
        engine.free.set()
        assert labels(await first.outcome) == [2]
        assert labels(await large.outcome) == [4, 6, 8]

    run(scenario, queued_rows=2)


def test_a_queue_whose_work_would_take_too_long_refuses_however_few_its_rows() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        waiting = Asked(*range(64))
        batcher.reject_if_overloaded(time.perf_counter())
        batcher.submit(waiting)
        with pytest.raises(RequestError, match="busy"):
            batcher.submit(Asked(5))
        with pytest.raises(RequestError, match="busy"):
            batcher.reject_if_overloaded(time.perf_counter())  # and what comes next is not even read
        engine.free.set()
        await first.outcome
        await waiting.outcome

    cost = known(LOOP_SECONDS * 2, 1)
    for _ in range(3):
        cost.measured(64, 30.0)
    run(scenario, cost)


def test_a_queue_that_one_batch_does_not_empty_takes_as_long_as_its_batches() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        jobs = [Asked(*range(8)) for _ in range(20)]
        for job in jobs[:2]:
            batcher.submit(job)
        engine.free.set()
        await asyncio.gather(*(job.outcome for job in (first, *jobs[:2])))  # one was left when one was taken
        last = await busy(batcher, engine)
        taken = [job for job in jobs[2:] if not refused(batcher, job)]
        assert 2 <= len(taken) <= 5
        engine.free.set()
        await asyncio.gather(*(job.outcome for job in (last, *taken)))

    run(scenario, known(PATIENCE_SECONDS / 4, 8), batch_rows=8)


def test_one_large_request_after_a_small_one_does_not_make_others_wait_as_if_its_rows_came_alone() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        engine.free.clear()
        small, large, other = Asked(1), Asked(*range(64)), Asked(2)
        batcher.submit(small)
        batcher.submit(large)
        await asyncio.to_thread(engine.entered.wait, 30)  # the large one is left
        batcher.submit(other)
        engine.free.set()
        await asyncio.gather(small.outcome, large.outcome, other.outcome)
        assert engine.sizes == [1, 64, 1]

    run(scenario, known(PATIENCE_SECONDS / 8, 1, 64), batch_rows=8)


def test_a_loop_that_is_late_turn_after_turn_refuses_what_has_waited_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidegate_serving.batching.admission.PATIENCE_SECONDS", 0.1)

    async def scenario(batcher: Batcher, _: Doubling) -> None:
        async def turn() -> None:
            batcher.reject_if_overloaded(time.perf_counter())
            time.sleep(0.15)  # it reads, and reads
            await asyncio.sleep(0)

        await turn()
        await turn()
        with pytest.raises(RequestError, match="busy"):
            batcher.reject_if_overloaded(time.perf_counter())
        await asyncio.sleep(0.2)
        batcher.reject_if_overloaded(time.perf_counter())  # it has rested

    run(scenario)


def test_what_a_long_turn_has_brought_does_not_wait_for_its_end() -> None:
    async def scenario(batcher: Batcher, _: Doubling) -> None:
        first = Asked(1)
        batcher.submit(first)
        batcher.reject_if_overloaded(time.perf_counter())
        assert not first.outcome.done()
        batcher.reject_if_overloaded(time.perf_counter() + OVERLOAD_SECONDS)
        assert labels(first.outcome.result()) == [2]

    run(scenario, known(LOOP_SECONDS / 2, 1))


def test_many_cheap_rows_are_no_reason_to_refuse() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        jobs = [Asked(*range(1000)) for _ in range(64)]
        for job in jobs:
            batcher.submit(job)
        engine.free.set()
        await first.outcome
        for job in jobs:
            assert len(labels(await job.outcome)) == 1000

    run(scenario, known(LOOP_SECONDS * 2, 1, 1000))


def test_a_client_that_has_gone_is_not_computed_for() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        gone, stays = Asked(2), Asked(3)
        batcher.submit(gone)
        batcher.submit(stays)
        gone.cancelled = True
        engine.free.set()
        await first.outcome
        assert labels(await stays.outcome) == [6]
        assert not gone.outcome.done()
        assert engine.sizes == [1, 1]

    run(scenario)


def test_a_deadline_that_passes_in_the_queue_is_answered_and_not_computed() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        first = await busy(batcher, engine)
        late = Asked(2, deadline=time.perf_counter() + 5)
        batcher.submit(late)
        late.deadline = time.perf_counter() - 1
        engine.free.set()
        await first.outcome
        outcome = await late.outcome
        assert isinstance(outcome, RequestError)
        assert outcome.code is ErrorCode.DEADLINE_EXCEEDED
        assert engine.sizes == [1]

    run(scenario)


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        with pytest.raises(RequestError, match="deadline") as caught:
            batcher.submit(Asked(1, deadline=time.perf_counter() + 10))
        assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
        patient = Asked(1, deadline=time.perf_counter() + 1000)
        batcher.submit(patient)
        assert labels(await patient.outcome) == [2]

    run(scenario, known(30.0, 1))


def test_a_batch_holds_no_more_rows_than_it_may_and_one_request_alone_may_be_larger() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        jobs = [Asked(1, 2, 3), Asked(4), Asked(5), Asked(6)]
        for job in jobs:
            batcher.submit(job)
        for job in jobs:
            await job.outcome
        assert engine.sizes == [3, 2, 1]

    run(scenario, batch_rows=2)


def test_a_batch_of_several_takes_no_longer_than_others_may_wait() -> None:
    async def scenario(batcher: Batcher, engine: Doubling) -> None:
        jobs = [Asked(*range(8)) for _ in range(4)]
        for job in jobs:
            batcher.submit(job)
        for job in jobs:
            await job.outcome
        assert engine.sizes == [8, 8, 8, 8]

    cost = known(BATCH_SECONDS / 2, 8)
    for _ in range(3):
        cost.measured(16, BATCH_SECONDS * 2)
    run(scenario, cost)


def test_an_engine_that_can_computes_only_what_is_asked_for() -> None:
    class Selecting(Doubling):
        selects_outputs = True
        asked: OutputNames = None

        def run(self, batch: Batch, wanted: OutputNames = None) -> Mapping[str, Array]:
            self.asked = wanted
            return super().run(batch, wanted)

    async def scenario() -> None:
        engine = Selecting()
        batcher = Batcher(engine, Batch.concatenate, Metrics(CollectorRegistry(), "m"))  # type: ignore[arg-type]
        jobs = [Asked(1), Asked(2)]
        jobs[1].outputs = (Output(name="label", datatype=Datatype.FP32),)
        for job in jobs:
            batcher.submit(job)
        await asyncio.gather(*(job.outcome for job in jobs))
        assert engine.asked == {"label"}  # the first one asked for nothing
        batcher.close()

    asyncio.run(scenario())
