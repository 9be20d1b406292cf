# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Calls in forms that HTTP/2 allows and few clients use: padding, priorities, continued headers, resets."""

from collections.abc import Callable

import pytest

from tests.protocol.clients import infer_request, one_row
from tests.support.http2 import (
    MAX_WINDOW,
    ErrorCode,
    Flag,
    FrameType,
    Http2Connection,
    Setting,
    StreamResponse,
    call_frames,
    call_headers,
    data_frame,
    encode_headers,
    encode_integer,
    frame,
    headers_frame,
    message,
    reset_frame,
    settings_frame,
    window_frame,
)
from tests.support.servers import LiveServer
from tidegate.protocol.samples import sample_rows


@pytest.fixture
def content(http2_server: LiveServer) -> bytes:
    return bytes(infer_request(http2_server, one_row(http2_server), raw=True).SerializeToString())


def padded(content: bytes) -> bytes:
    return b"\x05" + content + bytes(5)


def continued(stream: int, block: bytes, size: int, flags: int = 0) -> bytes:
    """Return a header block in frames of this size."""
    pieces = [block[start : start + size] for start in range(0, len(block), size)]
    return b"".join(
        frame(
            FrameType.CONTINUATION if index else FrameType.HEADERS,
            (Flag.END_HEADERS if index == len(pieces) - 1 else 0) | (0 if index else flags),
            stream,
            piece,
        )
        for index, piece in enumerate(pieces)
    )


BLOCK = encode_headers(call_headers("ModelInfer"))

CALLS: dict[str, Callable[[bytes], bytes]] = {
    "padded headers": lambda body: headers_frame(1, padded(BLOCK), 0x0C) + data_frame(1, body),
    "headers with a priority": lambda body: (
        headers_frame(1, bytes(4) + b"\x10" + BLOCK, 0x24) + data_frame(1, body)
    ),
    "padded headers with a priority": lambda body: (
        headers_frame(1, b"\x05" + bytes(4) + b"\x10" + BLOCK + bytes(5), 0x2C) + data_frame(1, body)
    ),
    "padded data": lambda body: headers_frame(1, BLOCK) + data_frame(1, padded(body), 0x09),
    "data of one byte each": lambda body: (
        headers_frame(1, BLOCK)
        + b"".join(
            data_frame(1, body[place : place + 1], place == len(body) - 1) for place in range(len(body))
        )
    ),
    "an empty last frame": lambda body: headers_frame(1, BLOCK) + data_frame(1, body, 0) + data_frame(1, b""),
    "continued headers": lambda body: continued(1, BLOCK, 20) + data_frame(1, body),
    "trailers": lambda body: (
        headers_frame(1, BLOCK)
        + data_frame(1, body, 0)
        + headers_frame(1, encode_headers([("x-checksum", "1")]), 0x05)
    ),
    "an unknown frame": lambda body: (
        headers_frame(1, BLOCK) + frame(0x42, 0xFF, 1, b"x") + data_frame(1, body)
    ),
    "a priority of an idle stream": lambda body: (
        frame(FrameType.PRIORITY, 0, 7, bytes(5)) + headers_frame(1, BLOCK) + data_frame(1, body)
    ),
}
"""By form, the frames of a call on stream 1 from its length-prefixed message."""


@pytest.mark.parametrize("name", CALLS)
def test_valid_form_of_a_call_is_served(name: str, content: bytes, http2_server: LiveServer) -> None:
    with Http2Connection(http2_server.grpc, {}) as connection:
        connection.send(CALLS[name](message(content)))
        response = connection.wait(1)
        assert response.status == "0"
        assert response.value(":status") == "200"
        assert connection.call(3, "ModelInfer", content).status == "0"
        assert connection.goaway is None


def test_call_on_the_last_stream_is_served(content: bytes, http2_server: LiveServer) -> None:
    with Http2Connection(http2_server.grpc, {}) as connection:
        assert connection.call(MAX_WINDOW, "ModelInfer", content).status == "0"


def indexed(name: str, value: str) -> bytes:
    """Encode a field that enters the dynamic table. From RFC 7541, section 6.2.1."""
    return b"\x40" + encode_headers([(name, value)])[1:]


NEWEST = encode_integer(62, 7, 0x80)
"""The newest field of the dynamic table. From RFC 7541, section 2.3.3."""


def test_index_means_the_newest_field_of_the_table(content: bytes, http2_server: LiveServer) -> None:
    """Equal blocks differ in meaning when the table has changed between them, even by a rejected request."""
    names: list[str | None] = []
    blocks = (
        BLOCK + indexed("x-request-id", "a"),
        BLOCK + NEWEST,
        BLOCK + NEWEST,
        BLOCK + indexed("x-request-id", "b"),
        BLOCK + NEWEST,
        # Larger than the limit of header fields, after it has changed the table.
        BLOCK + indexed("x-request-id", "c") + encode_headers([("x-long", "y" * 900)] * 40),
        BLOCK + NEWEST,
    )
    with Http2Connection(http2_server.grpc, {}) as connection:
        for stream, block in zip(range(1, 100, 2), blocks, strict=False):
            connection.send(continued(stream, block, 16_384) + data_frame(stream, message(content)))
            names.append(connection.wait(stream).value("x-request-id"))
        assert connection.goaway is None
    assert names[:5] == ["a", "a", "a", "b", "b"]
    assert names[6] == "c"


def test_size_of_the_dynamic_table_is_that_of_the_client(content: bytes, http2_server: LiveServer) -> None:
    """A client without a table decodes the response. From RFC 7541, section 4.2."""
    with Http2Connection(http2_server.grpc, {Setting.HEADER_TABLE_SIZE: 0}) as connection:
        assert connection.wait_for_ping()
        for stream in (1, 3, 5):
            assert connection.call(stream, "ModelInfer", content).status == "0"


def test_many_cancellations_keep_the_connection(content: bytes, http2_server: LiveServer) -> None:
    """A proxy sends the calls of all its clients on one connection, and some of them give up."""
    with Http2Connection(http2_server.grpc, {}) as connection:
        connection.send(window_frame(0, MAX_WINDOW - 65_535))
        for stream in range(1, 12_001, 4):
            connection.send(call_frames(stream, "ModelInfer", content) + reset_frame(stream))
            assert connection.call(stream + 2, "ModelInfer", content).status == "0"
        assert connection.goaway is None


def test_streams_above_the_limit_are_rejected_alone(content: bytes, http2_server: LiveServer) -> None:
    """From RFC 9113, section 5.1.2: a rejected stream can be sent again."""
    with Http2Connection(http2_server.grpc, {}) as connection:
        limit = connection.settings()[Setting.MAX_CONCURRENT_STREAMS]
        last = 2 * limit + 1
        connection.send(b"".join(headers_frame(stream, BLOCK) for stream in range(1, last + 1, 2)))
        assert connection.wait(last).reset == ErrorCode.REFUSED_STREAM
        connection.send(data_frame(1, message(content)))
        assert connection.wait(1).status == "0"
        assert connection.call(last + 2, "ModelInfer", content).status == "0"


def test_window_that_opens_late_gets_the_response(content: bytes, http2_server: LiveServer) -> None:
    with Http2Connection(http2_server.grpc, {Setting.INITIAL_WINDOW_SIZE: 0}) as connection:
        connection.send(call_frames(1, "ModelInfer", content))
        assert connection.wait_for_ping()
        assert not connection.responses.setdefault(1, StreamResponse()).content
        connection.send(settings_frame({Setting.INITIAL_WINDOW_SIZE: 10}))
        assert connection.wait_for_ping()
        assert len(connection.responses[1].content) <= 10
        connection.send(settings_frame({Setting.INITIAL_WINDOW_SIZE: 65_535}))
        assert connection.wait(1).status == "0"


def test_windows_opened_after_each_frame_are_allowed(http2_server: LiveServer) -> None:
    """Large responses bring many WINDOW_UPDATE frames, which are not a flood."""
    rows = sample_rows(http2_server.bundle.contract, 5_000, seed=0)
    content = bytes(infer_request(http2_server, rows, raw=True).SerializeToString())
    body = message(content)
    pieces = [body[start : start + 16_384] for start in range(0, len(body), 16_384)]
    with Http2Connection(http2_server.grpc, {}) as connection:
        for stream in range(1, 601, 2):
            connection.send(headers_frame(stream, BLOCK))
            for piece in pieces:
                connection.send_data(stream, piece, ended=piece is pieces[-1])
            while not connection.responses.setdefault(stream, StreamResponse()).ended:
                received = connection.read()
                assert received is not None
                if received.kind == FrameType.DATA:
                    size = len(received.payload)
                    connection.send(window_frame(0, size) + window_frame(stream, size))
            assert connection.responses.pop(stream).status == "0"
        assert connection.goaway is None


@pytest.mark.parametrize("payload", [bytes(4), (3).to_bytes(4) + b"\x10"], ids=["short", "of-itself"])
def test_idle_stream_is_never_reset(payload: bytes, http2_server: LiveServer) -> None:
    """From RFC 9113, section 6.4."""
    with Http2Connection(http2_server.grpc, {}) as connection:
        connection.send(frame(FrameType.PRIORITY, 0, 3, payload))
        connection.wait_for_ping()
        assert connection.responses.get(3, StreamResponse()).reset is None
