# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 without sockets: the test writes the frames of a client and reads those of the server."""

import asyncio
from collections.abc import Iterable
from typing import Any

import hpack

from tests.support.fake_connection import FakeTransport
from tests.support.http2 import Frame
from tidegate_serving.grpc.http2 import frames
from tidegate_serving.grpc.http2.connection import Application, Connection, Connections
from tidegate_serving.grpc.http2.frames import END_HEADERS, END_STREAM, HEAD, PREFACE, frame
from tidegate_serving.timeouts import ConnectionTimeouts

HEAD_FIELDS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a"),
    ("content-type", "application/grpc"),
)


def parse_frames(content: bytes) -> list[Frame]:
    parsed = []
    while content:
        length_and_kind, flags, stream = HEAD.unpack_from(content)
        stop = 9 + (length_and_kind >> 8)
        parsed.append(Frame(length_and_kind & 0xFF, flags, stream, content[9:stop]))
        content = content[stop:]
    return parsed


class Http2Client:
    """A connection of a client.

    Args:
        application: The application of the server.
        window: The client's window of a new stream.
        handshake: Whether the client sends its preface and its settings.
        max_enlarged_bytes: Bytes by which the server may enlarge the windows of streams.
    """

    def __init__(
        self,
        application: Application,
        *,
        window: int = frames.DEFAULT_WINDOW,
        handshake: bool = True,
        max_enlarged_bytes: int = 1 << 20,
    ) -> None:
        self.connections = Connections(
            application, ConnectionTimeouts(60.0, lambda *_: 1.0), max_enlarged_bytes
        )
        self.connection: Connection = self.connections.create()
        self.transport = FakeTransport(self.connection)
        self.transport.abort = self.transport.lose  # type: ignore[attr-defined]
        self.connection.connection_made(self.transport)
        self.preface = self.read()
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self.now = asyncio.get_running_loop().time()
        if handshake:
            self.write(PREFACE + frames.settings(((frames.INITIAL_WINDOW_SIZE, window),)))
            assert [each.kind for each in self.read()] == [frames.SETTINGS]

    def write(self, content: bytes) -> None:
        """Send bytes to the server, unless it has closed the connection."""
        if not self.transport.closing:
            self.connection.data_received(content)

    def read(self) -> list[Frame]:
        """Return the frames since the last read."""
        written, self.transport.written = self.transport.written, b""
        return parse_frames(written)

    def block(self, fields: Iterable[tuple[str, str]]) -> bytes:
        return bytes(self._encoder.encode(list(fields)))

    def headers(self, stream: int, fields: Iterable[tuple[str, str]] = HEAD_FIELDS, flags: int = 0) -> bytes:
        return frame(frames.HEADERS, END_HEADERS | flags, stream, self.block(fields))

    def request(
        self, stream: int, body: bytes = b"", fields: Iterable[tuple[str, str]] = HEAD_FIELDS
    ) -> bytes:
        return self.headers(stream, fields) + frame(frames.DATA, END_STREAM, stream, body)

    def fields(self, each: Frame) -> dict[str, str]:
        """Return the fields of a HEADERS frame."""
        assert each.kind == frames.HEADERS
        decoded: Any = self._decoder.decode(each.payload)
        return dict(decoded)

    def pass_seconds(self, seconds: int) -> None:
        """Check the connection's timeouts as often as the server would in this time."""
        for _ in range(seconds):
            self.now += 1
            self.connection.check_timeouts(self.now)
