# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import random
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.openloop import Generator, Outcome, arrivals, request, status_of, summarise

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n" + b"x" * 17


def test_arrivals_are_a_poisson_process_that_the_seed_repeats() -> None:
    starts = arrivals(1000.0, -1.0, 9.0, seed=7)
    assert starts == arrivals(1000.0, -1.0, 9.0, seed=7)
    assert starts != arrivals(1000.0, -1.0, 9.0, seed=8)
    assert starts == sorted(starts)
    assert starts[0] >= -1.0
    assert starts[-1] < 9.0
    # Of 10,000 expected, five standard deviations either way.
    assert abs(len(starts) - 10_000) < 500


def test_gaps_between_arrivals_vary_as_much_as_their_mean() -> None:
    starts = arrivals(1000.0, 0.0, 10.0, seed=1)
    gaps = [after - before for before, after in pairwise(starts)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)


@given(st.integers(0, len(ANSWER) - 1))
def test_an_answer_has_a_status_only_once_all_of_it_is_there(cut) -> None:
    assert status_of(ANSWER[:cut]) is None
    assert status_of(ANSWER) == 200


@pytest.mark.parametrize("answer", [b"\x15\x03\x01\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"])
def test_what_is_no_answer_with_a_length_is_refused(answer) -> None:
    with pytest.raises(ValueError, match="HTTP answer"):
        status_of(answer)


def test_the_request_is_one_that_says_its_length() -> None:
    head, _, body = request("http://127.0.0.1:8080/v1/models/m:predict", b"{}").partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /v1/models/m:predict HTTP/1.1"
    assert b"Content-Length: 2" in head.splitlines()
    assert b"Host: 127.0.0.1:8080" in head.splitlines()
    assert body == b"{}"


def test_latency_counts_from_the_intended_start_and_the_warm_up_counts_for_nothing() -> None:
    outcomes = [
        Outcome(-0.5, 0.5, 200),  # answered now, meant for the warm-up: only the rate of answers has it
        Outcome(0.1, 0.2, 200),
        Outcome(0.5, 1.5, 200),
        Outcome(1.9, 2.4, 200),  # meant for now, answered later: only the latencies have it
        Outcome(1.0, 1.1, 429),
        Outcome(1.2, 1.3, 503),
        Outcome(1.4, 1.5, 500),
        Outcome(1.6, None, None),
    ]
    seen = summarise(outcomes, [9.0] + [0.001] * 7, seconds=2.0, cpu=1.0)
    assert seen.offered == 3.5
    assert seen.rps == 1.5
    assert (seen.refused, seen.failed) == (2, 2)
    assert seen.p50_ms == pytest.approx(500)
    assert seen.p99_ms == pytest.approx(990)
    assert seen.lag_ms == pytest.approx(1.0)
    assert seen.generator_cpu == 0.5


def test_without_a_right_answer_there_is_no_latency() -> None:
    seen = summarise([Outcome(0.0, 0.1, 429)], [0.0], seconds=1.0, cpu=0.1)
    assert (seen.rps, seen.p50_ms, seen.p99_ms) == (0.0, None, None)


@pytest.fixture
def stub() -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """A server that closes every fifth connection instead of answering, and answers the rest in pieces."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve(connection):
        with connection:
            while received := connection.recv(65536):
                asked.append(received)
                if len(asked) % 5 == 0:
                    return
                connection.sendall(ANSWER[:30])
                connection.sendall(ANSWER[30:])

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname(), asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_every_request_of_the_schedule_is_sent_once_and_lost_ones_are_failures(stub) -> None:
    address, asked = stub
    content = request("http://stub/", b"{}")
    generator = Generator(address, content, connections=4)
    source = random.Random(3)
    starts = sorted(source.uniform(-0.1, 0.2) for _ in range(100))
    try:
        outcomes, lags, cpu = generator.run(starts, 0.2)
    finally:
        generator.close()
    assert asked == [content] * 100
    assert len(outcomes) == len(lags) == 100
    assert sum(outcome.status == 200 for outcome in outcomes) == 80
    assert sum(outcome.status == 0 for outcome in outcomes) == 20
    assert all(o.answered is not None and o.answered >= o.intended for o in outcomes)
    assert min(lags) >= 0
    assert cpu > 0
