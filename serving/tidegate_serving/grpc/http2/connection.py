# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 connection of a server, for requests whose responses are complete when they are sent.

It parses all frames of a read at once, and passes requests to the application by calls, without tasks and
futures. Each response is written at once when the application has it, usually by one system call: uvloop 0.23
does not wait for the end of the event-loop iteration.

From RFC 9113, whose sections the comments name. Server push, priorities and extensions are left out. The
connection knows no gRPC.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from tidegate_serving.grpc.http2 import frames
from tidegate_serving.grpc.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    MAX_WINDOW,
    PADDED,
    PREFACE,
    PRIORITIZED,
    ErrorCode,
)
from tidegate_serving.grpc.http2.headers import (
    MAX_HEADER_BYTES,
    Headers,
    HeadersTooLargeError,
    MalformedHeadersError,
    RequestHeads,
)
from tidegate_serving.grpc.http2.hpack import (
    EMPTY_TABLE,
    TABLE_BYTES,
    HpackError,
)
from tidegate_serving.grpc.http2.limits import (
    CLOSE_SECONDS,
    CONNECTION_WINDOW,
    CONTROL_FRAMES_PER_CALL,
    CONTROL_FRAMES_PER_DATA,
    CONTROL_FRAMES_PER_SECOND,
    HANDSHAKE_SECONDS,
    LINGER_BYTES,
    LINGER_SECONDS,
    MAX_CONCURRENT_STREAMS,
    MAX_CONTINUATIONS,
    MAX_CONTROL_FRAMES,
    MAX_HEADER_BLOCK_BYTES,
    MAX_RESETS,
    PING_SECONDS,
    RESETS_PER_RESPONSE,
    RESETS_PER_SECOND,
    STALL_SECONDS,
    Allowance,
)
from tidegate_serving.timeouts import ConnectionTimeouts

_SERVER_PREFACE = frames.settings(
    (
        (frames.MAX_CONCURRENT_STREAMS, MAX_CONCURRENT_STREAMS),
        (frames.MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES),
    )
) + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
_SETTINGS_ACK = frames.frame(frames.SETTINGS, ACK, 0)
_LAST_PING = b"tidegate"
"""The content of the PINGs between the two GOAWAY frames."""

_LAST_PINGS = 2
"""PINGs between the two GOAWAY frames, each sent after the response to the one before it.

A client may respond to a PING ahead of requests to which it has already given numbers, as gRPC's library in C
does. They arrive before its next response.
"""

_REMEMBERED_RESETS = 2 * MAX_CONCURRENT_STREAMS
"""Streams that the server has reset and whose late frames are ignored."""


class Receiver(Protocol):
    """A request, as the application receives it."""

    def receive(self, content: bytes, ended: bool) -> None:
        """Take a part of the body, which may be empty, and note whether it is the last one."""

    def cancel(self) -> None:
        """Note that the client does not wait for the response any more. It is called at most once."""


class Application(Protocol):
    """An application that takes the requests of connections."""

    def start(self, stream: "Stream", headers: Headers) -> Receiver | None:
        """Return the receiver of a request; None if it has its response already."""

    def reject_headers(self, stream: "Stream") -> None:
        """Send the response to a request whose header fields are too large."""


class ConnectionFailedError(Exception):
    """A violation of the protocol after which the connection ends (section 5.4.1)."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamFailedError(Exception):
    """A violation of the protocol that concerns one stream (section 5.4.2)."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Stream:
    """A request and its response.

    Args:
        connection: The connection.
        stream_id: The stream's number.
        send_window: The bytes that the client allows at its beginning.
    """

    __slots__ = (
        "connection",
        "expected_bytes",
        "granted_bytes",
        "id",
        "receive_window",
        "receiver",
        "request_ended",
        "send_window",
        "trailers",
        "unsent",
    )

    def __init__(self, connection: "Connection", stream_id: int, send_window: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.receiver: Receiver | None = None
        """The request; None if it has its response."""
        self.request_ended = False
        self.expected_bytes: int | None = None
        """Bytes of the body that follow, if the head has a Content-Length."""
        self.receive_window = frames.DEFAULT_WINDOW
        self.granted_bytes = 0
        """Bytes by which the window has been enlarged."""
        self.send_window = send_window
        self.unsent: memoryview | None = None
        """The rest of a body that waits for the client's window."""
        self.trailers = b""
        """The header block after it."""

    def respond(self, head: bytes, body: bytes = b"", trailers: bytes = b"") -> bool:
        """Send the response.

        Args:
            head: The header block.
            body: The body.
            trailers: The header block after the body.

        Returns:
            Whether the client still waits for it.
        """
        return self.connection.respond(self, head, body, trailers)

    def enlarge_window(self, size: int) -> None:
        """Allow the client to send so many bytes in addition, when the other long bodies leave room."""
        self.connection.enlarge_window(self, size)


class Connections:
    """The open connections of a server, and what they share.

    Args:
        application: The application.
        timeouts: The timeouts of the connections.
        max_enlarged_bytes: Bytes by which the windows of a connection's streams may be enlarged together.
        requires_tls: Whether a connection without the protocol ``h2`` of TLS is closed.
    """

    def __init__(
        self,
        application: Application,
        timeouts: ConnectionTimeouts,
        max_enlarged_bytes: int,
        requires_tls: bool = False,
    ) -> None:
        self.application = application
        self.timeouts = timeouts
        self.max_enlarged_bytes = max_enlarged_bytes
        self.requires_tls = requires_tls
        self.open: set[Connection] = set()
        self.on_close: Callable[[], object] = lambda: None
        """Called after a connection has closed."""
        self.on_accept: Callable[[], object] = lambda: None
        """Called when a connection is accepted."""

    def create(self) -> "Connection":
        """Return the protocol of a new connection."""
        self.on_accept()
        return Connection(self)


class Connection(asyncio.Protocol):
    """A connection.

    Args:
        connections: The state that connections share.
    """

    def __init__(self, connections: Connections) -> None:
        # Global state
        self._connections = connections
        self._application = connections.application
        self._timeouts = connections.timeouts
        self._loop = asyncio.get_running_loop()

        # Per-connection state
        self._transport: Any = None
        self.client = ""
        """The address of the other side; empty if it is unknown."""
        self._opened_at = 0.0
        self._expires_at = 0.0
        """The time from which on the connection ends gracefully."""
        self._last_activity = 0.0
        """The time of the last sweep before bytes arrived."""
        self._preface_received = False
        self._settings_received = False
        self._closing_since: float | None = None
        self._discarded_bytes = 0
        """Bytes that have arrived since then."""
        self._resets = Allowance(MAX_RESETS, RESETS_PER_SECOND)
        self._control_frames = Allowance(MAX_CONTROL_FRAMES, CONTROL_FRAMES_PER_SECOND)

        # Receiving
        self._partial = b""
        """The beginning of a frame that is not complete."""
        self._heads = RequestHeads()
        self._streams: dict[int, Stream] = {}
        self._last_stream_id = 0
        self._skipped_streams = False
        """Whether the client has left out numbers of streams."""
        self._reset_streams: deque[int] = deque(maxlen=_REMEMBERED_RESETS)
        self._block: list[bytes] | None = None
        """The header block of frames without END_HEADERS, of which the next frame is a continuation."""
        self._block_bytes = 0
        self._block_stream = 0
        self._block_flags = 0
        self._unacknowledged_bytes = 0
        """Bytes received since the connection's last WINDOW_UPDATE."""
        self._enlarged_bytes = 0
        self._enlargements: deque[tuple[Stream, int]] = deque()
        """Streams that wait for a larger window."""

        # Sending
        self._size_update = b""
        """The beginning of the next header block, if the client has reduced its dynamic table (4.3.1)."""
        self._send_window = frames.DEFAULT_WINDOW
        self._initial_send_window = frames.DEFAULT_WINDOW
        self._max_send_frame = MAX_FRAME_BYTES
        self._blocked: dict[int, Stream] = {}
        """Streams with an unsent rest, in the order of their responses."""
        self._write_paused = False
        self._stalled_since: float | None = None
        """The time from which on the client has taken none of what is unsent."""

        # The graceful end
        self._goaway_at: float | None = None
        """The time of the first GOAWAY."""
        self._unconfirmed_pings = _LAST_PINGS
        self._finishing = False
        """Whether the last GOAWAY is sent, after which no request is accepted."""

    # The transport's calls

    def connection_made(self, transport: Any) -> None:
        """Send the server's settings."""
        self._transport = transport
        if self._connections.requires_tls:
            ssl_object = transport.get_extra_info("ssl_object")
            if ssl_object.selected_alpn_protocol() != "h2":  # section 3.3
                transport.abort()
                return
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        self._expires_at = self._timeouts.add(self, self._loop)
        self._opened_at = self._last_activity = self._timeouts.now
        self._connections.open.add(self)
        transport.write(_SERVER_PREFACE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the requests, because their responses have no reader."""
        self._timeouts.discard(self)
        self._cancel_requests()
        if self in self._connections.open:
            self._connections.open.discard(self)
            self._connections.on_close()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its responses, because they would fill the memory."""
        self._write_paused = True
        self._transport.pause_reading()
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        """Read from the client again."""
        self._write_paused = False
        self._stalled_since = None
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._send_blocked()

    def data_received(self, data: bytes) -> None:
        """Parse the frames that are complete, and pass them on."""
        if self._closing_since is not None:
            self._discard(data)
            return
        self._last_activity = self._timeouts.now
        if self._partial:
            data = self._partial + data
            self._partial = b""
        try:
            if not self._preface_received:
                data = self._receive_preface(data)
            self._receive_frames(data)
        except ConnectionFailedError as error:
            self._fail(error.code, str(error))

    # Frames

    def _receive_preface(self, data: bytes) -> bytes:
        """Return the bytes after the client's preface."""
        if not data.startswith(PREFACE[: len(data)]):
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "expected the preface of HTTP/2")
        if len(data) < len(PREFACE):
            self._partial = data
            return b""
        self._preface_received = True
        return data[len(PREFACE) :]

    def _receive_frames(self, data: bytes) -> None:
        position, end = 0, len(data)
        while end - position >= HEAD_BYTES:
            length_and_kind, flags, stream_id = HEAD.unpack_from(data, position)
            length, kind = length_and_kind >> 8, length_and_kind & 0xFF
            if length > MAX_FRAME_BYTES:
                raise ConnectionFailedError(
                    ErrorCode.FRAME_SIZE_ERROR, f"expected frames of at most {MAX_FRAME_BYTES} bytes"
                )
            start = position + HEAD_BYTES
            position = start + length
            if position > end:
                position = start - HEAD_BYTES
                break
            if self._block is not None and kind != frames.CONTINUATION:
                raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "expected a CONTINUATION frame")
            if not self._settings_received and kind != frames.SETTINGS:
                raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "expected a SETTINGS frame first")
            stream_id &= MAX_WINDOW  # the first bit is reserved
            handler = _HANDLERS.get(kind)
            if handler is None:  # section 4.1: frames of unknown types are ignored
                self._count_control_frame()
                continue
            try:
                handler(self, stream_id, flags, data[start:position])
            except StreamFailedError as error:
                self._fail_stream(stream_id, error.code)
            if self._closing_since is not None:
                return
        if position < end:
            self._partial = data[position:]

    def _receive_headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Start a request, or end one that has trailers."""
        if not stream_id & 1:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "HEADERS: expected an odd stream")
        depends_on = None
        if flags & (PADDED | PRIORITIZED):
            payload = _without_padding(flags, payload)
            if flags & PRIORITIZED:
                if len(payload) < 5:
                    raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS: expected a priority")
                depends_on = frames.parse_uint32(payload[:4]) & MAX_WINDOW
                payload = payload[5:]
        if not flags & END_HEADERS:
            self._block, self._block_bytes = [payload], len(payload)
            self._block_stream, self._block_flags = stream_id, flags
            return
        self._receive_block(stream_id, flags, payload)
        if depends_on == stream_id:  # RFC 7540, section 5.3.1
            raise StreamFailedError(ErrorCode.PROTOCOL_ERROR)

    def _receive_continuation(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Continue a header block."""
        block = self._block
        if block is None or stream_id != self._block_stream:
            raise ConnectionFailedError(
                ErrorCode.PROTOCOL_ERROR, "CONTINUATION: expected HEADERS of its stream before it"
            )
        block.append(payload)
        self._block_bytes += len(payload)
        if self._block_bytes > MAX_HEADER_BLOCK_BYTES or len(block) > MAX_CONTINUATIONS + 1:
            raise ConnectionFailedError(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"expected header blocks of at most {MAX_HEADER_BLOCK_BYTES} bytes in "
                f"{MAX_CONTINUATIONS} continuations",
            )
        if flags & END_HEADERS:
            self._block = None
            self._receive_block(stream_id, self._block_flags, b"".join(block))

    def _receive_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """Take a complete header block, which must be decoded even if its stream is ignored."""
        stream = self._streams.get(stream_id)
        try:
            if stream is None and stream_id > self._last_stream_id:
                self._start_request(stream_id, flags, block)
            else:
                self._receive_trailers(stream, stream_id, flags, block)
        except HpackError as error:
            raise ConnectionFailedError(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        except MalformedHeadersError:
            raise StreamFailedError(ErrorCode.PROTOCOL_ERROR) from None

    def _start_request(self, stream_id: int, flags: int, block: bytes) -> None:
        if self._finishing:  # above the last stream of the last GOAWAY: the client retries it
            self._decode_ignored(block)
            return
        if stream_id != self._last_stream_id + 2 and self._last_stream_id + stream_id > 1:
            self._skipped_streams = True
        self._last_stream_id = stream_id
        self._control_frames.left += CONTROL_FRAMES_PER_CALL
        if len(self._streams) >= MAX_CONCURRENT_STREAMS:
            self._decode_ignored(block)
            raise StreamFailedError(ErrorCode.REFUSED_STREAM)
        stream = Stream(self, stream_id, self._initial_send_window)
        try:
            headers = self._heads.decode(block)
        except HeadersTooLargeError:
            self._streams[stream_id] = stream
            stream.request_ended = bool(flags & END_STREAM)
            self._application.reject_headers(stream)
            return
        if "content-length" in headers:
            stream.expected_bytes = _parse_length(headers["content-length"])
        self._streams[stream_id] = stream
        if flags & END_STREAM:
            stream.request_ended = True
            if stream.expected_bytes:
                raise StreamFailedError(ErrorCode.PROTOCOL_ERROR)
        stream.receiver = receiver = self._application.start(stream, headers)
        if receiver is not None and flags & END_STREAM:
            receiver.receive(b"", True)

    def _receive_trailers(self, stream: Stream | None, stream_id: int, flags: int, block: bytes) -> None:
        if stream is None:
            self._decode_ignored(block)
            if stream_id not in self._reset_streams:  # sections 5.1 and 5.1.1
                skipped = self._skipped_streams
                code = ErrorCode.PROTOCOL_ERROR if skipped else ErrorCode.STREAM_CLOSED
                raise ConnectionFailedError(code, f"HEADERS: expected a stream above {self._last_stream_id}")
            self._count_control_frame()
            return
        if stream.request_ended:
            self._decode_ignored(block)
            raise StreamFailedError(ErrorCode.STREAM_CLOSED)
        try:
            self._heads.decode_trailers(block)
        except HeadersTooLargeError:
            raise StreamFailedError(ErrorCode.PROTOCOL_ERROR) from None
        if not flags & END_STREAM or stream.expected_bytes:
            raise StreamFailedError(ErrorCode.PROTOCOL_ERROR)
        stream.request_ended = True
        if stream.receiver is not None:
            stream.receiver.receive(b"", True)

    def _decode_ignored(self, block: bytes) -> None:
        """Decode a block without a request, because the dynamic table depends on it."""
        try:
            self._heads.decode_trailers(block)
        except (HeadersTooLargeError, MalformedHeadersError):
            return

    def _receive_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Pass a part of a body to its request."""
        length = len(payload)
        self._unacknowledged_bytes += length
        if self._unacknowledged_bytes > CONNECTION_WINDOW // 2:
            self._transport.write(frames.window_update(0, self._unacknowledged_bytes))
            self._unacknowledged_bytes = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            self._receive_late_data(stream_id)
            return
        if stream.request_ended:
            raise StreamFailedError(ErrorCode.STREAM_CLOSED)
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamFailedError(ErrorCode.FLOW_CONTROL_ERROR)
        if flags & PADDED:
            payload = _without_padding(flags, payload)
            self._count_control_frame()
            stream.receive_window += length - len(payload)  # the message is without padding
            self._transport.write(frames.window_update(stream_id, length - len(payload)))
        ended = flags & END_STREAM
        if not payload and not ended:
            self._count_control_frame()
        if stream.expected_bytes is not None:
            stream.expected_bytes -= len(payload)
            if stream.expected_bytes < 0 or (ended and stream.expected_bytes):
                raise StreamFailedError(ErrorCode.PROTOCOL_ERROR)
        if ended:
            stream.request_ended = True
        if stream.receiver is not None:
            stream.receiver.receive(payload, ended != 0)

    def _receive_late_data(self, stream_id: int) -> None:
        """Ignore data of a stream that the server has reset or left out; any other is an error."""
        if stream_id == 0 or (stream_id > self._last_stream_id and not self._finishing):
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "DATA: expected an open stream")
        self._count_control_frame()
        if stream_id <= self._last_stream_id and stream_id not in self._reset_streams:
            raise StreamFailedError(ErrorCode.STREAM_CLOSED)

    def _receive_priority(self, stream_id: int, _: int, payload: bytes) -> None:
        """Check and ignore a priority (section 5.3)."""
        self._count_control_frame()
        if not stream_id:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "PRIORITY: expected a stream")
        if len(payload) != 5:
            code = ErrorCode.FRAME_SIZE_ERROR
        elif frames.parse_uint32(payload[:4]) & MAX_WINDOW == stream_id:  # RFC 7540, section 5.3.1
            code = ErrorCode.PROTOCOL_ERROR
        else:
            return
        if stream_id > self._last_stream_id:  # section 6.4: an idle stream is never reset
            raise ConnectionFailedError(code, "PRIORITY: expected 5 bytes and another stream")
        raise StreamFailedError(code)

    def _receive_reset(self, stream_id: int, _: int, payload: bytes) -> None:
        """Cancel a request."""
        if len(payload) != 4:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM: expected 4 bytes")
        self._check_not_idle("RST_STREAM", stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._count_control_frame()
            return
        self._count_reset()
        self._close_stream(stream)

    def _receive_settings(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Apply the client's settings, and confirm them."""
        self._count_control_frame()
        if stream_id:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "SETTINGS: expected stream 0")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFailedError(
                ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS: received {len(payload)} bytes, which hold no settings"
            )
        if flags & ACK:
            if not self._settings_received:
                raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "expected a SETTINGS frame first")
            return
        self._settings_received = True
        values = frames.parse_settings(payload)
        if values.get(frames.ENABLE_PUSH, 0) > 1:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH: expected 0 or 1")
        max_frame = values.get(frames.MAX_FRAME_SIZE, self._max_send_frame)
        if not MAX_FRAME_BYTES <= max_frame < 1 << 24:
            raise ConnectionFailedError(
                ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE: expected 16384 to 16777215"
            )
        self._max_send_frame = max_frame
        window = values.get(frames.INITIAL_WINDOW_SIZE, self._initial_send_window)
        if window > MAX_WINDOW:
            raise ConnectionFailedError(
                ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE: expected at most {MAX_WINDOW}"
            )
        if values.get(frames.HEADER_TABLE_SIZE, TABLE_BYTES) < TABLE_BYTES:
            self._size_update = EMPTY_TABLE
        # Before what the settings allow, because the client applies them when they are confirmed (6.5.3).
        self._transport.write(_SETTINGS_ACK)
        self._change_initial_window(window)

    def _change_initial_window(self, window: int) -> None:
        """Change the windows of all streams by the difference, which may make them negative (6.9.2)."""
        difference = window - self._initial_send_window
        if not difference:
            return
        self._initial_send_window = window
        for stream in self._streams.values():
            stream.send_window += difference
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFailedError(
                    ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE: a window exceeds {MAX_WINDOW}"
                )
        self._send_blocked()

    def _receive_push_promise(self, *_: object) -> None:
        raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE: expected of servers only")

    def _receive_ping(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Respond, or continue the graceful end, which has waited for a response."""
        self._count_control_frame()
        if stream_id:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "PING: expected stream 0")
        if len(payload) != 8:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "PING: expected 8 bytes")
        if not flags & ACK:
            self._transport.write(frames.frame(frames.PING, ACK, 0, payload))
        elif payload == _LAST_PING and self._goaway_at is not None:
            self._unconfirmed_pings -= 1
            if self._unconfirmed_pings > 0:
                self._write_last_ping()
            else:
                self._finish()

    def _receive_goaway(self, stream_id: int, _: int, payload: bytes) -> None:
        """Ignore that the client starts no more requests: it closes the connection itself."""
        self._count_control_frame()
        if stream_id:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "GOAWAY: expected stream 0")
        if len(payload) < 8:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY: expected at least 8 bytes")

    def _receive_window_update(self, stream_id: int, _: int, payload: bytes) -> None:
        """Send what has waited for the window."""
        self._count_control_frame()
        if len(payload) != 4:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE: expected 4 bytes")
        self._check_not_idle("WINDOW_UPDATE", stream_id, allow_connection=True)
        increment = frames.parse_uint32(payload) & MAX_WINDOW
        if stream_id == 0:
            self._send_window += increment
            if not increment or self._send_window > MAX_WINDOW:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                raise ConnectionFailedError(code, f"WINDOW_UPDATE: received {increment} bytes")
        elif (stream := self._streams.get(stream_id)) is not None:
            stream.send_window += increment
            if not increment or stream.send_window > MAX_WINDOW:
                raise StreamFailedError(
                    ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                )
        if self._blocked:
            self._send_blocked()

    def _check_not_idle(self, name: str, stream_id: int, allow_connection: bool = False) -> None:
        if stream_id > self._last_stream_id and self._finishing:
            return  # a stream that the server has left out
        if (stream_id == 0 and not allow_connection) or stream_id > self._last_stream_id:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, f"{name}: expected a stream that is open")

    def _count_control_frame(self) -> None:
        self._control_frames.left -= 1
        if self._control_frames.left < 0:
            raise ConnectionFailedError(
                ErrorCode.ENHANCE_YOUR_CALM, "expected fewer frames without a part of a call"
            )

    def _count_reset(self) -> None:
        self._resets.left -= 1
        if self._resets.left < 0:
            raise ConnectionFailedError(ErrorCode.ENHANCE_YOUR_CALM, "expected fewer streams that are reset")

    # Streams

    def respond(self, stream: Stream, head: bytes, body: bytes, trailers: bytes) -> bool:
        """Send the response of a stream, or as much of it as the client's windows allow.

        Args:
            stream: The stream.
            head: The header block.
            body: The body.
            trailers: The header block after the body.

        Returns:
            Whether the client still waits for it.
        """
        stream_id, size = stream.id, len(body)
        stream.receiver = None
        if stream_id not in self._streams or self._transport.is_closing():
            return False
        self._resets.left += RESETS_PER_RESPONSE
        if self._size_update:
            head, self._size_update = self._size_update + head, b""
        if not size:
            head_flags = END_HEADERS | END_STREAM
            self._transport.write(HEAD.pack(len(head) << 8 | frames.HEADERS, head_flags, stream_id) + head)
            self._end_response(stream)
            return True
        head_frame = HEAD.pack(len(head) << 8 | frames.HEADERS, END_HEADERS, stream_id)
        if (
            size <= stream.send_window
            and size <= self._send_window
            and size <= self._max_send_frame
            and trailers
        ):
            self._send_window -= size
            self._transport.write(
                b"".join(
                    (
                        head_frame,
                        head,
                        HEAD.pack(size << 8, 0, stream_id),
                        body,
                        HEAD.pack(len(trailers) << 8 | frames.HEADERS, END_HEADERS | END_STREAM, stream_id),
                        trailers,
                    )
                )
            )
            self._end_response(stream)
            return True
        self._transport.write(head_frame + head)
        stream.unsent, stream.trailers = memoryview(body), trailers
        if not self._blocked:
            self._stalled_since = self._loop.time()
        self._blocked[stream_id] = stream
        self._send_blocked()
        return True

    def _send_blocked(self) -> None:
        """Continue the responses that wait for the client's windows."""
        for stream in list(self._blocked.values()):
            if self._send_window <= 0 or self._write_paused:
                break
            self._continue_response(stream)
        if not self._blocked and not self._write_paused:
            self._stalled_since = None

    def _continue_response(self, stream: Stream) -> None:
        unsent = stream.unsent
        assert unsent is not None
        while unsent and not self._write_paused:
            size = min(len(unsent), self._send_window, stream.send_window, self._max_send_frame)
            if size <= 0:
                stream.unsent = unsent
                return
            last = size == len(unsent) and not stream.trailers
            self._transport.write(
                HEAD.pack(size << 8 | frames.DATA, END_STREAM if last else 0, stream.id) + unsent[:size]
            )
            self._send_window -= size
            stream.send_window -= size
            self._stalled_since = self._loop.time()
            self._control_frames.left += CONTROL_FRAMES_PER_DATA
            unsent = unsent[size:]
        stream.unsent = unsent
        if unsent:
            return
        del self._blocked[stream.id]
        if stream.trailers:
            self._transport.write(
                frames.frame(frames.HEADERS, END_HEADERS | END_STREAM, stream.id, stream.trailers)
            )
        self._end_response(stream)

    def _end_response(self, stream: Stream) -> None:
        """Forget a stream whose response is sent; reset it if the client is still sending (8.1)."""
        if not stream.request_ended:
            self._write_reset(stream.id, ErrorCode.NO_ERROR)
        self._close_stream(stream)

    def _close_stream(self, stream: Stream) -> None:
        """Forget a stream, and cancel its request if it has no response yet."""
        del self._streams[stream.id]
        if stream.unsent is not None:
            self._blocked.pop(stream.id, None)
        if stream.granted_bytes:
            self._enlarged_bytes -= stream.granted_bytes
            self._enlarge_next_windows()
        if (receiver := stream.receiver) is not None:
            stream.receiver = None
            receiver.cancel()
        if self._finishing and not self._streams:
            self._linger()

    def _fail_stream(self, stream_id: int, code: ErrorCode) -> None:
        self._write_reset(stream_id, code)
        if (stream := self._streams.get(stream_id)) is not None:
            self._close_stream(stream)
        self._count_reset()

    def _write_reset(self, stream_id: int, code: ErrorCode) -> None:
        self._reset_streams.append(stream_id)
        self._transport.write(frames.rst_stream(stream_id, code))

    def enlarge_window(self, stream: Stream, size: int) -> None:
        """Allow a client to send more bytes of a long body, in the order in which such bodies begin.

        Their sum is bounded. A body that waits continues when another one ends, and those that may continue
        need no other one, so none waits forever.

        Args:
            stream: The stream.
            size: The bytes in addition to the window.
        """
        self._enlargements.append((stream, size))
        self._enlarge_next_windows()

    def _enlarge_next_windows(self) -> None:
        while self._enlargements:
            stream, size = self._enlargements[0]
            if self._enlarged_bytes and self._enlarged_bytes + size > self._connections.max_enlarged_bytes:
                return
            self._enlargements.popleft()
            if stream.id in self._streams and not stream.request_ended:
                self._enlarged_bytes += size
                stream.granted_bytes += size
                stream.receive_window += size
                self._transport.write(frames.window_update(stream.id, size))

    # The end

    def shut_down(self) -> None:
        """End the connection without the loss of a request (section 6.8).

        A first GOAWAY announces the end. Requests that the client has sent before it received that are
        accepted until it has confirmed the PINGs behind it. A second GOAWAY names the last of them.
        """
        if self._goaway_at is not None or self._transport.is_closing():
            return
        self._goaway_at = self._loop.time()
        self._transport.write(frames.goaway(MAX_WINDOW, ErrorCode.NO_ERROR))
        self._write_last_ping()

    def _write_last_ping(self) -> None:
        self._transport.write(frames.frame(frames.PING, 0, 0, _LAST_PING))

    def _finish(self) -> None:
        """Accept no more requests, and close the connection after the responses to those in flight."""
        if self._finishing:
            return
        self._finishing = True
        self._transport.write(frames.goaway(self._last_stream_id, ErrorCode.NO_ERROR))
        if not self._streams:
            self._linger()

    def _linger(self) -> None:
        self._loop.call_later(LINGER_SECONDS, self._close)

    def _fail(self, code: ErrorCode, message: str) -> None:
        """End the connection after a violation of the protocol.

        Frames that still arrive are discarded for a while, so that the client receives the reason.
        """
        self._closing_since = self._loop.time()
        self._cancel_requests()
        self._transport.write(frames.goaway(self._last_stream_id, code, message))
        if self._transport.can_write_eof():  # TLS has no half-closed connection
            self._transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, self._transport.close)

    def _discard(self, data: bytes) -> None:
        self._discarded_bytes += len(data)
        if self._discarded_bytes > LINGER_BYTES:
            self._transport.close()

    def _cancel_requests(self) -> None:
        """Cancel the requests without a response, and forget what has arrived and what is unsent."""
        streams, self._streams = self._streams, {}
        self._blocked.clear()
        self._enlargements.clear()
        self._partial, self._block = b"", None
        for stream in streams.values():
            if stream.receiver is not None:
                stream.receiver.cancel()

    def _close(self) -> None:
        if self._closing_since is None:
            self._closing_since = self._loop.time()
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def check_timeouts(self, now: float) -> None:
        """End the connection if one of its timeouts has passed. It is called once per second."""
        self._resets.grow()
        self._control_frames.grow()
        if self._closing_since is not None:
            if now - self._closing_since > CLOSE_SECONDS:
                self._transport.abort()
        elif self._stalled_since is not None and now - self._stalled_since > STALL_SECONDS:
            self._transport.abort()
        elif now - self._last_activity > STALL_SECONDS and not all(
            stream.request_ended for stream in self._streams.values()
        ):
            self._fail(
                ErrorCode.ENHANCE_YOUR_CALM, f"expected the rest of a request in {STALL_SECONDS:.0f} s"
            )
        elif self._goaway_at is not None:
            if now - self._goaway_at > PING_SECONDS:
                self._finish()
        elif not self._settings_received:
            if now - self._opened_at > HANDSHAKE_SECONDS:
                self._close()
        elif now > self._expires_at:
            self.shut_down()


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    frames.DATA: Connection._receive_data,
    frames.HEADERS: Connection._receive_headers,
    frames.PRIORITY: Connection._receive_priority,
    frames.RST_STREAM: Connection._receive_reset,
    frames.SETTINGS: Connection._receive_settings,
    frames.PUSH_PROMISE: Connection._receive_push_promise,
    frames.PING: Connection._receive_ping,
    frames.GOAWAY: Connection._receive_goaway,
    frames.WINDOW_UPDATE: Connection._receive_window_update,
    frames.CONTINUATION: Connection._receive_continuation,
}
"""By type of a frame, the method that takes its stream, its flags and its payload."""


def _without_padding(flags: int, payload: bytes) -> bytes:
    """Return the payload of a frame without its padding, whose length is in its first byte (6.1)."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "expected less padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _parse_length(text: str) -> int:
    """Return the value of Content-Length."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise StreamFailedError(ErrorCode.PROTOCOL_ERROR)
    return int(text)
