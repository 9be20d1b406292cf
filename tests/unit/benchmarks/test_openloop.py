# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import random
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.openloop import Generator, Outcome, parse_status, request_bytes, summarize

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n" + b"x" * 17


@given(st.integers(0, len(RESPONSE) - 1))
def test_parse_status_partial_response_returns_none(cut) -> None:
    assert parse_status(RESPONSE[:cut]) is None
    assert parse_status(RESPONSE) == 200


@pytest.mark.parametrize(
    "received", [b"\x15\x03\x01\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"]
)
def test_parse_status_other_bytes_raise(received) -> None:
    with pytest.raises(ValueError, match=r"(status line|headers): expected .*, received"):
        parse_status(received)


def test_request_bytes_have_host_and_length() -> None:
    head, _, body = request_bytes("http://127.0.0.1:8080/v1/models/m:predict", b"{}").partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /v1/models/m:predict HTTP/1.1"
    assert b"Content-Length: 2" in head.splitlines()
    assert b"Host: 127.0.0.1:8080" in head.splitlines()
    assert body == b"{}"


def test_summarize_counts_latency_from_the_intended_start() -> None:
    outcomes = [
        Outcome(
            -0.5, 0.5, 200
        ),  # starts in the warm-up, completes in the measurement: counts in the throughput only
        Outcome(0.1, 0.2, 200),
        Outcome(0.5, 1.5, 200),
        Outcome(1.9, 2.4, 200),  # starts in the measurement, completes after it: counts in the latency only
        Outcome(1.0, 1.1, 429),
        Outcome(1.2, 1.3, 503),
        Outcome(1.4, 1.5, 500),
        Outcome(1.6, None, None),
    ]
    summary = summarize(outcomes, [9.0] + [0.001] * 7, seconds=2.0, cpu=1.0)
    assert summary.offered == 3.5
    assert summary.rps == 1.5
    assert (summary.rejected, summary.failed) == (2, 2)
    assert summary.p50_ms == pytest.approx(500)
    assert summary.p99_ms == pytest.approx(1000)
    assert summary.send_delay_ms == pytest.approx(1.0)
    assert summary.generator_cpu == 0.5


def test_summarize_without_success_has_no_latency() -> None:
    summary = summarize([Outcome(0.0, 0.1, 429)], [0.0], seconds=1.0, cpu=0.1)
    assert (summary.rps, summary.p50_ms, summary.p99_ms) == (0.0, None, None)


@pytest.fixture
def stub() -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """Start a server that closes every fifth connection, and sends its other responses in two pieces."""
    listener = socket.create_server(("127.0.0.1", 0))
    received_requests = []

    def serve(connection):
        with connection:
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


def test_generator_sends_each_request_once_and_counts_losses(stub) -> None:
    address, received_requests = stub
    content = request_bytes("http://stub/", b"{}")
    generator = Generator(address, content, connections=4)
    source = random.Random(3)
    starts = sorted(source.uniform(-0.1, 0.2) for _ in range(100))
    try:
        outcomes, delays, cpu = generator.run(starts, 0.2)
    finally:
        generator.close()
    assert received_requests == [content] * 100
    assert len(outcomes) == len(delays) == 100
    assert sum(outcome.status == 200 for outcome in outcomes) == 80
    assert sum(outcome.status == 0 for outcome in outcomes) == 20
    assert all(o.completed is not None and o.completed >= o.intended_start for o in outcomes)
    assert min(delays) >= 0
    assert cpu > 0
