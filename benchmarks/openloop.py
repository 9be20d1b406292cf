# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The open loop: requests at times that were fixed beforehand, whatever the answers do.

A closed loop cannot overload a server: it asks less as soon as it is answered late. Here latency counts from
the moment a request was meant to start, so that waiting for a free connection is part of it. It runs as a
process of its own (``python -m benchmarks.openloop``), on the generator's core, and says how late it was.
"""

import argparse
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

_GRACE = 3.0
"""Seconds after the last start in which answers still count."""
_FIRST = "HTTP/1.1 "


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: times in seconds from the start of the measured time."""

    intended: float
    answered: float | None
    status: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the measured time saw.

    Args:
        offered: Requests a second that were meant to start.
        rps: Answers with status 200 a second.
        refused: Requests that were answered 429 or 503: the server's way of saying no.
        failed: Requests with another answer, or none.
        p50_ms: Median latency of the 200s, from the intended start; None if there are none.
        p99_ms: Its 99th percentile.
        lag_ms: The 99th percentile of how late the generator was to look at a request.
        generator_cpu: The share of its core that it used.
    """

    offered: float
    rps: float
    refused: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    lag_ms: float
    generator_cpu: float


def arrivals(rate: float, begin: float, end: float, seed: int) -> list[float]:
    """Starts of a Poisson process in seconds: gaps are exponential and independent."""
    source = random.Random(seed)
    gaps = iter(lambda: source.expovariate(rate), None)
    return list(takewhile(lambda at: at < end, accumulate(gaps, initial=begin)))


def request(url: str, body: bytes) -> bytes:
    """The bytes of a V1 request."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def status_of(received: bytes) -> int | None:
    """The status of an answer that is complete, or None while some of it is on its way.

    Only answers with a Content-Length are understood: that is all the servers here send.

    Raises:
        ValueError: It is something else.
    """
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    line, _, fields = head.decode("latin-1").partition("\r\n")
    if not line.startswith(_FIRST):
        raise ValueError(f"no HTTP answer: {line[:40]!r}")
    for field in fields.split("\r\n"):
        name, _, value = field.partition(":")
        if name.lower() == "content-length":
            return int(line[len(_FIRST) :].split(" ")[0]) if len(body) >= int(value) else None
    raise ValueError("an HTTP answer without Content-Length")


def summarise(outcomes: Sequence[Outcome], lags: Sequence[float], seconds: float, cpu: float) -> Summary:
    """Count what was meant to start in the measured time, and time what was answered.

    Args:
        outcomes: Of all requests; those of the warm-up were meant to start before 0.
        lags: How late each was looked at, in seconds, in the same order.
        seconds: The measured time.
        cpu: Seconds of CPU in it.
    """
    measured = [outcome for outcome in outcomes if outcome.intended >= 0]
    right = [o for o in measured if o.status == 200 and o.answered is not None]
    refused = sum(outcome.status in (429, 503) for outcome in measured)
    latency = sorted((o.answered - o.intended) * 1e3 for o in right if o.answered is not None)
    # A backlog of the warm-up may be answered now, and one of now later: what counts is the rate of answers.
    in_time = sum(o.status == 200 and o.answered is not None and 0 <= o.answered < seconds for o in outcomes)
    late = [lag * 1e3 for outcome, lag in zip(outcomes, lags, strict=True) if outcome.intended >= 0]
    return Summary(
        len(measured) / seconds,
        in_time / seconds,
        refused,
        len(measured) - len(right) - refused,
        _percentile(latency, 50),
        _percentile(latency, 99),
        _percentile(late, 99) or 0.0,
        cpu / seconds,
    )


def _percentile(values: Sequence[float], q: int) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=100, method="inclusive")[q - 1]


class Generator:
    """Sends requests over connections that are open before the first one.

    Args:
        address: Host and port.
        content: The bytes of every request.
        connections: How many can be in flight.
    """

    def __init__(self, address: tuple[str, int], content: bytes, connections: int) -> None:
        self._address = address
        self._content = content
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._received: dict[int, bytes] = {}
        self._asked: dict[int, int] = {}
        self._idle = [self._connect() for _ in range(connections)]

    def run(self, starts: Sequence[float], seconds: float) -> tuple[list[Outcome], list[float], float]:
        """Send every request at its time; returns outcomes, lags and the CPU of the measured time."""
        count = len(starts)
        answered: list[float | None] = [None] * count
        statuses: list[int | None] = [None] * count
        lags = [0.0] * count
        waiting: deque[int] = deque()
        upcoming, cpu_begin, cpu_end = 0, 0.0, None
        origin = time.perf_counter() - starts[0] + 0.1
        while (now := time.perf_counter() - origin) < seconds + _GRACE:
            if now < 0:
                cpu_begin = time.process_time()
            elif now >= seconds and cpu_end is None:
                cpu_end = time.process_time()
            while upcoming < count and starts[upcoming] <= now:
                lags[upcoming] = now - starts[upcoming]
                waiting.append(upcoming)
                upcoming += 1
            while waiting and self._idle:
                self._send(self._idle.pop(), waiting.popleft())
            if upcoming == count and not waiting and not self._asked:
                break
            pause = starts[upcoming] - now if upcoming < count else 0.1
            for number, _ in self._poll.poll(max(pause, 0.0)):
                index = self._asked.get(number)
                status = self._receive(number)
                if index is not None and status is not None:
                    answered[index], statuses[index] = time.perf_counter() - origin, status
        cpu = (cpu_end or time.process_time()) - cpu_begin
        return list(map(Outcome, starts, answered, statuses)), lags, cpu

    def close(self) -> None:
        """Close all connections."""
        for connection in self._sockets.values():
            connection.close()
        self._poll.close()

    def _connect(self) -> int:
        connection = socket.create_connection(self._address, timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        number = connection.fileno()
        self._sockets[number] = connection
        self._received[number] = b""
        self._poll.register(number, select.EPOLLIN)
        return number

    def _send(self, number: int, index: int) -> None:
        self._asked[number] = index
        try:
            # One small request a connection: the kernel's buffer is empty and takes all of it.
            self._sockets[number].send(self._content)
        except OSError:
            self._replace(number)

    def _receive(self, number: int) -> int | None:
        """Read what has come; returns the status once the answer is complete, 0 if it never will be."""
        try:
            chunk = self._sockets[number].recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._replace(number)
            return 0
        received = self._received[number] + chunk
        status = status_of(received)
        if status is None:
            self._received[number] = received
            return None
        self._received[number] = b""
        del self._asked[number]
        self._idle.append(number)
        return status

    def _replace(self, number: int) -> None:
        """Open a connection in place of one that the server has closed."""
        if self._asked.pop(number, None) is None:
            self._idle.remove(number)
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        self._idle.append(self._connect())


def main() -> None:
    """Run one open loop and print its summary as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.openloop")
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--warmup", type=float, required=True, help="seconds before the measured time")
    parser.add_argument("--seconds", type=float, required=True, help="the measured time")
    parser.add_argument("--connections", type=int, required=True, help="how many can be in flight")
    parser.add_argument("--seed", type=int, default=0, help="of the times")
    given = parser.parse_args()
    parts = urlsplit(given.url)
    generator = Generator(
        (parts.hostname or "", parts.port or 80),
        request(given.url, given.body.read_bytes()),
        given.connections,
    )
    starts = arrivals(given.rate, -given.warmup, given.seconds, given.seed)
    outcomes, lags, cpu = generator.run(starts, given.seconds)
    generator.close()
    json.dump(asdict(summarise(outcomes, lags, given.seconds, cpu)), sys.stdout)


if __name__ == "__main__":
    main()
