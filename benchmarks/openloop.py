# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The open loop: requests at scheduled times, independent of the responses.

A closed loop cannot overload a server, because late responses lower its rate. Here latency counts from the
intended start, so it includes the wait for a free connection. The generator is a process of its own
(``python -m benchmarks.openloop``) on the generator's core, and reports its own send delay.
"""

import argparse
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tidegate.schedule import poisson_arrivals
from tidegate.stats import percentile

_LAST_RESPONSE_SECONDS = 3.0
"""Time after the last intended start in which responses still count."""
_HTTP_VERSION = "HTTP/1.1 "


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: times in seconds from the start of the measurement.

    Args:
        intended_start: Scheduled time.
        completed: Time of the complete response; None if there was none.
        status: HTTP status; 0 if the server closed the connection; None without a response.
    """

    intended_start: float
    completed: float | None
    status: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a measurement.

    Args:
        offered: Scheduled requests per second.
        rps: Responses with status 200 per second.
        rejected: Requests with status 429 or 503.
        failed: Requests with another status, or without a response.
        p50_ms: Median latency of status 200, from the intended start; None if there are none.
        p99_ms: 99th percentile of the same.
        send_delay_ms: 99th percentile of the generator's own delay.
        generator_cpu: Used fraction of the generator's core, 0 to 1.
    """

    offered: float
    rps: float
    rejected: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    send_delay_ms: float
    generator_cpu: float


def request_bytes(url: str, body: bytes) -> bytes:
    """Build the bytes of a V1 request."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def parse_status(received: bytes) -> int | None:
    """Parse the status of a complete response; None while bytes are missing.

    The response needs a Content-Length, which every server here sends.

    Raises:
        ValueError: If the bytes are not such a response.
    """
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    line, _, fields = head.decode("latin-1").partition("\r\n")
    if not line.startswith(_HTTP_VERSION):
        raise ValueError(f"status line: expected HTTP/1.1, received {line[:40]!r}")
    for field in fields.split("\r\n"):
        name, _, value = field.partition(":")
        if name.lower() == "content-length":
            return int(line[len(_HTTP_VERSION) :].split(" ")[0]) if len(body) >= int(value) else None
    raise ValueError("headers: expected Content-Length, received none")


def summarize(
    outcomes: Sequence[Outcome], send_delays: Sequence[float], seconds: float, cpu: float
) -> Summary:
    """Summarize the requests whose intended start is in the measurement.

    Args:
        outcomes: All requests; those of the warm-up have an intended start below 0.
        send_delays: The generator's delay per request in seconds, in the same order.
        seconds: Duration of the measurement.
        cpu: CPU seconds of the generator in the measurement.
    """
    measured = [outcome for outcome in outcomes if outcome.intended_start >= 0]
    completions = [
        (o.intended_start, o.completed) for o in outcomes if o.status == 200 and o.completed is not None
    ]
    latencies_ms = [(completed - start) * 1e3 for start, completed in completions if start >= 0]
    rejected = sum(outcome.status in (429, 503) for outcome in measured)
    # A backlog from the warm-up completes in the measurement, and the measurement's after it: the rate of
    # completions is the throughput.
    completed_in_time = sum(0 <= completed < seconds for _, completed in completions)
    delays_ms = [
        d * 1e3 for outcome, d in zip(outcomes, send_delays, strict=True) if outcome.intended_start >= 0
    ]
    return Summary(
        len(measured) / seconds,
        completed_in_time / seconds,
        rejected,
        len(measured) - len(latencies_ms) - rejected,
        percentile(latencies_ms, 50),
        percentile(latencies_ms, 99),
        percentile(delays_ms, 99) or 0.0,
        cpu / seconds,
    )


class Generator:
    """A sender of requests over connections that are open before the first request.

    Args:
        address: Host and port.
        content: The bytes of every request.
        connections: Limit of requests in flight.
    """

    def __init__(self, address: tuple[str, int], content: bytes, connections: int) -> None:
        self._address = address
        self._content = content
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._received: dict[int, bytes] = {}
        self._in_flight: dict[int, int] = {}
        self._idle = [self._connect() for _ in range(connections)]

    def run(self, starts: Sequence[float], seconds: float) -> tuple[list[Outcome], list[float], float]:
        """Send every request at its time.

        Args:
            starts: The intended starts in seconds; the measurement begins at 0.
            seconds: Duration of the measurement.

        Returns:
            Outcomes, send delays in seconds, and CPU seconds in the measurement.
        """
        count = len(starts)
        completed: list[float | None] = [None] * count
        statuses: list[int | None] = [None] * count
        delays = [0.0] * count
        waiting: deque[int] = deque()
        upcoming, cpu_begin, cpu_end = 0, 0.0, None
        origin = time.perf_counter() - starts[0] + 0.1
        while (now := time.perf_counter() - origin) < seconds + _LAST_RESPONSE_SECONDS:
            if now < 0:
                cpu_begin = time.process_time()
            elif now >= seconds and cpu_end is None:
                cpu_end = time.process_time()
            while upcoming < count and starts[upcoming] <= now:
                delays[upcoming] = now - starts[upcoming]
                waiting.append(upcoming)
                upcoming += 1
            while waiting and self._idle:
                self._send(self._idle.pop(), waiting.popleft())
            if upcoming == count and not waiting and not self._in_flight:
                break
            pause = starts[upcoming] - now if upcoming < count else 0.1
            for number, _ in self._poll.poll(max(pause, 0.0)):
                index = self._in_flight.get(number)
                status = self._receive(number)
                if index is not None and status is not None:
                    completed[index], statuses[index] = time.perf_counter() - origin, status
        cpu = (cpu_end or time.process_time()) - cpu_begin
        return list(map(Outcome, starts, completed, statuses)), delays, cpu

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
        self._in_flight[number] = index
        try:
            # The send buffer is empty, because a connection has one request in flight; it takes all bytes.
            self._sockets[number].send(self._content)
        except OSError:
            self._replace(number)

    def _receive(self, number: int) -> int | None:
        """Read from a connection; return the status of a complete response, 0 if the server has closed it."""
        try:
            chunk = self._sockets[number].recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._replace(number)
            return 0
        received = self._received[number] + chunk
        status = parse_status(received)
        if status is None:
            self._received[number] = received
            return None
        self._received[number] = b""
        del self._in_flight[number]
        self._idle.append(number)
        return status

    def _replace(self, number: int) -> None:
        """Replace a connection that the server has closed."""
        if self._in_flight.pop(number, None) is None:
            self._idle.remove(number)
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        self._idle.append(self._connect())


def main() -> None:
    """Run one open loop and print its summary as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.openloop")
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--warmup", type=float, required=True, help="seconds before the measurement")
    parser.add_argument("--seconds", type=float, required=True, help="duration of the measurement")
    parser.add_argument("--connections", type=int, required=True, help="limit of requests in flight")
    parser.add_argument("--seed", type=int, default=0, help="seed of the schedule")
    options = parser.parse_args()
    parts = urlsplit(options.url)
    generator = Generator(
        (parts.hostname or "", parts.port or 80),
        request_bytes(options.url, options.body.read_bytes()),
        options.connections,
    )
    count = round(options.rate * (options.warmup + options.seconds))
    source = np.random.default_rng(options.seed)
    starts = poisson_arrivals(count, -options.warmup, options.seconds, source).tolist()
    outcomes, delays, cpu = generator.run(starts, options.seconds)
    generator.close()
    json.dump(asdict(summarize(outcomes, delays, options.seconds, cpu)), sys.stdout)


if __name__ == "__main__":
    main()
