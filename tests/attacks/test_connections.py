# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Attacks on the connections of a live gRPC server, while another client calls it."""

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from tests.attacks.connections import FRAMES, RESETS, compression_bomb, long_headers
from tests.protocol.clients import SERVICE, infer_request, scrape
from tests.support.http2 import (
    MAX_WINDOW,
    PREFACE,
    ErrorCode,
    Flag,
    FrameType,
    Http2Connection,
    Setting,
    call_frames,
    call_headers,
    data_frame,
    encode_headers,
    frame,
    headers_frame,
    message,
    reset_frame,
    settings_frame,
    window_frame,
)
from tests.support.memory import MIB, measure_growth
from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.protocol.samples import sample_rows

MAX_GROWTH = 48 * MIB
"""Memory that an attack may cost the server at its peak."""

MAX_BODY_BYTES = 1_000_000
MIN_CALLS = 20
"""Calls of the other client, at least."""

FLOODS = RESETS | FRAMES


@pytest.fixture(scope="module")
def server(numeric_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    log = tmp_path_factory.mktemp("attacked") / "log"
    options = ("--max-body-bytes", str(MAX_BODY_BYTES), "--grpc-transport", "asyncio")
    with serving(numeric_bundle, log, *options) as live:
        yield live
    assert "Traceback" not in log.read_text()


@pytest.fixture
def request_bytes(server: LiveServer) -> bytes:
    """A message of 30 features and one row."""
    rows = sample_rows(server.bundle.contract, 1, seed=0)
    return bytes(infer_request(server, rows, raw=True).SerializeToString())


@pytest.fixture(autouse=True)
def bounded(server: LiveServer, request_bytes: bytes) -> Iterator[None]:
    """Limit the server's memory and its queue during a test, while another client's calls succeed."""
    with measure_growth(server.process.pid) as growth, other_client(server, request_bytes):
        yield
    assert growth.peak_bytes < MAX_GROWTH
    assert scrape(server)["tidegate_queue_depth_rows"][""] == 0
    with Http2Connection(server.grpc, {}) as connection:
        assert connection.call(1, "ModelInfer", request_bytes).status == "0"


@contextmanager
def other_client(server: LiveServer, request: bytes) -> Iterator[None]:
    """Make calls without pause on a channel of its own; a call that fails raises."""
    started, stopped = threading.Event(), threading.Event()

    def make_calls() -> None:
        with grpc.insecure_channel(server.grpc, options=[("grpc.enable_retries", 0)]) as channel:
            infer, calls = channel.unary_unary(f"{SERVICE}ModelInfer"), 0
            try:
                while not stopped.is_set() or calls < MIN_CALLS:
                    infer(request, timeout=20)
                    calls += 1
                    started.set()
            finally:
                started.set()

    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(make_calls)
        started.wait()
        try:
            yield
        finally:
            stopped.set()
        calls.result(60)


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "reads-nothing"])
def test_flood_ends_its_connection(name: str, reads: bool, server: LiveServer, request_bytes: bytes) -> None:
    flood = FLOODS[name]
    with Http2Connection(server.grpc, {}) as connection:
        connection.flood(flood.contents(request_bytes), reads=reads)
        assert connection.wait_for_end() in flood.codes


def test_compression_bomb_is_not_decoded(server: LiveServer) -> None:
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(compression_bomb())
        connection.wait(1)
        assert not connection.responses[1].content


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_long_headers_are_rejected_alone(size: int, server: LiveServer, request_bytes: bytes) -> None:
    """A proxy sends the calls of all its clients on one connection."""
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(b"".join(long_headers(size)))
        assert connection.wait(1).status in ("3", "8")
        assert connection.call(3, "ModelInfer", request_bytes).status == "0"


def test_endless_headers_end_the_connection(server: LiveServer) -> None:
    with Http2Connection(server.grpc, {}) as connection:
        connection.flood(long_headers(1_000_000))
        assert connection.wait_for_end() in (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.PROTOCOL_ERROR)


def test_closed_window_limits_the_calls(server: LiveServer, request_bytes: bytes) -> None:
    """A client that never opens its window keeps no more calls than the server's limit of streams."""
    with Http2Connection(server.grpc, {Setting.INITIAL_WINDOW_SIZE: 0}) as connection:
        connection.flood(call_frames(stream, "ModelInfer", request_bytes) for stream in range(1, 4001, 2))
        connection.wait_for_ping()
        sent = [response for response in connection.responses.values() if response.content]
        assert not sent


def test_client_that_reads_nothing_is_not_buffered(server: LiveServer) -> None:
    """Responses stay in the server only up to its own limits, and the client's window does not count."""
    rows = sample_rows(server.bundle.contract, 2000, seed=0)
    content = bytes(infer_request(server, rows, raw=True).SerializeToString())
    pieces = [content[start : start + 16_000] for start in range(0, len(content), 16_000)]

    def calls() -> Iterator[bytes]:
        for stream in range(1, 401, 2):
            yield headers_frame(stream, encode_headers(call_headers("ModelInfer")))
            yield data_frame(stream, message(b"", size=len(content)), 0)
            for piece in pieces[:-1]:
                yield data_frame(stream, piece, 0)
            yield data_frame(stream, pieces[-1])

    with Http2Connection(server.grpc, {Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW}) as connection:
        connection.send(window_frame(0, MAX_WINDOW - 65_535))
        connection.flood(calls(), reads=False)


@pytest.mark.parametrize("stream", [0, 1], ids=["connection", "stream"])
def test_window_above_its_maximum_is_an_error(stream: int, server: LiveServer) -> None:
    """From RFC 9113, section 6.9.1."""
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(headers_frame(1, encode_headers(call_headers("ModelInfer"))))
        connection.send(window_frame(stream, MAX_WINDOW))
        if stream:
            assert connection.wait(1).reset == ErrorCode.FLOW_CONTROL_ERROR
        else:
            assert connection.wait_for_end() == ErrorCode.FLOW_CONTROL_ERROR


def test_settings_that_overflow_a_window_are_an_error(server: LiveServer) -> None:
    """From RFC 9113, section 6.9.2."""
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(headers_frame(1, encode_headers(call_headers("ModelInfer"))))
        connection.send(window_frame(1, 1000))
        connection.send(settings_frame({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW}))
        assert connection.wait_for_end() == ErrorCode.FLOW_CONTROL_ERROR


def test_data_beyond_the_servers_window_is_an_error(server: LiveServer) -> None:
    """A client that ignores the server's windows. From RFC 9113, section 6.9."""

    def too_much() -> Iterator[bytes]:
        yield headers_frame(1, encode_headers(call_headers("ModelInfer")))
        yield data_frame(1, message(b"", size=MAX_BODY_BYTES), 0)
        for _ in range(4 * MAX_BODY_BYTES // 16_384):
            yield data_frame(1, bytes(16_384), 0)

    with Http2Connection(server.grpc, {}) as connection:
        connection.flood(too_much())
        connection.wait(1)
        codes = connection.goaway, connection.responses[1].reset, connection.responses[1].status
        assert codes[0] == ErrorCode.FLOW_CONTROL_ERROR or codes[1] is not None or codes[2] not in (None, "0")


def test_announced_4_gib_are_rejected_at_once(server: LiveServer) -> None:
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(headers_frame(1, encode_headers(call_headers("ModelInfer"))))
        connection.send(data_frame(1, message(bytes(100), size=2**32 - 1), 0))
        response = connection.wait(1)
        assert response.status in (str(grpc.StatusCode.INVALID_ARGUMENT.value[0]), "8")
        assert connection.call(3, "ServerLive", b"").status == "0"


def test_decompression_bomb_is_rejected(server: LiveServer) -> None:
    bomb = gzip.compress(bytes(100 * MIB))
    fields = call_headers("ModelInfer", ("grpc-encoding", "gzip"))
    pieces = [bomb[start : start + 16_000] for start in range(0, len(bomb), 16_000)]
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(headers_frame(1, encode_headers(fields)))
        connection.send(data_frame(1, message(b"", compressed=True, size=len(bomb)), 0))
        connection.flood(
            data_frame(1, piece, Flag.END_STREAM if piece is pieces[-1] else 0) for piece in pieces
        )
        assert connection.wait(1).status in (str(grpc.StatusCode.INVALID_ARGUMENT.value[0]), "8", "12")
        assert connection.call(3, "ServerLive", b"").status == "0"


def test_silent_connections_cost_little(server: LiveServer, request_bytes: bytes) -> None:
    """Clients that connect and send nothing, a part of the preface, or a part of a frame."""
    beginnings = (
        b"",
        PREFACE[:10],
        PREFACE,
        PREFACE + settings_frame({}) + frame(FrameType.HEADERS, 0, 1, b"\x00" * 50)[:20],
    )
    with ExitStack() as connections:
        for number in range(400):
            connection = connections.enter_context(Http2Connection(server.grpc))
            connection.send(beginnings[number % len(beginnings)])
        with Http2Connection(server.grpc, {}) as connection:
            assert connection.call(1, "ModelInfer", request_bytes).status == "0"


def test_data_on_a_closed_stream_keeps_the_window(server: LiveServer, request_bytes: bytes) -> None:
    """Data after a reset count in the connection's window, which the server must open again, or it ends.

    From RFC 9113, sections 5.1 and 6.9.
    """
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(headers_frame(1, encode_headers(call_headers("ModelInfer"))) + reset_frame(1))
        if connection.flood(data_frame(1, bytes(8192), 0) for _ in range(64)):
            response = connection.call(3, "ModelInfer", request_bytes)
            assert response.status == "0" or connection.goaway in (
                ErrorCode.STREAM_CLOSED,
                ErrorCode.ENHANCE_YOUR_CALM,
                ErrorCode.FLOW_CONTROL_ERROR,
            )
        else:
            assert connection.wait_for_end() in (ErrorCode.STREAM_CLOSED, ErrorCode.ENHANCE_YOUR_CALM)
