# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.http2 import Frame
from tests.support.http2_client import HEAD_FIELDS, Http2Client
from tidegate_serving.grpc.http2 import frames
from tidegate_serving.grpc.http2.connection import Stream
from tidegate_serving.grpc.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    MAX_FRAME_BYTES,
    MAX_WINDOW,
    PADDED,
    PREFACE,
    PRIORITIZED,
    ErrorCode,
    frame,
)
from tidegate_serving.grpc.http2.headers import Headers
from tidegate_serving.grpc.http2.hpack import encode
from tidegate_serving.grpc.http2.limits import (
    CLOSE_SECONDS,
    CONNECTION_WINDOW,
    HANDSHAKE_SECONDS,
    LINGER_BYTES,
    MAX_CONCURRENT_STREAMS,
    MAX_CONTINUATIONS,
    MAX_CONTROL_FRAMES,
    MAX_RESETS,
    PING_SECONDS,
    STALL_SECONDS,
)

HEAD, TRAILERS = encode([(":status", "200")]), encode([("grpc-status", "0")])
EMPTY_SETTINGS = frames.settings(())


class Request:
    """A request, as the application receives it."""

    def __init__(self, stream: Stream, headers: Headers) -> None:
        self.stream = stream
        self.headers = headers
        self.body = b""
        self.ended = False
        self.cancelled = 0

    def receive(self, content: bytes, ended: bool) -> None:
        assert not self.ended
        self.body += content
        self.ended = ended

    def cancel(self) -> None:
        self.cancelled += 1


class RecordingApplication:
    """Records requests. The test sends their responses."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.rejected: list[Stream] = []

    def start(self, stream: Stream, headers: Headers) -> Request:
        self.requests.append(Request(stream, headers))
        return self.requests[-1]

    def reject_headers(self, stream: Stream) -> None:
        self.rejected.append(stream)
        stream.respond(HEAD)


Scenario = Callable[[Http2Client, RecordingApplication], None]


def run(scenario: Scenario, **options: Any) -> None:
    async def main() -> None:
        application = RecordingApplication()
        client = Http2Client(application, **options)
        scenario(client, application)
        client.transport.lose()
        assert not client.connections.open
        assert len(client.connections.timeouts) == 0
        assert not client.connection._streams

    asyncio.run(main())


def kinds(each: list[Frame]) -> list[int]:
    return [one.kind for one in each]


# Requests and responses


def test_preface_announces_the_limits() -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        settings, window = client.preface
        assert (
            frames.parse_settings(settings.payload)[frames.MAX_CONCURRENT_STREAMS] == MAX_CONCURRENT_STREAMS
        )
        assert int.from_bytes(window.payload) == CONNECTION_WINDOW - frames.DEFAULT_WINDOW

    run(scenario)


def test_request_and_response_pass_through() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1, b"hello"))
        (request,) = application.requests
        assert request.headers[":path"] == "/a"
        assert (request.body, request.ended) == (b"hello", True)
        assert request.stream.respond(HEAD, b"world", TRAILERS)
        head, data, trailers = client.read()
        assert client.fields(head) == {":status": "200"}
        assert (data.kind, data.flags, data.payload) == (frames.DATA, 0, b"world")
        assert client.fields(trailers) == {"grpc-status": "0"}
        assert trailers.flags & END_STREAM
        assert {each.stream for each in (head, data, trailers)} == {1}
        assert not request.stream.respond(HEAD)
        assert request.cancelled == 0

    run(scenario)


@given(st.lists(st.integers(1, 60), max_size=12), st.booleans())
def test_frames_in_arbitrary_pieces_are_the_same(sizes: list[int], byte_by_byte: bool) -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        content = PREFACE + EMPTY_SETTINGS + client.request(1, b"hello")
        content += client.headers(3) + frame(frames.DATA, 0, 3, b"x" * 40) + frame(frames.DATA, END_STREAM, 3)
        content += frame(frames.PING, 0, 0, b"12345678")
        for size in [1] * len(content) if byte_by_byte else [*sizes, len(content)]:
            client.write(content[:size])
            content = content[size:]
        assert [each.body for each in application.requests] == [b"hello", b"x" * 40]
        assert all(each.ended for each in application.requests)
        assert kinds(client.read()) == [frames.SETTINGS, frames.PING]

    run(scenario, handshake=False)


def test_header_block_in_continuations_with_padding_and_priority() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        block = client.block(HEAD_FIELDS)
        head = b"\x02" + b"\0\0\0\0\x10" + block[:3] + b"\0\0"
        flags = END_STREAM | PADDED | PRIORITIZED
        client.write(frame(frames.HEADERS, flags, 1, head) + frame(frames.CONTINUATION, 0, 1, block[3:5]))
        assert not application.requests
        client.write(frame(frames.CONTINUATION, END_HEADERS, 1, block[5:]))
        (request,) = application.requests
        assert request.headers == dict(HEAD_FIELDS)
        assert request.ended

    run(scenario)


def test_padding_of_data_is_returned_to_the_window() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.headers(1) + frame(frames.DATA, PADDED, 1, b"\x03abc\0\0\0"))
        assert application.requests[0].body == b"abc"
        (update,) = client.read()
        assert (update.stream, int.from_bytes(update.payload)) == (1, 4)

    run(scenario)


def test_trailers_end_a_request() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.headers(1) + client.headers(1, [("a", "b")], END_STREAM))
        assert application.requests[0].ended

    run(scenario)


def test_response_before_the_end_of_a_request_stops_the_client() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.headers(1))
        application.requests[0].stream.respond(HEAD)
        head, reset = client.read()
        assert head.flags & END_STREAM
        assert (reset.kind, reset.error_code) == (frames.RST_STREAM, ErrorCode.NO_ERROR)
        client.write(frame(frames.DATA, END_STREAM, 1, b"late"))
        assert client.read() == []

    run(scenario)


def test_large_headers_are_rejected_and_the_connection_continues() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        large = [(f"key-{number}", "a" * 4_000) for number in range(5)]
        block = client.block([*HEAD_FIELDS, *large])
        client.write(frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, block))
        assert len(application.rejected) == 1
        client.write(client.request(3))
        assert len(application.requests) == 1

    run(scenario)


# Cancellation


def test_reset_cancels_the_request_once() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1) + frames.rst_stream(1, ErrorCode.CANCEL))
        client.write(frames.rst_stream(1, ErrorCode.CANCEL))
        (request,) = application.requests
        assert not request.stream.respond(HEAD)
        client.transport.lose()
        assert request.cancelled == 1
        assert client.read() == []

    run(scenario)


def test_disconnection_cancels_requests_without_a_response() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1) + client.headers(3) + client.request(5))
        application.requests[2].stream.respond(HEAD)
        client.transport.lose()
        assert [each.cancelled for each in application.requests] == [1, 1, 0]

    run(scenario)


def test_response_on_a_closing_connection_is_not_sent() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        client.transport.closing = True
        assert not application.requests[0].stream.respond(HEAD)
        client.transport.lose()
        assert application.requests[0].cancelled == 0

    run(scenario)


# Flow control


@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.sampled_from([0, 1, 3]), st.integers(1, 50)), max_size=30),
    st.integers(1, 60),
    st.booleans(),
)
def test_responses_keep_to_the_windows(
    window: int, updates: list[tuple[int, int]], size: int, with_trailers: bool
) -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        limits = {0: frames.DEFAULT_WINDOW, 1: window, 3: window}
        sent = {1: b"", 3: b""}
        ended: set[int] = set()
        body = bytes(range(size))

        def read() -> None:
            for each in client.read():
                if each.kind == frames.DATA:
                    sent[each.stream] += each.payload
                if each.flags & END_STREAM:
                    ended.add(each.stream)
            for stream in (1, 3):
                assert len(sent[stream]) <= limits[stream]
                assert body.startswith(sent[stream])
                assert (stream in ended) == (sent[stream] == body)
                assert len(sent[stream]) == min(size, limits[stream])

        client.write(client.request(1) + client.request(3))
        for request in application.requests:
            request.stream.respond(HEAD, body, TRAILERS if with_trailers else b"")
        read()
        for stream, increment in updates:
            limits[stream] += increment
            client.write(frames.window_update(stream, increment))
            read()

    run(scenario, window=window)


def test_response_waits_for_the_connections_window() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        application.requests[0].stream.respond(HEAD, bytes(70_000), TRAILERS)
        sent = [len(each.payload) for each in client.read() if each.kind == frames.DATA]
        assert sum(sent) == frames.DEFAULT_WINDOW
        assert max(sent) <= MAX_FRAME_BYTES
        client.write(frames.window_update(0, 5_000))
        data, trailers = client.read()
        assert len(data.payload) == 70_000 - frames.DEFAULT_WINDOW
        assert trailers.flags & END_STREAM

    run(scenario, window=1 << 20)


def test_smaller_initial_window_makes_windows_negative() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        application.requests[0].stream.respond(HEAD, bytes(20), TRAILERS)
        client.read()
        client.write(frames.settings(((frames.INITIAL_WINDOW_SIZE, 3),)) + frames.window_update(1, 7))
        assert kinds(client.read()) == [frames.SETTINGS]
        client.write(frames.window_update(1, 1))
        (data,) = client.read()
        assert len(data.payload) == 1

    run(scenario, window=10)


def test_settings_are_confirmed_before_what_they_allow() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        application.requests[0].stream.respond(HEAD, b"x", TRAILERS)
        client.read()
        client.write(frames.settings(((frames.INITIAL_WINDOW_SIZE, 3),)))
        assert kinds(client.read()) == [frames.SETTINGS, frames.DATA, frames.HEADERS]

    run(scenario, window=0)


def test_smaller_dynamic_table_is_confirmed_by_the_next_head() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(
            frames.settings(((frames.HEADER_TABLE_SIZE, 0),)) + client.request(1) + client.request(3)
        )
        for request in application.requests:
            request.stream.respond(HEAD)
        _, first, second = client.read()
        assert (first.payload, second.payload) == (b"\x20" + HEAD, HEAD)

    run(scenario)


def test_connections_window_is_renewed() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.headers(1))
        application.requests[0].stream.enlarge_window(CONNECTION_WINDOW)
        client.read()
        data = frame(frames.DATA, 0, 1, bytes(MAX_FRAME_BYTES))
        client.write(data * (CONNECTION_WINDOW // MAX_FRAME_BYTES))
        renewed = sum(int.from_bytes(each.payload) for each in client.read() if each.stream == 0)
        assert renewed > CONNECTION_WINDOW // 2

    run(scenario, max_enlarged_bytes=CONNECTION_WINDOW)


def test_windows_of_long_bodies_are_enlarged_in_turn() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.headers(1) + client.headers(3) + client.headers(5))
        for request, size in zip(application.requests, (60, 50, 40), strict=True):
            request.stream.enlarge_window(size)
        assert [(each.stream, int.from_bytes(each.payload)) for each in client.read()] == [(1, 60)]
        application.requests[0].stream.respond(HEAD)
        updates = [each for each in client.read() if each.kind == frames.WINDOW_UPDATE]
        assert [(each.stream, int.from_bytes(each.payload)) for each in updates] == [(3, 50), (5, 40)]

    run(scenario, max_enlarged_bytes=100)


def test_data_beyond_the_window_resets_the_stream() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.headers(1) + frame(frames.DATA, 0, 1, bytes(MAX_FRAME_BYTES)) * 4)
        (reset,) = client.read()
        assert (reset.kind, reset.error_code) == (frames.RST_STREAM, ErrorCode.FLOW_CONTROL_ERROR)
        assert application.requests[0].cancelled == 1

    run(scenario)


def test_client_that_does_not_read_is_not_read() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        client.connection.pause_writing()
        assert client.transport.reading_paused
        application.requests[0].stream.respond(HEAD, bytes(70_000), TRAILERS)
        assert kinds(client.read()) == [frames.HEADERS]
        client.connection.resume_writing()
        assert not client.transport.reading_paused
        assert frames.DATA in kinds(client.read())

    run(scenario, window=1 << 20)


# Violations of the protocol

CONNECTION_ERRORS = {
    "even stream": (lambda c: c.headers(2), ErrorCode.PROTOCOL_ERROR),
    "stream 0": (lambda c: c.headers(0), ErrorCode.PROTOCOL_ERROR),
    "lower stream": (lambda c: c.headers(5) + c.headers(3), ErrorCode.PROTOCOL_ERROR),
    "closed stream": (
        lambda c: c.request(1) + frames.rst_stream(1, 8) + c.headers(1),
        ErrorCode.STREAM_CLOSED,
    ),
    "block": (lambda c: frame(frames.HEADERS, END_HEADERS, 1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "padding": (lambda c: frame(frames.HEADERS, PADDED, 1, b"\x05ab"), ErrorCode.PROTOCOL_ERROR),
    "priority": (lambda c: frame(frames.HEADERS, PRIORITIZED, 1, b"ab"), ErrorCode.FRAME_SIZE_ERROR),
    "continuation": (lambda c: frame(frames.CONTINUATION, 4, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "other continuation": (
        lambda c: frame(frames.HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 4, 3, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "interrupted block": (
        lambda c: frame(frames.HEADERS, 0, 1, b"") + frame(frames.PING, 0, 0, bytes(8)),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "unknown frame in a block": (
        lambda c: frame(frames.HEADERS, 0, 1, b"") + frame(0x20, 0, 1, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "data on stream 0": (lambda c: frame(frames.DATA, 0, 0, b"a"), ErrorCode.PROTOCOL_ERROR),
    "data on an idle stream": (lambda c: frame(frames.DATA, 0, 1, b"a"), ErrorCode.PROTOCOL_ERROR),
    "padding of data": (
        lambda c: c.headers(1) + frame(frames.DATA, PADDED, 1, b"\x04abc"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "no padding length": (
        lambda c: c.headers(1) + frame(frames.DATA, PADDED, 1, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "long frame": (lambda c: b"\0\x40\x01\0\0\0\0\0\1", ErrorCode.FRAME_SIZE_ERROR),
    "reset of an idle stream": (lambda c: frames.rst_stream(1, 8), ErrorCode.PROTOCOL_ERROR),
    "reset of stream 0": (lambda c: frames.rst_stream(0, 8), ErrorCode.PROTOCOL_ERROR),
    "short reset": (
        lambda c: c.headers(1) + frame(frames.RST_STREAM, 0, 1, b"a"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "settings of a stream": (lambda c: frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "short settings": (lambda c: frame(frames.SETTINGS, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "full ack": (lambda c: frame(frames.SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "push": (lambda c: frames.settings(((frames.ENABLE_PUSH, 2),)), ErrorCode.PROTOCOL_ERROR),
    "frame size": (lambda c: frames.settings(((frames.MAX_FRAME_SIZE, 9),)), ErrorCode.PROTOCOL_ERROR),
    "initial window": (
        lambda c: frames.settings(((frames.INITIAL_WINDOW_SIZE, 1 << 31),)),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "changed window": (
        lambda c: (
            c.headers(1)
            + frames.window_update(1, MAX_WINDOW - 65_535)
            + frames.settings(((frames.INITIAL_WINDOW_SIZE, 65_536),))
        ),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "push promise": (lambda c: frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "ping of a stream": (lambda c: frame(frames.PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "short ping": (lambda c: frame(frames.PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "goaway of a stream": (lambda c: frame(frames.GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "short goaway": (lambda c: frame(frames.GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "priority of an idle stream": (
        lambda c: frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "short priority": (lambda c: frame(frames.PRIORITY, 0, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
    "priority of stream 0": (lambda c: frame(frames.PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "window of 0": (lambda c: frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
    "large window": (lambda c: frames.window_update(0, MAX_WINDOW), ErrorCode.FLOW_CONTROL_ERROR),
    "window of an idle stream": (lambda c: frames.window_update(1, 1), ErrorCode.PROTOCOL_ERROR),
    "short window": (lambda c: frame(frames.WINDOW_UPDATE, 0, 0, b"a"), ErrorCode.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_violation_ends_the_connection(name: str) -> None:
    violate, code = CONNECTION_ERRORS[name]

    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.write(violate(client) + frame(frames.PING, 0, 0, bytes(8)))
        goaway = client.read()[-1]
        assert (goaway.kind, goaway.error_code) == (frames.GOAWAY, code)
        assert client.transport.half_closed

    run(scenario)


STREAM_ERRORS = {
    "malformed head": (lambda c: c.headers(1, [(":method", "POST")]), ErrorCode.PROTOCOL_ERROR),
    "own dependency": (
        lambda c: frame(frames.HEADERS, END_HEADERS | PRIORITIZED, 1, b"\0\0\0\1\0" + c.block(HEAD_FIELDS)),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "own dependency later": (
        lambda c: c.headers(1) + frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "long priority": (
        lambda c: c.headers(1) + frame(frames.PRIORITY, 0, 1, bytes(6)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "data after the end": (
        lambda c: c.request(1) + frame(frames.DATA, 0, 1, b"a"),
        ErrorCode.STREAM_CLOSED,
    ),
    "head after the end": (lambda c: c.request(1) + c.headers(1), ErrorCode.STREAM_CLOSED),
    "trailers without an end": (
        lambda c: c.headers(1) + c.headers(1, [("a", "b")]),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "pseudo-header in trailers": (
        lambda c: c.headers(1) + c.headers(1, [(":path", "/")], END_STREAM),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "long body": (
        lambda c: c.request(1, b"ab", [*HEAD_FIELDS, ("content-length", "1")]),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "short body": (
        lambda c: c.request(1, b"", [*HEAD_FIELDS, ("content-length", "1")]),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "no body": (
        lambda c: c.headers(1, [*HEAD_FIELDS, ("content-length", "1")], END_STREAM),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "length": (lambda c: c.headers(1, [*HEAD_FIELDS, ("content-length", "-1")]), ErrorCode.PROTOCOL_ERROR),
    "window of 0": (lambda c: c.headers(1) + frames.window_update(1, 0), ErrorCode.PROTOCOL_ERROR),
    "large window": (
        lambda c: c.headers(1) + frames.window_update(1, MAX_WINDOW),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_violation_resets_the_stream(name: str) -> None:
    violate, code = STREAM_ERRORS[name]

    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(violate(client))
        (reset,) = client.read()
        assert (reset.kind, reset.stream, reset.error_code) == (frames.RST_STREAM, 1, code)
        assert all(each.cancelled == 1 for each in application.requests)
        application.requests.clear()
        client.write(client.request(3, b"next"))
        assert application.requests[0].body == b"next"

    run(scenario)


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE + frame(frames.PING, 0, 0, bytes(8)),
        PREFACE + frame(frames.SETTINGS, ACK, 0),
    ],
)
def test_other_preface_ends_the_connection(content: bytes) -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.write(content)
        (goaway,) = client.read()
        assert (goaway.kind, goaway.error_code) == (frames.GOAWAY, ErrorCode.PROTOCOL_ERROR)
        assert client.transport.half_closed
        client.write(bytes(LINGER_BYTES))
        assert not client.transport.closing
        client.write(b"x")
        assert client.transport.closing

    run(scenario, handshake=False)


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_end_in_a_close_or_wait(content: bytes, handshake: bool) -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(content)
        client.write(client.request(2**31 - 1, b"x"))
        client.read()

    run(scenario, handshake=handshake)


arbitrary_frames = st.builds(
    frame,
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x2D]),
    st.sampled_from([0, 1, 2, 3, 5, 7]),
    st.one_of(
        st.binary(max_size=12),
        st.just(encode(HEAD_FIELDS)),
        st.integers(0, 2**32 - 1).map(lambda value: value.to_bytes(4)),
    ),
)


@given(st.lists(arbitrary_frames, max_size=20))
def test_arbitrary_frames_leave_no_stream(sequence: list[bytes]) -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(b"".join(sequence))
        for request in application.requests[::2]:
            request.stream.respond(HEAD, b"x" * 10, TRAILERS)
        client.read()
        client.transport.lose()
        for index, request in enumerate(application.requests):
            assert request.cancelled <= 1
            assert index % 2 == 0 or request.cancelled == 1

    run(scenario)


# Limits


def test_stream_above_the_limit_is_refused() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        for number in range(MAX_CONCURRENT_STREAMS + 1):
            client.write(client.headers(2 * number + 1))
        (reset,) = client.read()
        assert (reset.stream, reset.error_code) == (2 * MAX_CONCURRENT_STREAMS + 1, ErrorCode.REFUSED_STREAM)
        assert len(application.requests) == MAX_CONCURRENT_STREAMS

    run(scenario)


FLOODS: dict[str, tuple[Callable[[Http2Client, int], bytes], int]] = {
    "resets": (lambda c, n: c.headers(2 * n + 1) + frames.rst_stream(2 * n + 1, 8), MAX_RESETS),
    "invalid heads": (lambda c, n: c.headers(2 * n + 1, [("a", "b")]), MAX_RESETS),
    "windows of 0": (lambda c, n: c.headers(2 * n + 1) + frames.window_update(2 * n + 1, 0), MAX_RESETS),
    "pings": (lambda c, n: frame(frames.PING, 0, 0, bytes(8)), MAX_CONTROL_FRAMES),
    "settings": (lambda c, n: EMPTY_SETTINGS, MAX_CONTROL_FRAMES),
    "priorities": (lambda c, n: frame(frames.PRIORITY, 0, 3, bytes(5)), MAX_CONTROL_FRAMES),
    "unknown frames": (lambda c, n: frame(0x33, 0, 0), MAX_CONTROL_FRAMES),
    "windows": (lambda c, n: frames.window_update(0, 1), MAX_CONTROL_FRAMES),
    "empty data": (
        lambda c, n: (c.headers(1) if n == 0 else b"") + frame(frames.DATA, 0, 1),
        MAX_CONTROL_FRAMES,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_ends_the_connection(name: str) -> None:
    build, limit = FLOODS[name]

    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        for number in range(limit + 20):
            assert not client.transport.half_closed or number >= limit - 1
            client.write(build(client, number))
        assert client.transport.half_closed
        goaway = client.read()[-1]
        assert (goaway.kind, goaway.error_code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)

    run(scenario)


def test_flood_allowance_grows_with_time() -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        for _ in range(10):
            client.write(frame(frames.PING, 0, 0, bytes(8)) * 400)
            client.read()
            client.pass_seconds(1)
        assert not client.transport.half_closed

    run(scenario)


@pytest.mark.parametrize("size", [0, 3_000])
def test_endless_header_block_ends_the_connection(size: int) -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.write(frame(frames.HEADERS, 0, 1))
        for _ in range(MAX_CONTINUATIONS + 1):
            client.write(frame(frames.CONTINUATION, 0, 1, bytes(size)))
        (goaway,) = client.read()
        assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM

    run(scenario)


def test_client_without_a_preface_is_disconnected() -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.write(PREFACE)
        client.pass_seconds(int(HANDSHAKE_SECONDS) - 1)
        assert not client.transport.closing
        client.pass_seconds(3)
        assert client.transport.closing

    run(scenario, handshake=False)


def test_stalled_response_ends_the_connection() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        application.requests[0].stream.respond(HEAD, b"x", TRAILERS)
        client.pass_seconds(int(STALL_SECONDS) - 1)
        assert not client.transport.closing
        client.pass_seconds(3)
        assert client.transport.lost

    run(scenario, window=0)


def test_stalled_request_ends_the_connection() -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.write(client.request(1) + client.headers(3))
        client.pass_seconds(int(STALL_SECONDS) + 3)
        assert client.transport.half_closed
        client.pass_seconds(int(CLOSE_SECONDS) + 3)
        assert client.transport.lost

    run(scenario)


def test_idle_connection_stays_until_its_age() -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.pass_seconds(50)
        assert client.read() == []
        client.pass_seconds(10)
        assert kinds(client.read()) == [frames.GOAWAY, frames.PING]

    run(scenario)


# The graceful end


def test_shut_down_accepts_requests_until_pings_are_confirmed() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        client.connection.shut_down()
        client.connection.shut_down()
        goaway, ping = client.read()
        assert int.from_bytes(goaway.payload[:4]) == MAX_WINDOW
        client.write(client.request(3))  # it was in transit
        client.write(frame(frames.PING, ACK, 0, ping.payload))
        client.write(client.request(5))  # the client had it ready, but confirms a PING first
        (ping,) = client.read()
        assert (ping.kind, ping.flags) == (frames.PING, 0)
        client.write(frame(frames.PING, ACK, 0, ping.payload))
        (goaway,) = client.read()
        assert (int.from_bytes(goaway.payload[:4]), goaway.error_code) == (5, ErrorCode.NO_ERROR)
        client.write(client.request(7, b"x"))  # the client sends it again to another server
        client.write(frame(frames.PING, ACK, 0, ping.payload))
        assert [each.stream.id for each in application.requests] == [1, 3, 5]
        for request in application.requests:
            assert request.stream.respond(HEAD)
        assert kinds(client.read()) == [frames.HEADERS] * 3
        assert not client.transport.closing  # the client closes it

    run(scenario)


@pytest.mark.parametrize("confirmed", [0, 1])
def test_shut_down_without_confirmations_continues(confirmed: int) -> None:
    def scenario(client: Http2Client, _: RecordingApplication) -> None:
        client.connection.shut_down()
        for _ping in range(confirmed):
            client.write(frame(frames.PING, ACK, 0, client.read()[-1].payload))
        client.read()
        client.pass_seconds(int(PING_SECONDS) + 1)
        assert kinds(client.read()) == [frames.GOAWAY]

    run(scenario)


def test_shut_down_waits_for_the_responses_in_flight() -> None:
    def scenario(client: Http2Client, application: RecordingApplication) -> None:
        client.write(client.request(1))
        client.connection.shut_down()
        for _ in range(2):
            client.write(frame(frames.PING, ACK, 0, client.read()[-1].payload))
        client.pass_seconds(600)
        assert not client.transport.closing
        assert application.requests[0].stream.respond(HEAD)

    run(scenario)
