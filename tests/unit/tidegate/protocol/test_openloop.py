# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.protocol.openloop import (
    LAST_RESPONSE_SECONDS,
    OpenLoopClient,
    Response,
    parse_response,
    request_bytes,
)

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n" + b"x" * 17


@given(st.integers(0, len(RESPONSE) - 1))
def test_parse_response_partial_bytes_return_none(cut: int) -> None:
    assert parse_response(RESPONSE[:cut]) is None
    assert parse_response(RESPONSE) == Response(
        200, {"content-type": "application/json", "content-length": "17"}, b"x" * 17
    )


@pytest.mark.parametrize(
    "received", [b"\x15\x03\x01\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"]
)
def test_parse_response_other_bytes_raise(received: bytes) -> None:
    with pytest.raises(ValueError, match=r"(status line|headers): expected .*, received"):
        parse_response(received)


def test_request_bytes_have_host_and_length() -> None:
    head, _, body = request_bytes("http://127.0.0.1:8080/v1/models/m:predict", b"{}").partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /v1/models/m:predict HTTP/1.1"
    assert b"Content-Length: 2" in head.splitlines()
    assert b"Host: 127.0.0.1:8080" in head.splitlines()
    assert body == b"{}"


@pytest.fixture
def stub() -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """Start a server that closes every fifth connection, and sends its other responses in two pieces."""
    listener = socket.create_server(("127.0.0.1", 0))
    received_requests = []

    def serve(connection):
        with connection, suppress(ConnectionResetError):  # the client resets its connections at its end
            while received := connection.recv(65536):
                received_requests.append(received)
                if len(received_requests) % 5 == 0:
                    return
                connection.sendall(RESPONSE[:30])
                connection.sendall(RESPONSE[30:])

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname(), received_requests
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_client_sends_each_request_once_and_counts_losses(stub) -> None:
    address, received_requests = stub
    content = request_bytes("http://stub/", b"{}")
    client = OpenLoopClient(address, [content], connections=4, keep_every=3)
    source = random.Random(3)
    starts = sorted(source.uniform(-0.1, 0.2) for _ in range(100))
    try:
        outcomes, delays, cpu = client.run(starts, 0.2)
    finally:
        client.close()
    waits = [(outcome, delay - 1e-6) for outcome, delay in zip(outcomes, delays, strict=True)]
    assert received_requests == [content] * 100
    assert len(outcomes) == len(delays) == 100
    assert sum(outcome.status == 200 for outcome in outcomes) == 80
    assert sum(outcome.status == 0 for outcome in outcomes) == 20
    assert all(o.completed is not None and o.completed >= o.intended_start for o in outcomes)
    assert all(o.sent is not None and o.sent >= o.intended_start + delay for o, delay in waits)
    assert [index for index, o in enumerate(outcomes) if o.response is not None] == list(range(0, 100, 3))
    assert {o.response.body for o in outcomes if o.response is not None and o.status == 200} == {b"x" * 17}
    assert min(delays) >= 0
    assert cpu > 0


@pytest.fixture
def closing_stub() -> Iterator[tuple[tuple[str, int], list[int]]]:
    """Start a server that reads a whole request, and closes the connection after its response."""
    listener = socket.create_server(("127.0.0.1", 0))
    lengths = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(ConnectionResetError), connection, connection.makefile("rb") as stream:
                length = 0
                while (line := stream.readline().lower()) not in (b"\r\n", b""):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                if length:
                    lengths.append(len(stream.read(length)))
                    connection.sendall(RESPONSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname(), lengths
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_client_sends_large_bodies_and_reconnects(closing_stub) -> None:
    address, lengths = closing_stub
    contents = [request_bytes("http://stub/", b"x" * size) for size in (5, 16_000_000)]
    client = OpenLoopClient(address, contents, connections=1)
    try:
        outcomes, _, _ = client.run([0.0] * 4, 10.0)
    finally:
        client.close()
    assert [outcome.status for outcome in outcomes] == [200] * 4
    assert lengths == [5, 16_000_000] * 2


def test_client_waits_for_late_responses_as_long_as_told(stub) -> None:
    address, _ = stub
    client = OpenLoopClient(address, [request_bytes("http://stub/", b"{}")], connections=4)
    try:
        # The measurement has ended before the first request: all responses come after it.
        ends = -LAST_RESPONSE_SECONDS
        missing, _, _ = client.run([0.0, 0.0], ends)
        responses, _, _ = client.run([0.0, 0.0], ends, response_seconds=LAST_RESPONSE_SECONDS + 60)
    finally:
        client.close()
    assert [outcome.status for outcome in missing] == [None, None]
    assert [outcome.status for outcome in responses] == [200, 200]


def test_client_without_response_returns_no_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = OpenLoopClient(silent.getsockname(), [request_bytes("http://stub/", b"")], connections=2)
        try:
            # The measurement has ended before the first request: the client waits for no response.
            outcomes, _, _ = client.run([0.0, 0.0, 0.0], -LAST_RESPONSE_SECONDS)
        finally:
            client.close()
    assert [(outcome.completed, outcome.status) for outcome in outcomes] == [(None, None)] * 3
