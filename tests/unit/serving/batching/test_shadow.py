# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes import HANG_SECONDS, FakeClock, FakeEngine, FakeRequest, label_values
from tidegate.batch import Batch
from tidegate_serving.batching.batcher import MAX_INLINE_SECONDS, Batcher
from tidegate_serving.batching.service_time import MIN_SAMPLES, ServiceTimeEstimator
from tidegate_serving.batching.shadow import MAX_SHADOW_QUEUE_DELAY
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import Metrics

INLINE = {1: MAX_INLINE_SECONDS / 4, 8: MAX_INLINE_SECONDS / 2}
ON_THREAD = {1: MAX_INLINE_SECONDS * 4, 8: MAX_INLINE_SECONDS * 8}


class Bench:
    """A batcher with both lanes, an engine and a clock of the test."""

    def __init__(self, seconds_by_rows: dict[int, float], *, call_seconds: float = 0.0) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine(self.clock, call_seconds)
        self.registry = CollectorRegistry()
        self.results: list[Any] = []
        service_time = ServiceTimeEstimator()
        for rows, seconds in seconds_by_rows.items():
            for _ in range(MIN_SAMPLES):
                service_time.record(rows, seconds)
        self.batcher = Batcher(
            self.engine,
            Batch.concatenate,  # type: ignore[arg-type]
            Metrics(self.registry),
            service_time,
            clock=self.clock,
            on_result=lambda batch, outputs: self.results.append(outputs["label"].tolist()),
        )

    def user(self, *values: float) -> FakeRequest:
        request = FakeRequest(*values, clock=self.clock)
        self.batcher.submit(request)
        return request

    def mirrored(self, *values: float, timeout: float | None = None) -> FakeRequest:
        deadline = None if timeout is None else self.clock() + timeout
        request = FakeRequest(*values, clock=self.clock, deadline=deadline)
        self.batcher.shadow.reject_if_overloaded(self.clock())
        self.batcher.shadow.submit(request)
        return request

    def rejection(self) -> str:
        """The message with which a mirrored request is rejected."""
        with pytest.raises(RequestError) as caught:
            self.mirrored(1)
        assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
        return str(caught.value)

    async def busy(self) -> FakeRequest:
        """Occupy the engine's thread until the engine is unblocked."""
        self.engine.block()
        request = self.user(1)
        await self.engine.entered()
        return request

    def value(self, metric: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(metric, labels)


def run(bench: Bench, scenario: Callable[[Bench], Awaitable[Any]]) -> None:
    async def main() -> None:
        try:
            await asyncio.wait_for(scenario(bench), 2 * HANG_SECONDS)
        finally:
            bench.engine.unblock()
            bench.batcher.close()
        assert bench.batcher.queued_rows == bench.batcher.shadow.queued_rows == 0

    asyncio.run(main())


@pytest.mark.parametrize("seconds_by_rows", [INLINE, ON_THREAD, {}], ids=["inline", "thread", "unknown"])
def test_mirrored_requests_share_a_batch_without_users(seconds_by_rows: dict[int, float]) -> None:
    async def scenario(bench: Bench) -> None:
        mirrored = [bench.mirrored(value) for value in (3, 4)]
        user = bench.user(1, 2)
        outcomes = [label_values(await each.outcome) for each in (user, *mirrored)]
        assert outcomes == [[2, 4], [6], [8]]
        # The user's request came last and is computed first.
        assert bench.engine.batch_rows == ([2, 2] if seconds_by_rows else [2, 1, 1])

    run(Bench(seconds_by_rows), scenario)


def test_drift_and_stages_are_those_of_users() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.mirrored(3).outcome
        await bench.user(1).outcome
        await bench.mirrored(4).outcome

    bench = Bench(INLINE)
    run(bench, scenario)
    assert bench.results == [[2]]
    for metric in ("request_predict_seconds", "request_postprocess_seconds"):
        assert bench.value(f"{metric}_count", model_name="") == 1
    assert bench.value("tidegate_queue_duration_seconds_count") == 1
    for metric in ("tidegate_batch_size_rows", "tidegate_batch_duration_seconds"):
        assert bench.value(f"{metric}_count") == 3


def test_mirrored_request_is_rejected_while_users_wait() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        mirrored = bench.mirrored(2)  # no user waits: the engine's batch is not in the queue
        second = bench.user(3)
        assert "requests of users wait" in bench.rejection()
        bench.engine.unblock()
        await asyncio.gather(first.outcome, second.outcome, mirrored.outcome)
        assert bench.engine.batch_rows == [1, 1, 1]
        assert bench.results == [[2], [6]]
        await bench.mirrored(5).outcome

    run(Bench(ON_THREAD), scenario)


def test_user_does_not_wait_for_queued_mirrored_requests() -> None:
    order: list[str] = []

    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        mirrored = bench.mirrored(2)
        user = bench.user(3)
        for name, request in (("mirrored", mirrored), ("user", user)):
            request.outcome.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
        bench.engine.unblock()
        await asyncio.gather(first.outcome, user.outcome, mirrored.outcome)

    run(Bench(ON_THREAD), scenario)
    assert order == ["user", "mirrored"]


def test_mirrored_request_that_would_wait_long_is_rejected() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        admitted: list[FakeRequest] = []
        with pytest.raises(RequestError, match=f"exceeds {MAX_SHADOW_QUEUE_DELAY:.2f} s"):
            admitted.extend(bench.mirrored(1) for _ in range(1_000))
        assert len(admitted) > 1
        user = bench.user(1)  # a user's request has a longer limit
        bench.engine.unblock()
        await asyncio.gather(first.outcome, user.outcome, *(each.outcome for each in admitted))

    run(Bench({1: 0.005, 8: 0.04}), scenario)


def test_late_and_cancelled_mirrored_requests_are_not_computed() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.busy()
        late, cancelled = bench.mirrored(2, timeout=1.0), bench.mirrored(3)
        cancelled.cancelled = True
        bench.clock.advance(2.0)
        bench.engine.unblock()
        await first.outcome
        outcome = await late.outcome
        assert isinstance(outcome, RequestError)
        assert outcome.code is ErrorCode.DEADLINE_EXCEEDED
        assert bench.engine.batch_rows == [1]

    run(Bench(ON_THREAD), scenario)
