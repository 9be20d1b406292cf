# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
import re
import struct
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from tests.support.fake_connection import FakeHttpServer, FakeTransport, wait_until
from tests.support.stub_service import BlockingEngine, FailingEngine, make_predictor
from tidegate.batch import Array, Batch
from tidegate_serving.codecs.request import Limits
from tidegate_serving.engines.base import OutputNames
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.http.fastpath import FastPathProtocol
from tidegate_serving.http.responses import CONNECTION_CLOSE

V1_PATH, V2_PATH = "/v1/models/test:predict", "/v2/models/test/infer"
MAX_AGE, JITTER = 60, 6
LARGE_BODY_BYTES = 1 << 20
LARGE_HEAD = (
    f"POST {V2_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    f"Inference-Header-Content-Length: 2\r\nContent-Length: {LARGE_BODY_BYTES}\r\n\r\n"
).encode()


def post(body: bytes, path: str = V1_PATH) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def v1_request(value: Any) -> bytes:
    return post(json.dumps({"instances": [[value, 0.5]]}).encode())


def v2_request(**more: Any) -> bytes:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, None]}
    return post(json.dumps({"inputs": [entry], **more}).encode(), V2_PATH)


def binary_request(*values: float) -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    entry = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, len(values)],
        "parameters": {"binary_data_size": len(raw)},
    }
    content = json.dumps({"inputs": [entry]}).encode()
    head, separator, body = post(content + raw, V2_PATH).partition(b"\r\n\r\n")
    lines = f"\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(content)}"
    return head + lines.encode() + separator + body


REQUEST = v1_request(1)
BINARY_REQUEST = binary_request(3, 0.5)
PROBE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"

Scenario = Callable[[FakeHttpServer, FakeTransport], Awaitable[None]]


def run(scenario: Scenario, *, fast_path: bool = True, **options: Any) -> None:
    """Run a scenario with one connection, and verify that nothing leaks."""

    async def main() -> None:
        server = FakeHttpServer(make_predictor(**options), fast_path=fast_path)
        connection = server.connect()
        await asyncio.wait_for(scenario(server, connection), 60)
        connection.lose()
        await server.settle(connection)
        server.close()

    asyncio.run(main())


def protocol_of(connection: FakeTransport) -> FastPathProtocol:
    assert isinstance(connection.protocol, FastPathProtocol)
    return connection.protocol


def test_plain_request_bypasses_the_framework() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        for request in (REQUEST, v2_request()):
            connection.protocol.data_received(request)
            assert not server.state.tasks
            assert protocol_of(connection).cycle is None
            await server.settle(connection)
        assert [response.status for response in connection.responses] == [200, 200]

    run(scenario)


def test_binary_outputs_have_the_length_of_their_json() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(v2_request(parameters={"binary_data_output": True}))
        await server.settle(connection)
        (response,) = connection.responses
        assert response.headers["content-type"] == "application/octet-stream"
        json_length = int(response.headers["inference-header-content-length"])
        outputs = json.loads(response.body[:json_length])["outputs"]
        sizes = [output["parameters"]["binary_data_size"] for output in outputs]
        assert sum(sizes) == len(response.body) - json_length > 0

    run(scenario)


@pytest.mark.parametrize("cuts", [(10, 50), (-8,), (-9,), (-4, -1)], ids=str)
def test_request_in_chunks_has_the_same_response(cuts: tuple[int, ...]) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        for start, end in pairwise([0, *(cut % len(BINARY_REQUEST) for cut in cuts), len(BINARY_REQUEST)]):
            assert not connection.written
            connection.protocol.data_received(BINARY_REQUEST[start:end])
        await server.settle(connection)
        (response,) = connection.responses
        assert response.status == 200
        assert response.json()["outputs"][0]["data"] == [6]
        assert protocol_of(connection).cycle is None

    run(scenario)


def test_request_that_ends_when_not_ready_is_503() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(BINARY_REQUEST[:-1])
        server.predictor.ready = False
        connection.protocol.data_received(BINARY_REQUEST[-1:])
        await server.settle(connection)
        assert connection.responses[0].status == 503

    run(scenario)


def test_invalid_row_is_rejected_alone_in_its_batch() -> None:
    async def scenario(server: FakeHttpServer, _: FakeTransport) -> None:
        values = [1, True, 2, None, 3]
        connections = [server.connect() for _ in values]
        for connection, value in zip(connections, values, strict=True):
            connection.protocol.data_received(v1_request(value))
        assert server.predictor.service.batcher.queued_rows == 5
        for connection in connections:
            await server.settle(connection)
        responses = [connection.responses[0] for connection in connections]
        assert [response.status for response in responses] == [200, 400, 200, 400, 200]
        assert [responses[i].json()["predictions"] for i in (0, 2, 4)] == [[2], [4], [6]]
        assert "received true" in responses[1].json()["error"]
        for connection in connections:
            connection.lose()

    run(scenario)


def test_engine_failure_is_500_without_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(REQUEST)
        await server.settle(connection)
        (response,) = connection.responses
        assert response.status == 500
        assert "secret" not in response.json()["error"]
        assert server.predictor.counts("tidegate_requests_rejected_total") == {("internal",): 1}

    run(scenario, engine=FailingEngine())
    assert "secret cause" in caplog.text


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
def test_probes_are_served_while_the_engine_runs(fast_path: bool) -> None:
    engine = BlockingEngine()

    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        other = server.connect()
        connection.protocol.data_received(REQUEST)
        await asyncio.to_thread(engine.started.wait, 50)
        other.protocol.data_received(PROBE)
        await wait_until(lambda: bool(other.written))
        assert other.responses[0].status == 200
        assert not connection.written
        engine.released.set()
        await server.settle(connection)
        assert connection.responses[0].status == 200
        other.lose()

    run(scenario, fast_path=fast_path, engine=engine)


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("chunked", [False, True])
def test_request_without_its_body_is_not_in_flight(chunked: bool, fast_path: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        in_flight, request = server.predictor.metrics.in_flight, REQUEST
        if chunked:
            head, _, body = REQUEST.partition(b"\r\n\r\n")
            head = re.sub(rb"(?i)content-length: \d+", b"transfer-encoding: chunked", head)
            request = b"%b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)
        connection.protocol.data_received(request[:-8])
        await server.settle(connection)
        assert (in_flight.count, in_flight.started) == (0, 0)
        connection.protocol.data_received(request[-8:])
        await server.settle(connection)
        assert (in_flight.count, in_flight.started) == (0, 1)
        assert connection.responses[0].status == 200

    run(scenario, fast_path=fast_path)


def test_bytes_during_a_request_wait_for_its_response() -> None:
    engine = BlockingEngine()

    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(REQUEST)
        await asyncio.to_thread(engine.started.wait, 50)
        connection.protocol.data_received(PROBE)
        assert connection.reading_paused
        engine.released.set()
        await server.settle(connection)
        assert not connection.reading_paused
        first, second = connection.responses
        assert "predictions" in first.json()
        assert second.json() == {"live": True}

    run(scenario, engine=engine)


class CountingEngine(BlockingEngine):
    """Counts the rows."""

    rows = 0

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, Array]:
        self.rows += len(batch)
        return super().run(batch, output_names)


@pytest.mark.parametrize("fast_path", [True, False])
def test_request_of_a_disconnected_client_is_not_computed(fast_path: bool) -> None:
    engine = CountingEngine()

    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        batcher = server.predictor.service.batcher

        def responses() -> dict[tuple[str, ...], float]:
            return server.predictor.counts("tidegate_requests_total")

        connection.protocol.data_received(REQUEST)
        await asyncio.to_thread(engine.started.wait, 50)
        other = server.connect()
        other.protocol.data_received(REQUEST)
        await wait_until(lambda: batcher.queued_rows == 1)
        other.lose()
        await wait_until(lambda: responses() == {("499", "v1"): 1})
        engine.released.set()
        await server.settle(connection)
        assert engine.rows == 1
        assert not other.written
        assert responses() == {("200", "v1"): 1, ("499", "v1"): 1}

    run(scenario, fast_path=fast_path, engine=engine)


@pytest.mark.parametrize("half_closed", [False, True])
def test_disconnected_client_is_counted_as_499(half_closed: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(REQUEST)
        # A client that closes one side has usually gone; under overload most work would be for such clients.
        if not half_closed or not connection.protocol.eof_received():
            connection.lose()
        await wait_until(lambda: server.predictor.service.batcher.queued_rows == 0)
        assert connection.written == b""
        assert server.predictor.counts("tidegate_requests_total") == {("499", "v1"): 1}

    run(scenario)


def test_paused_writing_pauses_reading() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(REQUEST)
        await server.settle(connection)
        connection.protocol.pause_writing()
        assert connection.reading_paused
        connection.protocol.resume_writing()
        assert not connection.reading_paused

    run(scenario)


def reject_all(server: FakeHttpServer) -> None:
    """Let admission reject every request."""

    def reject(now: float) -> None:
        raise RequestError("Server overloaded.", ErrorCode.RESOURCE_EXHAUSTED)

    server.fast_path.lane.reject_if_overloaded = reject  # type: ignore[method-assign]
    server.fast_path.lane.rejection_seconds = 1e-3


@pytest.mark.parametrize("fast_path", [True, False])
def test_rejection_is_held_and_delays_the_next_request(fast_path: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        reject_all(server)
        for _ in range(2):  # a client that does not wait, and retries at once
            connection.protocol.data_received(REQUEST)
        assert not connection.written
        await connection.wait_for_change()
        assert [response.status for response in connection.responses] == [429]
        await connection.wait_for_change()
        assert [response.status for response in connection.responses] == [429, 429]
        assert connection.responses[0].headers["retry-after"] == "1"

    run(scenario, fast_path=fast_path)


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("chunks", [1, 4])
def test_held_rejection_keeps_no_body(chunks: int, fast_path: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        reject_all(server)
        server.fast_path.lane.rejection_seconds = 60.0
        tracemalloc.start()
        for _ in range(10):
            other, request = server.connect(), b"%b%b" % (LARGE_HEAD, bytes(LARGE_BODY_BYTES))
            step = len(request) // chunks + 1
            for start in range(0, len(request), step):
                other.protocol.data_received(request[start : start + step])
            for _ in range(20):
                await asyncio.sleep(0)
            assert server.predictor.metrics.in_flight.count
            held.append(other)
        del request
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < LARGE_BODY_BYTES
        for other in held:
            assert not other.written
            other.lose()
        tasks = list(server.state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    held: list[FakeTransport] = []
    run(scenario, fast_path=fast_path, limits=Limits(body_bytes=LARGE_BODY_BYTES))


def test_rejection_after_a_disconnection_is_not_sent() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        reject_all(server)
        connection.protocol.data_received(REQUEST)
        connection.lose()
        other = server.connect()
        other.protocol.data_received(REQUEST)  # its rejection is due after the first
        await other.wait_for_change()
        assert not connection.written
        other.lose()

    run(scenario)


def test_response_during_the_drain_closes_the_connection() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        server.state.default_headers.append(CONNECTION_CLOSE)
        connection.protocol.data_received(REQUEST)
        await server.settle(connection)
        (response,) = connection.responses
        assert response.status == 200
        assert response.closes
        assert connection.lost

    run(scenario)


@pytest.mark.parametrize("received", [len(REQUEST), len(REQUEST) - 3, 20])
def test_shutdown_closes_after_the_request_that_has_begun(received: int) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(REQUEST[:received])
        protocol_of(connection).shutdown()
        assert not connection.closing
        if received < len(REQUEST):
            connection.protocol.data_received(REQUEST[received:])
        await server.settle(connection)
        (response,) = connection.responses
        assert response.status == 200
        assert response.closes
        assert connection.lost

    run(scenario)


def test_shutdown_closes_an_idle_connection() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        protocol_of(connection).shutdown()
        assert connection.closing

    run(scenario)


@pytest.mark.parametrize("request_", [REQUEST, PROBE], ids=["fast-path", "framework"])
def test_connection_of_maximum_age_closes_after_a_response(request_: bytes) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        protocol, opened_at = protocol_of(connection), server.fast_path.timeouts.now
        protocol.timeout_keep_alive = 1_000
        protocol.check_timeouts(opened_at + MAX_AGE - JITTER - 1)
        connection.protocol.data_received(request_)
        await server.settle(connection)
        assert "connection" not in connection.responses[0].headers
        protocol.check_timeouts(opened_at + MAX_AGE + JITTER + 1)
        assert not connection.closing
        connection.protocol.data_received(request_)
        await server.settle(connection)
        assert connection.responses[1].closes
        assert connection.lost

    run(scenario)


@pytest.mark.parametrize("received", [b"", REQUEST[:20], REQUEST[:-3], REQUEST])
def test_idle_connection_closes_after_the_keep_alive_timeout(received: bytes) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        if received:
            connection.protocol.data_received(received)
        await server.settle(connection)
        protocol = protocol_of(connection)
        now = protocol._last_activity  # a sweep since then would have moved the timeouts' clock
        protocol.check_timeouts(now + protocol.timeout_keep_alive)
        assert not connection.closing
        protocol.check_timeouts(now + protocol.timeout_keep_alive + 1)
        assert connection.closing

    run(scenario)


def test_connection_in_a_request_outlives_the_keep_alive_timeout() -> None:
    engine = BlockingEngine()

    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(REQUEST)
        await asyncio.to_thread(engine.started.wait, 50)
        protocol = protocol_of(connection)
        protocol.check_timeouts(server.fast_path.timeouts.now + protocol.timeout_keep_alive + 1)
        assert not connection.closing
        engine.released.set()
        await server.settle(connection)

    run(scenario, engine=engine)


def test_connection_is_noted_by_the_batcher() -> None:
    async def main() -> None:
        predictor = make_predictor()
        server = FakeHttpServer(predictor)
        connection = server.connect()
        assert predictor.service.batcher._accepted
        connection.lose()
        await server.settle(connection)
        server.close()

    asyncio.run(main())
