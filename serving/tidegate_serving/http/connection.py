# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Connections: uvicorn's protocol with a limit on a request's head, and with a close that loses no response.

uvicorn's parser accepts a head of any size. uvicorn closes a connection at once, and the kernel then resets
it if the client is still sending. A client that writes its whole request before it reads would receive the
reset instead of the response. So a connection reads on for a bounded time and amount, from RFC 9112, section
9.6.
"""

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tidegate_serving.http.head import MAX_HEAD_BYTES
from tidegate_serving.http.responses import header_lines, json_response

LINGER_BYTES = 64 << 20
"""Most bytes that are read after the last response, to be discarded."""

LINGER_INTERVAL = 5.0
"""Seconds without bytes after which the reading ends, as in nginx."""

LINGER_CHECKS = 6
"""Intervals after which it ends in any case."""

_HEAD_TOO_LARGE_BODY = orjson.dumps(
    {
        "error": f"head: expected at most {MAX_HEAD_BYTES} bytes of request line and headers, received more; "
        "send shorter or fewer headers."
    }
)
_HEAD_TOO_LARGE = json_response(_HEAD_TOO_LARGE_BODY, 431, {"Connection": "close"})


class HttpConnection(HttpToolsProtocol):
    """A connection of uvicorn's server.

    Args:
        *args: The arguments of uvicorn's protocol.
        linger_bytes: Most bytes that are read after the last response.
        **kwargs: The arguments of uvicorn's protocol.
    """

    def __init__(self, *args: Any, linger_bytes: int = LINGER_BYTES, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.linger_bytes = linger_bytes
        self.in_message = False
        """Whether the parser is within a message."""
        self._in_head = False
        self._parsed_head_bytes = 0
        """Bytes of the complete headers of the message."""
        self._progresses = False
        """Whether the chunk that is being parsed begins or ends a head, or holds a part of the body."""
        self._field_bytes = 0
        """Bytes of the chunks since then, which hold nothing but a part of the head, or of the trailers."""
        self._lingering = False

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and end a head or trailers that are too large before they are complete."""
        self._progresses = False
        super().data_received(data)
        if self._progresses or not self.in_message:
            return
        self._field_bytes += len(data)
        if self._field_bytes <= MAX_HEAD_BYTES:
            return
        if self._in_head:
            self._reject_head()
        else:
            # uvicorn keeps trailers with the headers. The application has the request already, so no response
            # can say what is wrong.
            self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a message begins with its head."""
        self.in_message = self._in_head = True
        self._parsed_head_bytes = 0
        self._note_progress()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the bytes."""
        self._parsed_head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes."""
        self._parsed_head_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application, or reject a head that is too large."""
        self._in_head = False
        self._note_progress()
        application = self.app
        if self._parsed_head_bytes > MAX_HEAD_BYTES:
            self.app = _HEAD_TOO_LARGE
        super().on_headers_complete()
        self.app = application
        if self.cycle is not None:
            self.cycle.transport = _CycleTransport(self)

    def on_body(self, body: bytes) -> None:
        """Note the progress."""
        self._note_progress()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the parser is between two messages."""
        self.in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, unless the connection ends."""
        if not self._lingering:
            super().on_response_complete()

    def end(self) -> None:
        """Close the connection after a response; within a request, so that its client can read it."""
        if self.in_message:
            self._lingering = True
            _LingeringClose(self)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Close the connection, after the response to a request in flight."""
        if not self._lingering:  # bounded already
            super().shutdown()

    def _note_progress(self) -> None:
        self._progresses, self._field_bytes = True, 0

    def _reject_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # From RFC 9112, section 9.3.2: responses are sent in the order of the requests. So the connection
            # ends with the response to the request before this one.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        lines = header_lines(_HEAD_TOO_LARGE.headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[431], lines, _HEAD_TOO_LARGE_BODY))
        self.end()


class _CycleTransport(asyncio.Transport):
    """The transport as uvicorn's request cycle uses it, which ends the connection in its own way."""

    def __init__(self, connection: HttpConnection) -> None:
        super().__init__()
        self._connection = connection

    def write(self, data: Any) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        self._connection.end()


class _LingeringClose(asyncio.Protocol):
    """The last protocol of a connection: it sends no more, and discards what it receives.

    The connection closes when the client has closed its side, has sent too much, or has sent nothing for an
    interval.
    """

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._bytes_left = connection.linger_bytes
        self._checks_left = LINGER_CHECKS
        self._received = False
        self._transport.set_protocol(self)
        if self._transport.can_write_eof():  # TLS has no half-closed connection
            self._transport.write_eof()
        connection.flow.resume_reading()
        self._timer = connection.loop.call_later(LINGER_INTERVAL, self._check)

    def data_received(self, data: bytes) -> None:
        self._received = True
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connection.connection_lost(exc)

    def _check(self) -> None:
        self._checks_left -= 1
        if self._received and self._checks_left:
            self._received = False
            self._timer = self._connection.loop.call_later(LINGER_INTERVAL, self._check)
        else:
            self._transport.close()
