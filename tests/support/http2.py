# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 on a socket, frame by frame, for clients that break its rules.

From RFC 9113 (HTTP/2), RFC 7541 (HPACK) and gRPC's PROTOCOL-HTTP2. Nothing here is validated, so a test can
send any bytes. A client that keeps the rules is h2's, in :mod:`tests.protocol.test_http2_flow_control`.
"""

import select
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Self

import hpack

SERVICE = "/inference.GRPCInferenceService/"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW = 2**31 - 1
TIMEOUT_SECONDS = 30.0
"""Time after which a test fails; the bytes of a server on this machine arrive at once unless it is busy."""

STALL_SECONDS = 1.0
"""Time in which a socket must become writable, or the server has stopped reading."""

_CHUNK = 65_536


class FrameType(IntEnum):
    """From RFC 9113, section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    """From RFC 9113, section 6."""

    NONE = 0
    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


class Setting(IntEnum):
    """From RFC 9113, section 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """From RFC 9113, section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


@dataclass(frozen=True, slots=True)
class Frame:
    """A received frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def error_code(self) -> int:
        """The error code of a GOAWAY or RST_STREAM frame."""
        return int.from_bytes(self.payload[4:8] if self.kind == FrameType.GOAWAY else self.payload[:4])


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame. From RFC 9113, section 4.1."""
    return len(payload).to_bytes(3) + struct.pack("!BBI", kind, flags, stream) + payload


def settings_frame(settings: Mapping[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(struct.pack("!HI", name, value) for name, value in settings.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


def headers_frame(stream: int, block: bytes, flags: int = Flag.END_HEADERS) -> bytes:
    """Return a HEADERS frame, by default one that other frames of its stream follow."""
    return frame(FrameType.HEADERS, flags, stream, block)


def data_frame(stream: int, content: bytes, flags: int = Flag.END_STREAM) -> bytes:
    """Return a DATA frame, by default the last one of its stream."""
    return frame(FrameType.DATA, flags, stream, content)


def reset_frame(stream: int, code: ErrorCode = ErrorCode.CANCEL) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(FrameType.RST_STREAM, 0, stream, code.to_bytes(4))


def window_frame(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def ping_frame(content: bytes = bytes(8), flags: int = 0) -> bytes:
    """Return a PING frame."""
    return frame(FrameType.PING, flags, 0, content)


def encode_integer(value: int, prefix_bits: int, pattern: int = 0) -> bytes:
    """Encode an integer. From RFC 7541, section 5.1.

    >>> encode_integer(1337, 5).hex(), encode_integer(10, 5, 0x20).hex()
    ('1f9a0a', '2a')
    """
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([pattern | value])
    encoded, value = [pattern | limit], value - limit
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    return bytes([*encoded, value])


def encode_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """Encode header fields as literals without indexing or Huffman coding. From RFC 7541, section 6.2.2."""
    return b"".join(b"\x00" + _encode_text(name) + _encode_text(value) for name, value in headers)


def _encode_text(text: str) -> bytes:
    content = text.encode("latin-1")
    return encode_integer(len(content), 7) + content


def call_headers(method: str, *further: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the header fields of a call. From gRPC's PROTOCOL-HTTP2, "Requests"."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", SERVICE + method),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *further,
    ]


def message(content: bytes, *, compressed: bool = False, size: int | None = None) -> bytes:
    """Return a length-prefixed message. From gRPC's PROTOCOL-HTTP2, "Length-Prefixed-Message".

    Args:
        content: The message's bytes.
        compressed: The value of the compressed flag.
        size: The announced length; that of the content by default.
    """
    return struct.pack("!?I", compressed, len(content) if size is None else size) + content


def call_frames(stream: int, method: str, content: bytes) -> bytes:
    """Return the frames of a complete call whose message fits into one frame."""
    return headers_frame(stream, encode_headers(call_headers(method))) + data_frame(stream, message(content))


@dataclass
class StreamResponse:
    """The frames that a client has received on one stream."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    """Those of the headers and of the trailers."""
    content: bytes = b""
    reset: int | None = None
    """The error code of RST_STREAM."""
    ended: bool = False

    def value(self, name: str) -> str | None:
        """Return the value of a header field."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def status(self) -> str | None:
        """The number of gRPC's status code."""
        return self.value("grpc-status")


def is_readable(connection: socket.socket) -> bool:
    """Return whether bytes, or the end of the connection, have arrived."""
    return bool(select.select([connection], [], [], 0)[0])


class Http2Connection:
    """A client's connection to the gRPC port of a server.

    Args:
        address: ``host:port`` of the server.
        settings: The client's settings; None sends no preface.
    """

    def __init__(self, address: str, settings: Mapping[int, int] | None = None) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._ended = False
        self._decoder = hpack.Decoder()
        self.responses: dict[int, StreamResponse] = {}
        """By stream, the responses so far."""
        self.windows: dict[int, int] = {}
        """By stream, the bytes by which the server has opened its window, less those that are sent."""
        self.initial_window = 65_535
        """The server's window of a new stream."""
        self.goaway: int | None = None
        """The error code of the last GOAWAY frame."""
        self.acknowledges = True
        """Whether the client acknowledges SETTINGS and PING frames."""
        if settings is not None:
            self._decoder.max_allowed_table_size = settings.get(Setting.HEADER_TABLE_SIZE, 4096)
            self.send(PREFACE + settings_frame(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> bool:
        """Send bytes, and return whether the connection has taken them."""
        try:
            self.socket.sendall(content)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_data(self, stream: int, content: bytes, *, ended: bool) -> None:
        """Send a DATA frame when the server's windows allow it."""
        size = len(content)
        while self._window(0, 65_535) < size or self._window(stream, self.initial_window) < size:
            assert self.read() is not None
        for each in (0, stream):
            self.windows[each] = self.windows.get(each, 0) - size
        self.send(data_frame(stream, content, Flag.END_STREAM if ended else 0))

    def _window(self, stream: int, initial: int) -> int:
        return initial + self.windows.get(stream, 0)

    def shut_down(self) -> None:
        """End the client's side of the connection."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def flood(self, contents: Iterable[bytes], *, reads: bool = True) -> bool:
        """Send until the server ends the connection or stops reading.

        Args:
            contents: Each is sent before the next one is drawn.
            reads: Whether the client reads meanwhile.

        Returns:
            Whether the server has read everything.
        """
        self.socket.settimeout(STALL_SECONDS)
        try:
            for content in contents:
                self.socket.sendall(content)
                if reads and not self.read_available():
                    return False
        except OSError:  # ended by the server, or not writable for a time
            return False
        finally:
            with suppress(OSError):
                self.socket.settimeout(TIMEOUT_SECONDS)
        return True

    def read_available(self) -> bool:
        """Handle the frames that have arrived, and return whether the connection is open."""
        while not self._ended and is_readable(self.socket):
            try:
                content = self.socket.recv(_CHUNK)
            except ConnectionResetError:
                content = b""
            self._ended = not content
            self._received += content
            self._handle_received()
        return not self._ended and self.goaway in (None, ErrorCode.NO_ERROR)

    def _handle_received(self) -> None:
        while (received := self._next_received()) is not None:
            self._handle(received)

    def _next_received(self) -> Frame | None:
        if len(self._received) < 9:
            return None
        size = int.from_bytes(self._received[:3])
        if len(self._received) < 9 + size:
            return None
        kind, flags, stream = struct.unpack_from("!BBI", self._received, 3)
        received = Frame(kind, flags, stream & MAX_WINDOW, bytes(self._received[9 : 9 + size]))
        del self._received[: 9 + size]
        return received

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end of the connection."""
        while (received := self._next_received()) is None:
            try:
                content = b"" if self._ended else self.socket.recv(_CHUNK)
            except ConnectionResetError:
                content = b""
            if not content:
                self._ended = True
                return None
            self._received += content
        self._handle(received)
        return received

    def frames(self) -> Iterator[Frame]:
        """Yield the next frames until the connection ends."""
        while (received := self.read()) is not None:
            yield received

    def _handle(self, received: Frame) -> None:
        response = self.responses.setdefault(received.stream, StreamResponse())
        match received.kind:
            case FrameType.WINDOW_UPDATE:
                opened = int.from_bytes(received.payload)
                self.windows[received.stream] = self.windows.get(received.stream, 0) + opened
                return
            case FrameType.SETTINGS if not received.flags & Flag.ACK:
                values = dict(struct.iter_unpack("!HI", received.payload))
                self.initial_window = values.get(Setting.INITIAL_WINDOW_SIZE, self.initial_window)
        match received.kind:
            case FrameType.SETTINGS if self.acknowledges and not received.flags & Flag.ACK:
                self.send(frame(FrameType.SETTINGS, Flag.ACK, 0))
            case FrameType.PING if self.acknowledges and not received.flags & Flag.ACK:
                self.send(ping_frame(received.payload, Flag.ACK))
            case FrameType.GOAWAY:
                self.goaway = received.error_code
            case FrameType.HEADERS:
                assert received.flags & Flag.END_HEADERS
                response.headers += self._decoder.decode(received.payload)
                response.ended = response.ended or bool(received.flags & Flag.END_STREAM)
            case FrameType.DATA:
                response.content += received.payload
                response.ended = response.ended or bool(received.flags & Flag.END_STREAM)
            case FrameType.RST_STREAM:
                response.reset, response.ended = received.error_code, True

    def settings(self) -> dict[int, int]:
        """Return the server's settings, which are its first frame."""
        received = self.read()
        assert received is not None
        assert received.kind == FrameType.SETTINGS
        return dict(struct.iter_unpack("!HI", received.payload))

    def call(self, stream: int, method: str, content: bytes) -> StreamResponse:
        """Send a call and wait for its response."""
        self.send(call_frames(stream, method, content))
        return self.wait(stream)

    def wait(self, stream: int) -> StreamResponse:
        """Read until a stream, or the connection, has ended."""
        while not self.responses.setdefault(stream, StreamResponse()).ended:
            if self.read() is None:
                break
        return self.responses[stream]

    def wait_for_ping(self) -> bool:
        """Send a PING frame, and return whether the server has acknowledged it: it has read all before it."""
        content = b"barrier!"
        self.send(ping_frame(content))
        return any(
            received.kind == FrameType.PING and received.flags & Flag.ACK and received.payload == content
            for received in self.frames()
        )

    def wait_for_end(self) -> int | None:
        """Read until the connection ends, and return the error code of its GOAWAY frame."""
        for _ in self.frames():
            pass
        return self.goaway
