# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.support.fake_connection import wait_until
from tests.support.stub_service import (
    BlockingEngine,
    DoublingEngine,
    FailingEngine,
    StubPredictor,
    make_predictor,
)
from tidegate_serving._kserve import pb
from tidegate_serving.batching.service_time import MIN_SAMPLES
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.grpc.servicer import SERVICE, Servicer

CALLS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)


class AbortedError(Exception):
    """The end of a call with a status, as gRPC's context raises it."""


class FakeContext:
    """A call's context."""

    def __init__(self) -> None:
        self.status: grpc.StatusCode | None = None
        self.details = ""

    def time_remaining(self) -> float | None:
        return None

    async def abort(self, status: grpc.StatusCode, details: str) -> None:
        self.status, self.details = status, details
        raise AbortedError


@pytest.fixture
def predictor() -> Iterator[StubPredictor]:
    predictor = make_predictor()
    yield predictor
    predictor.service.close()


def infer_request(*values: float) -> bytes:
    message = pb.ModelInferRequest(model_name="test", id="7")
    entry = message.inputs.add(name="x", datatype="FP32", shape=[len(values), 2])
    entry.contents.fp32_contents.extend(value for each in values for value in (each, 0.5))
    return bytes(message.SerializeToString())


def run(predictor: Any, scenario: Callable[[Servicer], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(Servicer(predictor)), 60)

    asyncio.run(main())


def call(predictor: Any, name: str, content: bytes) -> tuple[bytes, FakeContext]:
    """Call the handler that gRPC's server would call."""

    async def main() -> tuple[bytes, FakeContext]:
        details: Any = type("Details", (), {"method": f"/{SERVICE}/{name}", "invocation_metadata": ()})()
        handler = Servicer(predictor).handlers().service(details)
        context = FakeContext()
        try:
            return await handler.unary_unary(content, context), context
        except AbortedError:
            return b"", context

    return asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("name", CALLS)
def test_handlers_malformed_message_is_an_invalid_argument(name: str, predictor: StubPredictor) -> None:
    _, context = call(predictor, name, b"\xff\xff\xff")
    assert context.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected a " in context.details
    assert "received 3 bytes" in context.details


def test_readiness_follows_the_predictor(predictor: StubPredictor) -> None:
    predictor.ready = False

    async def scenario(servicer: Servicer) -> None:
        request = pb.ModelReadyRequest(name="test")
        assert not (await servicer.server_ready(pb.ServerReadyRequest())).ready
        assert not (await servicer.model_ready(request)).ready
        assert (await servicer.server_live(pb.ServerLiveRequest())).live
        predictor.ready = True
        assert (await servicer.server_ready(pb.ServerReadyRequest())).ready
        assert (await servicer.model_ready(request)).ready

    run(predictor, scenario)


def test_model_infer_before_the_model_is_ready_is_unavailable(predictor: StubPredictor) -> None:
    predictor.ready = False

    async def scenario(servicer: Servicer) -> None:
        with pytest.raises(RequestError) as caught:
            await servicer.model_infer(infer_request(1), None)
        assert caught.value.code is ErrorCode.UNAVAILABLE

    run(predictor, scenario)
    assert predictor.counts("tidegate_requests_total") == {("UNAVAILABLE", "grpc"): 1}


def test_model_infer_returns_the_outputs_and_counts_ok(predictor: StubPredictor) -> None:
    content, context = call(predictor, "ModelInfer", infer_request(1, 2))
    response = pb.ModelInferResponse.FromString(content)
    assert context.status is None
    assert (response.model_name, response.model_version, response.id) == ("test", "abc", "7")
    assert list(response.outputs[0].contents.int64_contents) == [2, 4]
    assert predictor.counts("tidegate_requests_total") == {("OK", "grpc"): 1}


def test_model_infer_above_the_rows_is_an_invalid_argument(predictor: StubPredictor) -> None:
    _, context = call(predictor, "ModelInfer", infer_request(*range(21)))
    assert context.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 20 rows, received 21" in context.details
    assert predictor.counts("tidegate_requests_rejected_total") == {("content_too_large",): 1}


def test_model_infer_failing_engine_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    predictor = make_predictor(FailingEngine())
    _, context = call(predictor, "ModelInfer", infer_request(1))
    predictor.service.close()
    assert context.status is grpc.StatusCode.INTERNAL
    assert "secret" not in context.details
    assert "secret cause" in caplog.text
    assert predictor.counts("tidegate_requests_total") == {("INTERNAL", "grpc"): 1}


def test_model_infer_with_a_passed_deadline_is_deadline_exceeded(predictor: StubPredictor) -> None:
    async def scenario(servicer: Servicer) -> None:
        with pytest.raises(RequestError) as caught:
            await servicer.model_infer(infer_request(1), 0.0)
        assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED

    run(predictor, scenario)


def test_model_infer_cancelled_is_counted_as_cancelled() -> None:
    engine = BlockingEngine()
    predictor = make_predictor(engine)

    async def scenario(servicer: Servicer) -> None:
        task = asyncio.ensure_future(servicer.model_infer(infer_request(1), None))
        await wait_until(engine.started.is_set)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        engine.released.set()
        await wait_until(lambda: predictor.service.batcher.queued_rows == 0)

    run(predictor, scenario)
    predictor.service.close()
    assert predictor.counts("tidegate_requests_total") == {("CANCELLED", "grpc"): 1}


def test_model_infer_calls_at_once_share_a_batch() -> None:
    batches: list[int] = []

    class CountingEngine(DoublingEngine):
        def run(self, batch: Any, output_names: frozenset[str] | None = None) -> Any:
            batches.append(len(batch))
            return super().run(batch, output_names)

    predictor = make_predictor(CountingEngine())

    async def scenario(servicer: Servicer) -> None:
        for _ in range(MIN_SAMPLES):  # an engine without measurements computes its first requests one by one
            await servicer.model_infer(infer_request(0), None)
        calls = [servicer.model_infer(infer_request(value), None) for value in range(5)]
        responses = await asyncio.gather(*calls)
        labels = [list(response.outputs[0].contents.int64_contents) for response in responses]
        assert labels == [[0], [2], [4], [6], [8]]

    run(predictor, scenario)
    predictor.service.close()
    assert batches == [1] * MIN_SAMPLES + [5]


@pytest.mark.parametrize("name", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_repository_calls_are_unimplemented(name: str, predictor: StubPredictor) -> None:
    _, context = call(predictor, name, b"")
    assert context.status is grpc.StatusCode.UNIMPLEMENTED
    assert "immutable bundle" in context.details
