# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import socket

import pytest

from tests.support.http_client import (
    IncompleteResponseError,
    MalformedResponseError,
    Response,
    parse_response,
    parse_responses,
    read_response,
    receive_response,
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCONTENT-LENGTH: 7\r\n\r\n{"a":1}'
LAST = b"HTTP/1.1 503 Service Unavailable\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n"


def test_parse_responses_pipelined_returns_each() -> None:
    first, last = parse_responses(CONTINUE + OK + LAST)
    assert (first.status, first.json(), first.closes) == (200, {"a": 1}, False)
    assert first.headers["content-type"] == "application/json"
    assert (last.status, last.body, last.closes) == (503, b"", True)


@pytest.mark.parametrize("received", range(len(CONTINUE + OK)))
def test_parse_response_partial_returns_none(received: int) -> None:
    assert parse_response((CONTINUE + OK)[:received]) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\x15\x03\x01",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_parse_response_malformed_raises(content: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        parse_response(content)


def receive(content: bytes) -> Response:
    client, server = socket.socketpair()
    with client, server:
        server.sendall(content)
        server.shutdown(socket.SHUT_WR)
        return receive_response(client)


def read(content: bytes) -> Response:
    async def main() -> Response:
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        return await read_response(reader)

    return asyncio.run(main())


@pytest.mark.parametrize("function", [receive, read])
def test_reading_a_connection_returns_the_response(function: object) -> None:
    assert callable(function)
    assert function(CONTINUE + OK) == parse_responses(OK)[0]


@pytest.mark.parametrize("function", [receive, read])
@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 200", OK[:-1]])
def test_reading_an_ended_connection_raises(function: object, content: bytes) -> None:
    assert callable(function)
    with pytest.raises(IncompleteResponseError, match="connection ended"):
        function(content)


def test_receive_response_with_bytes_after_it_raises() -> None:
    with pytest.raises(MalformedResponseError, match="expected one response"):
        receive(OK + LAST)
