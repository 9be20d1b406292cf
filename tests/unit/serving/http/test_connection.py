# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_connection import FakeHttpServer, FakeTransport
from tests.support.stub_service import LIMITS, make_predictor
from tests.support.virtual_time import VirtualLoop, VirtualThread
from tests.support.virtual_time import run as run_in_virtual_time
from tidegate_serving.http.connection import LINGER_BYTES, LINGER_CHECKS, LINGER_INTERVAL
from tidegate_serving.http.head import MAX_HEAD_BYTES

PROBE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
PREDICT = b"POST /v1/models/test:predict HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"instances": [[1, 2]]}'
TOO_LARGE = PREDICT + b"Content-Length: %d\r\n\r\n" % (LIMITS.body_bytes + 1)
UNFINISHED = MAX_HEAD_BYTES + 1

Scenario = Callable[[FakeHttpServer, FakeTransport], Awaitable[None]]


def run(scenario: Scenario, *, fast_path: bool = True) -> None:
    """Run a scenario with one connection in virtual time, and verify that nothing leaks."""

    async def main(loop: VirtualLoop) -> None:
        predictor = make_predictor()
        predictor.service.close()
        predictor.service.batcher._thread = VirtualThread(loop)
        server = FakeHttpServer(predictor, fast_path=fast_path)
        connection = server.connect()
        await scenario(server, connection)
        connection.lose()
        await server.settle(connection)
        server.close()

    run_in_virtual_time(main)


def head(size: int, count: int, method: bytes) -> bytes:
    """Return a request whose target and headers have a size, in a number of equally long headers."""
    start = PREDICT + b"Content-Length: %d\r\n" % len(BODY) if method == b"POST" else PROBE[:-2]
    target, headers = start.split(b" ", 2)[1], start.split(b"\r\n")[1:-1]
    spare = size - len(target) - sum(len(header) - 2 for header in headers)
    lengths = [spare // count + (index < spare % count) for index in range(count)]
    return start + b"".join(b"n: %b\r\n" % (b"v" * (length - 1)) for length in lengths) + b"\r\n"


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
@given(
    size=st.integers(-2, 2).map(MAX_HEAD_BYTES.__add__) | st.integers(UNFINISHED, 4 * MAX_HEAD_BYTES),
    count=st.integers(1, 9),
    method=st.sampled_from([b"GET", b"POST"]),
    cuts=st.lists(st.integers(0, 4 * MAX_HEAD_BYTES), max_size=4).map(sorted),
)
@settings(max_examples=25)
def test_head_is_rejected_if_it_is_too_large(
    size: int, count: int, method: bytes, cuts: list[int], fast_path: bool
) -> None:
    request = head(size, count, method) + (BODY if method == b"POST" else b"")
    chunks = [request[a:b] for a, b in zip([0, *cuts], [*cuts, len(request)], strict=True) if request[a:b]]

    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        for chunk in chunks:
            connection.protocol.data_received(chunk)
            await server.settle(connection)
        (response,) = connection.responses
        assert response.status == (431 if size > MAX_HEAD_BYTES else 200)
        assert response.closes == (size > MAX_HEAD_BYTES)

    run(scenario, fast_path=fast_path)


@pytest.mark.parametrize("trailer", [b"n: v\r\n", b"n: " + b"v" * 1_000])
def test_trailers_without_an_end_close_the_connection(trailer: bytes) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(PREDICT + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.protocol.data_received(b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY))
        for _ in range(MAX_HEAD_BYTES // len(trailer)):
            connection.protocol.data_received(trailer)
        assert not connection.is_closing()
        connection.protocol.data_received(trailer * 2)
        assert connection.is_closing()
        await server.settle(connection)

    run(scenario)


@pytest.mark.parametrize("start", [b"GET /", b"POST /", PROBE + b"GET / HTTP/1.1\r\nX: ", PREDICT + b"X: "])
def test_head_without_an_end_is_rejected(start: bytes) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(start)
        for _ in range(UNFINISHED // 1_024 + 1):
            connection.protocol.data_received(b"x" * 1_024)
            await server.settle(connection)
        connection.protocol.data_received(b"x" * MAX_HEAD_BYTES)  # the fast path has buffered as much
        response = connection.responses[-1]
        assert (response.status, response.closes, connection.half_closed) == (431, True, True)
        assert "at most 65536 bytes" in response.json()["error"]

    run(scenario)


def test_head_without_an_end_waits_for_the_response_before_it() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        request = PREDICT + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        connection.protocol.data_received(request + b"GET / HTTP/1.1\r\nX: ")
        connection.protocol.data_received(b"x" * UNFINISHED)
        assert connection.reading_paused
        assert not connection.written
        await server.settle(connection)
        (response,) = connection.responses
        assert (response.status, response.closes, connection.half_closed) == (200, True, True)

    run(scenario)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
@pytest.mark.parametrize("extra", [0, 1])
def test_rest_of_a_rejected_body_is_read_up_to_a_limit(extra: int, fast_path: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(TOO_LARGE)
        await server.settle(connection)
        (response,) = connection.responses
        assert (response.status, response.closes, connection.half_closed) == (413, True, True)
        chunk = bytes(LINGER_BYTES // 4)
        for _ in range(4):
            assert not connection.closing
            connection.protocol.data_received(chunk)
        connection.protocol.data_received(bytes(extra))
        assert connection.closing == bool(extra)

    run(scenario, fast_path=fast_path)


def test_rest_of_a_rejected_body_has_a_limited_time() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        loop = asyncio.get_running_loop()
        connection.protocol.data_received(TOO_LARGE)
        await server.settle(connection)
        started = loop.time()
        while not connection.closing:
            connection.protocol.data_received(b"x")
            await asyncio.sleep(LINGER_INTERVAL / 2)
        assert loop.time() - started == pytest.approx(LINGER_CHECKS * LINGER_INTERVAL, abs=LINGER_INTERVAL)

    run(scenario)


def test_client_that_stops_sending_is_closed_after_an_interval() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        loop = asyncio.get_running_loop()
        connection.protocol.data_received(TOO_LARGE)
        await server.settle(connection)
        started = loop.time()
        await connection.wait_for_change()
        assert connection.closing
        assert loop.time() - started == pytest.approx(LINGER_INTERVAL)

    run(scenario)


def test_shutdown_lets_a_client_read_why_it_is_rejected() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        (protocol,) = server.state.connections
        connection.protocol.data_received(TOO_LARGE)
        await server.settle(connection)
        protocol.shutdown()
        assert not connection.closing
        assert not connection.protocol.eof_received()  # so that the transport closes
        connection.lose()
        assert not server.state.connections

    run(scenario)


def test_response_to_a_complete_request_closes_at_once() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport) -> None:
        connection.protocol.data_received(PROBE[:-2] + b"Connection: close\r\n\r\n")
        await server.settle(connection)
        assert connection.responses[0].closes
        assert connection.lost

    run(scenario)
