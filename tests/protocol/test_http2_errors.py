# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Violations of HTTP/2 in a call that has begun.

The names are those of h2spec's cases. h2spec sends no calls, and a server may respond to other requests
before they end; :mod:`tests.h2spec.cases` excludes the cases that the response precedes.
"""

from collections.abc import Mapping

import pytest

from tests.support.http2 import (
    MAX_WINDOW,
    ErrorCode,
    Flag,
    Http2Connection,
    StreamResponse,
    call_headers,
    data_frame,
    encode_headers,
    headers_frame,
    message,
    reset_frame,
    window_frame,
)
from tests.support.servers import LiveServer

BEGUN = headers_frame(1, encode_headers(call_headers("ServerLive")))
MESSAGE = message(b"")


def with_length(length: int) -> bytes:
    """Return the headers of a call with a Content-Length."""
    return headers_frame(1, encode_headers(call_headers("ServerLive", ("content-length", str(length)))))


VIOLATIONS: Mapping[str, tuple[bytes, ErrorCode]] = {
    "http2/5.1/8": (BEGUN + reset_frame(1) + data_frame(1, MESSAGE), ErrorCode.STREAM_CLOSED),
    "http2/5.1/9": (BEGUN + reset_frame(1) + BEGUN, ErrorCode.STREAM_CLOSED),
    "http2/6.1/3": (BEGUN + data_frame(1, b"\x06" + MESSAGE, 0x09), ErrorCode.PROTOCOL_ERROR),
    "http2/6.9/2": (BEGUN + window_frame(1, 0), ErrorCode.PROTOCOL_ERROR),
    "http2/6.9.1/3": (BEGUN + window_frame(1, MAX_WINDOW) * 2, ErrorCode.FLOW_CONTROL_ERROR),
    "http2/8.1/1": (BEGUN + headers_frame(1, encode_headers([("x-a", "b")])), ErrorCode.PROTOCOL_ERROR),
    "http2/8.1.2.1/3": (
        BEGUN
        + data_frame(1, MESSAGE, 0)
        + headers_frame(1, encode_headers([(":method", "POST")]), Flag.END_HEADERS | Flag.END_STREAM),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "http2/8.1.2.6/1": (with_length(1) + data_frame(1, MESSAGE), ErrorCode.PROTOCOL_ERROR),
    "http2/8.1.2.6/2": (
        with_length(1) + data_frame(1, MESSAGE[:2], 0) + data_frame(1, MESSAGE[2:]),
        ErrorCode.PROTOCOL_ERROR,
    ),
}
"""By the name of h2spec's case, the frames and the error code of the stream or of the connection."""


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_ends_the_stream_or_the_connection(name: str, http2_server: LiveServer) -> None:
    frames, code = VIOLATIONS[name]
    with Http2Connection(http2_server.grpc, {}) as connection:
        connection.send(frames)
        connection.wait_for_ping()
        reset = connection.responses.get(1, StreamResponse()).reset
        assert code in (reset, connection.goaway)
