# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Calls: gRPC's protocol over the streams of HTTP/2, for methods with one message in each direction.

It reads a request's head and message, and writes a response's head, message and status. From gRPC's documents
PROTOCOL-HTTP2.md, compression.md, statuscodes.md and http-grpc-status-mapping.md. Frames and flow control are
in :mod:`tidegate_serving.grpc.http2.connection`, and the methods in :mod:`tidegate_serving.grpc.servicer`.
"""

import time
import zlib
from collections.abc import Mapping
from urllib.parse import quote

from tidegate_serving.errors import BodyTooLargeError, RequestError
from tidegate_serving.grpc.http2 import hpack
from tidegate_serving.grpc.http2.connection import Stream
from tidegate_serving.grpc.http2.frames import DEFAULT_WINDOW
from tidegate_serving.grpc.http2.headers import MAX_HEADER_BYTES, Headers
from tidegate_serving.grpc.servicer import Method, PendingCall

STATUSES = {
    "OK": 0,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
"""The numbers of gRPC's status codes that calls end with."""

_PREFIX_BYTES = 5
"""Bytes before a message: whether it is compressed, and its length in four bytes."""

_CONTENT_TYPE = "application/grpc"
_HEAD_FIELDS = ((":status", "200"), ("content-type", _CONTENT_TYPE))
_HEAD = hpack.encode(_HEAD_FIELDS)
_OK = hpack.encode((("grpc-status", "0"),))

_WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""zlib's parameter by the name of a compression; ``deflate`` is RFC 1950's format."""

_TIMEOUT_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1.0, "M": 60.0, "H": 3600.0}
_MAX_TIMEOUT_DIGITS = 8

_PLAIN_MESSAGE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""Characters of a status message that are not percent-encoded."""


class CallError(Exception):
    """A request that is not a call of gRPC's protocol.

    Args:
        status: The name of gRPC's status code.
        message: The message for the client.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class GrpcApplication:
    """The calls of a service, for the connections of a server.

    Args:
        methods: The methods by path.
        max_message_bytes: The longest message, also after its decompression.
    """

    def __init__(self, methods: Mapping[str, Method], max_message_bytes: int) -> None:
        self._methods = methods
        self._max_message_bytes = max_message_bytes

    def start(self, stream: Stream, headers: Headers) -> "GrpcCall | OtherRequest | None":
        """Return the receiver of a request; None if it has its response already."""
        if headers[":method"] != "POST":
            text = "Method: expected POST, received another one."
            return OtherRequest(stream, "405", text, ("allow", "POST"))
        content_type = headers.get("content-type", "")
        if content_type != _CONTENT_TYPE and not content_type.startswith(
            (f"{_CONTENT_TYPE}+", f"{_CONTENT_TYPE};")
        ):
            text = (
                f"Content-Type: expected {_CONTENT_TYPE}, received '{content_type:.60}'; REST has a port of "
                "its own."
            )
            return OtherRequest(stream, "415", text)
        try:
            method = self._methods.get(headers[":path"])
            if method is None:
                raise CallError("UNIMPLEMENTED", "Method not found!")  # in grpcio's words
            timeout = headers.get("grpc-timeout")
            deadline = None if timeout is None else time.perf_counter() + parse_timeout(timeout)
        except CallError as error:
            stream.respond(encode_error(error.status, str(error)))
            return None
        return GrpcCall(stream, headers, method, deadline, self._max_message_bytes)

    def reject_headers(self, stream: Stream) -> None:
        """Reject a request whose metadata is too large."""
        # gRPC's own status is RESOURCE_EXHAUSTED, after which clients retry.
        stream.respond(
            encode_error(
                "INVALID_ARGUMENT",
                f"metadata: expected at most {MAX_HEADER_BYTES} bytes, received more; send less metadata.",
            )
        )


class GrpcCall:
    """A call, from its head to its response.

    Args:
        stream: The stream.
        headers: The request's header fields.
        method: The method.
        deadline: The time until which the client waits, in seconds of the batcher's clock; None if unlimited.
        max_message_bytes: The longest message.
    """

    __slots__ = (
        "_body",
        "_expected_bytes",
        "_max_message_bytes",
        "_method",
        "_pending",
        "_stream",
        "deadline",
        "metadata",
        "trailing_metadata",
    )

    def __init__(
        self,
        stream: Stream,
        headers: Headers,
        method: Method,
        deadline: float | None,
        max_message_bytes: int,
    ) -> None:
        self._stream = stream
        self._method = method
        self._max_message_bytes = max_message_bytes
        self._body: bytearray | None = None
        """The beginning of a body in several parts."""
        self._expected_bytes = 0
        """The bytes of such a body, as soon as they are known."""
        self._pending: PendingCall | None = None
        self.metadata = headers
        """The metadata by key; values of binary keys as they are sent, in base64."""
        self.deadline = deadline
        self.trailing_metadata: tuple[tuple[str, str], ...] = ()

    @property
    def client(self) -> str:
        """The address of the connection's other side; empty if it is unknown."""
        return self._stream.connection.client

    # The request

    def receive(self, content: bytes, ended: bool) -> None:
        """Take a part of the body, and start the call after the last one."""
        try:
            if self._body is None:
                if ended:
                    self._start(content)
                    return
                self._body = bytearray()
            self._collect(content)
            if ended:
                body, self._body = bytes(self._body), None
                self._start(body)
        except CallError as error:
            self._fail(error)
        except BodyTooLargeError as error:
            self._body = None
            self._method.reject(error, self)

    def _collect(self, content: bytes) -> None:
        body = self._body
        assert body is not None
        body += content
        if not self._expected_bytes and len(body) >= _PREFIX_BYTES:
            length = self._parse_length(body)
            self._expected_bytes = _PREFIX_BYTES + length
            if self._expected_bytes > DEFAULT_WINDOW:
                self._stream.enlarge_window(self._expected_bytes - DEFAULT_WINDOW)
        if 0 < self._expected_bytes < len(body):
            raise _too_many_messages()

    def _parse_length(self, body: bytes | bytearray) -> int:
        """Return the length of the message, of which the prefix is there."""
        length = int.from_bytes(body[1:_PREFIX_BYTES])
        if length > self._max_message_bytes:
            raise BodyTooLargeError(self._max_message_bytes)
        return length

    def _start(self, body: bytes) -> None:
        """Call the method with the message of a complete body."""
        if not body:
            raise CallError("UNIMPLEMENTED", "message: expected one, received none.")
        size = len(body) - _PREFIX_BYTES
        if size < 0:
            raise CallError(
                "INTERNAL", f"message: expected a prefix of {_PREFIX_BYTES} bytes, received {len(body)}."
            )
        length = self._parse_length(body)
        if length > size:
            raise CallError("INTERNAL", f"message: expected {length} bytes, received {size}.")
        if length < size:
            raise _too_many_messages()
        message = body[_PREFIX_BYTES:]
        if body[0]:
            message = decompress(message, self.metadata.get("grpc-encoding"), self._max_message_bytes)
        self._pending = self._method.start(message, self)

    def cancel(self) -> None:
        """Cancel the call, because its client does not wait any more."""
        self._body = None
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    # The response

    def respond(self, message: bytes) -> bool:
        """Send the message; return whether the client still waits for it."""
        self._pending = None  # which refers to this call
        trailers = _OK
        if self.trailing_metadata:
            trailers += hpack.encode(self.trailing_metadata)
        return self._stream.respond(_HEAD, b"\0" + len(message).to_bytes(4) + message, trailers)

    def reject(self, error: RequestError) -> bool:
        """Send an error; return whether the client still waits for it."""
        self._pending = None
        return self._stream.respond(encode_error(error.code.grpc_status, str(error), self.trailing_metadata))

    def _fail(self, error: CallError) -> None:
        self._body = None
        fields = (
            (("grpc-accept-encoding", "identity,deflate,gzip"),) if isinstance(error, EncodingError) else ()
        )
        self._stream.respond(encode_error(error.status, str(error), fields))


class OtherRequest:
    """A request of a client that does not speak gRPC. Its response is sent when its body begins or ends.

    Until then the stream is open, so that a violation of the protocol by the next frame has its own error.

    Args:
        stream: The stream.
        status: The status of HTTP.
        text: The body of the response.
        fields: Header fields of the response in addition to its type.
    """

    __slots__ = ("_head", "_stream", "_text")

    def __init__(self, stream: Stream, status: str, text: str, *fields: tuple[str, str]) -> None:
        self._stream = stream
        self._head = hpack.encode(
            ((":status", status), ("content-type", "text/plain; charset=utf-8"), *fields)
        )
        self._text = text

    def receive(self, content: bytes, ended: bool) -> None:
        """Send the response."""
        self._stream.respond(self._head, f"{self._text}\n".encode())

    def cancel(self) -> None:
        """Send no response."""


class EncodingError(CallError):
    """A message that is compressed in an unknown way."""


def _too_many_messages() -> CallError:
    return CallError("UNIMPLEMENTED", "message: expected one, received more.")


def parse_timeout(text: str) -> float:
    """Return the value of ``grpc-timeout`` in seconds.

    >>> parse_timeout("250m")
    0.25

    Raises:
        CallError: If it is not a number of at most eight digits and a unit.
    """
    digits, unit = text[:-1], text[-1:]
    if (
        unit in _TIMEOUT_UNITS
        and digits.isdecimal()
        and digits.isascii()
        and len(digits) <= _MAX_TIMEOUT_DIGITS
    ):
        return int(digits) * _TIMEOUT_UNITS[unit]
    raise CallError(
        "INVALID_ARGUMENT",
        f"grpc-timeout: expected at most {_MAX_TIMEOUT_DIGITS} digits and one of "
        f"{', '.join(_TIMEOUT_UNITS)}, received '{text:.60}'.",
    )


def decompress(message: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Decompress a message.

    Args:
        message: The message.
        encoding: The value of ``grpc-encoding``.
        max_bytes: The longest message after decompression.

    Raises:
        CallError: If the encoding is unknown or the message is not encoded in this way.
        BodyTooLargeError: If the message is longer.
    """
    if encoding is None or encoding == "identity":
        raise CallError(
            "INTERNAL", "message: expected grpc-encoding for a compressed message, received none."
        )
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise EncodingError(
            "UNIMPLEMENTED", f"grpc-encoding: expected identity, deflate or gzip, received '{encoding:.60}'."
        )
    decompressor = zlib.decompressobj(bits)
    try:
        content = decompressor.decompress(message, max_bytes + 1)
    except zlib.error:
        raise CallError("INTERNAL", f"message: expected {encoding}, received other bytes.") from None
    if len(content) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    if not decompressor.eof or decompressor.unused_data:
        raise CallError("INTERNAL", f"message: expected {encoding}, received it in part or with more bytes.")
    return content


def encode_error(status: str, message: str, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    """Return the header block of a response without a message, which is called Trailers-Only.

    Args:
        status: The name of gRPC's status code.
        message: The message, which is percent-encoded.
        metadata: Trailing metadata.
    """
    trailers = ("grpc-status", str(STATUSES[status])), ("grpc-message", quote(message, safe=_PLAIN_MESSAGE))
    return hpack.encode((*_HEAD_FIELDS, *trailers, *metadata))
