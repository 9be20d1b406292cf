# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.support.fake_connection import wait_until
from tests.support.grpc_calls import FakeCall, infer_request
from tests.support.stub_service import (
    BlockingEngine,
    DoublingEngine,
    FailingEngine,
    StubPredictor,
    make_predictor,
)
from tidegate_serving._kserve import pb
from tidegate_serving.batching.admission import RETRY_AFTER_SECONDS
from tidegate_serving.batching.service_time import MIN_SAMPLES
from tidegate_serving.errors import BodyTooLargeError, ErrorCode, RequestError
from tidegate_serving.grpc.servicer import MODEL_INFER, SERVICE, Servicer

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


@pytest.fixture
def predictor() -> Iterator[StubPredictor]:
    predictor = make_predictor()
    yield predictor
    predictor.service.close()


def run(predictor: Any, scenario: Callable[[Servicer], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(Servicer(predictor)), 60)

    asyncio.run(main())


def call(predictor: Any, name: str, content: bytes, fake_call: FakeCall | None = None) -> Any:
    """Call a method as a transport does, and return its message or its error."""
    fake = fake_call or FakeCall()

    async def main() -> bytes | RequestError:
        Servicer(predictor).methods[f"/{SERVICE}/{name}"].start(content, fake)
        return await fake.outcome()

    return asyncio.run(asyncio.wait_for(main(), 60))


def outcome_of(servicer: Servicer, content: bytes, deadline: float | None = None) -> Awaitable[Any]:
    fake = FakeCall(deadline)
    servicer.infer(content, fake)
    return fake.outcome()


@pytest.mark.parametrize("name", CALLS)
def test_methods_malformed_message_is_an_invalid_argument(name: str, predictor: StubPredictor) -> None:
    error = call(predictor, name, b"\xff\xff\xff")
    assert error.code is ErrorCode.INVALID_ARGUMENT
    assert "expected a " in str(error)
    assert "received 3 bytes" in str(error)


def test_readiness_follows_the_predictor(predictor: StubPredictor) -> None:
    predictor.ready = False
    servicer: Any = Servicer(predictor)  # type: ignore[arg-type]
    request = pb.ModelReadyRequest(name="test")
    assert not servicer.server_ready(pb.ServerReadyRequest()).ready
    assert not servicer.model_ready(request).ready
    assert servicer.server_live(pb.ServerLiveRequest()).live
    predictor.ready = True
    assert servicer.server_ready(pb.ServerReadyRequest()).ready
    assert servicer.model_ready(request).ready


def test_infer_before_the_model_is_ready_is_unavailable(predictor: StubPredictor) -> None:
    predictor.ready = False
    assert call(predictor, "ModelInfer", infer_request(1)).code is ErrorCode.UNAVAILABLE
    assert predictor.counts("tidegate_requests_total") == {("UNAVAILABLE", "grpc"): 1}


def test_infer_returns_the_outputs_and_counts_ok(predictor: StubPredictor) -> None:
    response = pb.ModelInferResponse.FromString(call(predictor, "ModelInfer", infer_request(1, 2)))
    assert (response.model_name, response.model_version, response.id) == ("test", "abc", "7")
    assert list(response.outputs[0].contents.int64_contents) == [2, 4]
    assert predictor.counts("tidegate_requests_total") == {("OK", "grpc"): 1}
    assert predictor.service.metrics.in_flight.count == 0


def test_infer_response_without_a_client_counts_cancelled(predictor: StubPredictor) -> None:
    fake = FakeCall()
    fake.connected = False
    call(predictor, "ModelInfer", infer_request(1), fake)
    assert predictor.counts("tidegate_requests_total") == {("CANCELLED", "grpc"): 1}


def test_infer_above_the_rows_is_an_invalid_argument(predictor: StubPredictor) -> None:
    error = call(predictor, "ModelInfer", infer_request(*range(21)))
    assert error.code.grpc_status == "INVALID_ARGUMENT"
    assert "at most 20 rows, received 21" in str(error)
    assert predictor.counts("tidegate_requests_rejected_total") == {("content_too_large",): 1}


def test_infer_message_that_is_not_read_is_counted(predictor: StubPredictor) -> None:
    fake: Any = FakeCall()
    servicer = Servicer(predictor)  # type: ignore[arg-type]
    servicer.methods[MODEL_INFER].reject(BodyTooLargeError(4_000), fake)
    assert "at most 4000 bytes" in str(fake.outcomes[0])
    assert predictor.counts("tidegate_requests_total") == {("INVALID_ARGUMENT", "grpc"): 1}
    assert predictor.counts("tidegate_requests_rejected_total") == {("content_too_large",): 1}
    assert predictor.service.metrics.in_flight.count == 0


def test_infer_failing_engine_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    predictor = make_predictor(FailingEngine())
    error = call(predictor, "ModelInfer", infer_request(1))
    predictor.service.close()
    assert error.code is ErrorCode.INTERNAL
    assert "secret" not in str(error)
    assert "secret cause" in caplog.text
    assert predictor.counts("tidegate_requests_total") == {("INTERNAL", "grpc"): 1}


def test_infer_with_a_passed_deadline_is_deadline_exceeded(predictor: StubPredictor) -> None:
    error = call(predictor, "ModelInfer", infer_request(1), FakeCall(deadline=0.0))
    assert error.code is ErrorCode.DEADLINE_EXCEEDED


def test_infer_cancelled_is_counted_as_cancelled() -> None:
    engine = BlockingEngine()
    predictor = make_predictor(engine)
    fake = FakeCall()

    async def scenario(servicer: Servicer) -> None:
        pending = servicer.infer(infer_request(1), fake)
        await wait_until(engine.started.is_set)
        assert pending is not None
        pending.cancel()
        engine.released.set()
        await wait_until(lambda: not predictor.service.batcher._thread.busy)

    run(predictor, scenario)
    predictor.service.close()
    assert fake.outcomes == []
    assert predictor.counts("tidegate_requests_total") == {("CANCELLED", "grpc"): 1}


class OverloadedLane:
    """A lane that rejects all requests, before or after they are parsed.

    Args:
        at_submission: Whether it rejects them after they are parsed.
    """

    rejection_seconds = 0.0

    def __init__(self, at_submission: bool) -> None:
        self._at_submission = at_submission

    def reject_if_overloaded(self, now: float) -> None:
        if not self._at_submission:
            self.submit(None)

    def submit(self, request: Any) -> None:
        raise RequestError(
            f"Server overloaded. Retry after {RETRY_AFTER_SECONDS} s.", ErrorCode.RESOURCE_EXHAUSTED
        )


@pytest.mark.parametrize("at_submission", [False, True])
@pytest.mark.parametrize("cancelled", [False, True])
def test_infer_rejected_as_overload_is_held(
    at_submission: bool, cancelled: bool, predictor: StubPredictor
) -> None:
    predictor.service.lane = OverloadedLane(at_submission)
    fake = FakeCall()

    async def scenario(servicer: Servicer) -> None:
        # A message that is not parsed may be malformed.
        pending = servicer.infer(infer_request(1) if at_submission else b"\xff", fake)
        assert fake.outcomes == []
        assert predictor.service.metrics.in_flight.count == 1
        assert pending is not None
        assert not hasattr(pending._call, "request")  # type: ignore[attr-defined]
        if cancelled:
            pending.cancel()
        else:
            error = await fake.outcome()
            assert isinstance(error, RequestError)
            assert error.code is ErrorCode.RESOURCE_EXHAUSTED

    run(predictor, scenario)
    code = "CANCELLED" if cancelled else "RESOURCE_EXHAUSTED"
    assert predictor.counts("tidegate_requests_total") == {(code, "grpc"): 1}
    assert predictor.service.metrics.in_flight.count == 0


def test_infer_calls_at_once_share_a_batch() -> None:
    batches: list[int] = []

    class CountingEngine(DoublingEngine):
        def run(self, batch: Any, output_names: frozenset[str] | None = None) -> Any:
            batches.append(len(batch))
            return super().run(batch, output_names)

    predictor = make_predictor(CountingEngine())

    async def scenario(servicer: Servicer) -> None:
        for _ in range(MIN_SAMPLES):  # an engine without measurements computes its first requests one by one
            await outcome_of(servicer, infer_request(0))
        calls = [outcome_of(servicer, infer_request(value)) for value in range(5)]
        responses = [pb.ModelInferResponse.FromString(each) for each in await asyncio.gather(*calls)]
        labels = [list(response.outputs[0].contents.int64_contents) for response in responses]
        assert labels == [[0], [2], [4], [6], [8]]

    run(predictor, scenario)
    predictor.service.close()
    assert batches[:MIN_SAMPLES] == [1] * MIN_SAMPLES
    assert max(batches[MIN_SAMPLES:]) > 1  # a busy machine may split the five calls


@pytest.mark.parametrize("name", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_repository_calls_are_unimplemented(name: str, predictor: StubPredictor) -> None:
    error = call(predictor, name, b"")
    assert error.code is ErrorCode.UNIMPLEMENTED
    assert "immutable bundle" in str(error)
