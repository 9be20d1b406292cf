# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 responses, read from bytes, a socket or an asyncio stream.

For tests that control the bytes of a connection: partial requests, pipelining, abrupt ends. All other tests
use httpx. A body needs ``Content-Length``, because no server here sends chunks. Interim responses (RFC 9110,
section 15.2) are skipped. It imports the standard library only, so that a program in a pod can carry it.
"""

import asyncio
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"


class MalformedResponseError(ValueError):
    """Bytes that are not an HTTP/1.1 response with a ``Content-Length``."""


class IncompleteResponseError(ConnectionError):
    """A connection that ended within a response, or before its first byte."""


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and the headers of a response."""

    status: int
    reason: str
    """The reason phrase."""
    headers: Mapping[str, str]
    """Values by lower-case name."""

    @property
    def content_length(self) -> int:
        """The bytes of the body.

        Raises:
            MalformedResponseError: If the header is absent or is not a number.
        """
        value = self.headers.get("content-length", "")
        if not value.isdecimal():
            raise MalformedResponseError(f"content-length: expected a number of bytes, received {value!r}")
        return int(value)

    @property
    def closes(self) -> bool:
        """Whether the connection ends after this response."""
        return self.headers.get("connection", "").lower() == "close"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Values by lower-case name."""
        return self.head.headers

    @property
    def closes(self) -> bool:
        """Whether the connection ends after this response."""
        return self.head.closes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


def parse_head(content: bytes) -> Head:
    r"""Parse a response's head, with or without its empty line.

    Raises:
        MalformedResponseError: If the status line is not that of HTTP/1.1, or a header occurs twice.

    >>> parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    Head(status=200, reason='OK', headers={'content-length': '2'})
    """
    status_line, *lines = content.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version != "HTTP/1.1" or not status.isdecimal():
        raise MalformedResponseError(
            f"status line: expected HTTP/1.1 and a status, received {status_line!r:.60}"
        )
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() in headers:
            raise MalformedResponseError(f"{name}: expected one value, received two")
        headers[name.lower()] = value.strip()
    return Head(int(status), reason, headers)


def parse_response(content: bytes) -> tuple[Response, bytes] | None:
    r"""Parse the first final response.

    Returns:
        The response and the bytes after it; None while the response is incomplete.

    Raises:
        MalformedResponseError: If the bytes are not a response.

    >>> parse_response(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}more")[1]
    b'more'
    >>> parse_response(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")
    """
    while True:
        content_head, separator, rest = content.partition(_END_OF_HEAD)
        if not separator:
            if not content.startswith(b"HTTP/1.1 "[: len(content)]):
                raise MalformedResponseError(f"status line: expected HTTP/1.1, received {content[:40]!r}")
            return None
        head = parse_head(content_head)
        if head.status >= 200:
            break
        content = rest
    length = head.content_length
    return (Response(head, rest[:length]), rest[length:]) if len(rest) >= length else None


def parse_responses(content: bytes) -> list[Response]:
    """Parse every response on a connection.

    Raises:
        IncompleteResponseError: If the last response is incomplete.
        MalformedResponseError: If the bytes are not responses.
    """
    responses = []
    while content:
        parsed = parse_response(content)
        if parsed is None:
            raise IncompleteResponseError(f"the connection ended after {content[:200]!r}")
        response, content = parsed
        responses.append(response)
    return responses


def receive_response(connection: socket.socket) -> Response:
    """Receive one response; bytes after it are an error.

    Raises:
        IncompleteResponseError: If the connection ends before the response is complete.
        MalformedResponseError: If the bytes are not one response.
    """
    received = b""
    while (parsed := parse_response(received)) is None:
        chunk = connection.recv(65_536)
        if not chunk:
            raise IncompleteResponseError(f"the connection ended after {len(received)} bytes")
        received += chunk
    response, rest = parsed
    if rest:
        raise MalformedResponseError(f"expected one response, received {rest[:40]!r} after it")
    return response


async def read_response(reader: asyncio.StreamReader) -> Response:
    """Read one final response; the reader keeps the bytes after it.

    Raises:
        IncompleteResponseError: If the connection ends before the response is complete.
        MalformedResponseError: If the bytes are not a response.
    """
    try:
        while (head := parse_head(await reader.readuntil(_END_OF_HEAD))).status < 200:
            pass
        return Response(head, await reader.readexactly(head.content_length))
    except asyncio.IncompleteReadError as error:
        raise IncompleteResponseError(f"the connection ended after {len(error.partial)} bytes") from None
