# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The open loop: HTTP requests at scheduled times, independent of the responses.

A closed loop cannot overload a server, because late responses lower its rate. Here latency counts from the
intended start, so it includes the wait for a free connection. One thread sends and receives everything. It
reports its own send delay and CPU time, because a late generator makes every server look slow.
"""

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LAST_RESPONSE_SECONDS = 3.0
"""Default time after the measurement in which responses still count."""

_CONNECT_TIMEOUT_SECONDS = 10.0
_HTTP_VERSION = "HTTP/1.1 "
_EVENTS_PER_SEND = 64
"""Events between two sends of due requests: a large batch of the server has thousands of responses."""
_RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which a close resets the connection."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response.

    Args:
        status: The status; 0 if the server closed the connection instead.
        headers: The headers, with names in lower case.
        body: The body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: times in seconds from the start of the measurement.

    Args:
        intended_start: Scheduled time.
        completed: Time of the complete response; None if there was none.
        status: HTTP status; 0 if the server closed the connection; None without a response.
        response: The response, if it was to be kept.
        sent: Time at which a connection was free; None if none was.
    """

    intended_start: float
    completed: float | None
    status: int | None
    response: Response | None = None
    sent: float | None = None


def request_bytes(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Build the bytes of a POST request.

    Args:
        url: The full URL.
        body: The body.
        headers: Headers in addition to ``Host`` and ``Content-Length``; by default a JSON content type.
    """
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, **({"Content-Type": "application/json"} if headers is None else headers)}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def parse_response(received: bytes) -> Response | None:
    """Parse a complete response; None while bytes are missing.

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
    headers = {}
    for header in fields.split("\r\n"):
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    if "content-length" not in headers:
        raise ValueError("headers: expected Content-Length, received none")
    if len(body) < int(headers["content-length"]):
        return None
    return Response(int(line[len(_HTTP_VERSION) :].split(" ")[0]), headers, body)


@dataclass(slots=True, eq=False)
class _Connection:
    """A socket with at most one request in flight."""

    socket: socket.socket
    index: int | None = None
    """The number of the request in flight."""
    unsent: bytes = b""
    received: bytes = b""


class OpenLoopClient:
    """A sender of requests over connections that are open before the first request.

    Args:
        address: Host and port.
        contents: The bytes of the requests, which are sent in turn.
        connections: Limit of requests in flight.
        keep_every: Keep the response of every request whose number is a multiple of it; None keeps none.
    """

    def __init__(
        self,
        address: tuple[str, int],
        contents: Sequence[bytes],
        connections: int,
        keep_every: int | None = None,
    ) -> None:
        self._address = address
        self._contents = contents
        self._keep_every = keep_every
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._outcomes: dict[int, Outcome] = {}
        self._sent: list[float | None] = []
        self._starts: Sequence[float] = ()
        self._origin = 0.0
        for _ in range(connections):
            self._connect()

    def run(
        self, starts: Sequence[float], seconds: float, response_seconds: float = LAST_RESPONSE_SECONDS
    ) -> tuple[list[Outcome], list[float], float]:
        """Send every request at its time, and wait for the responses.

        Args:
            starts: The intended starts in seconds, ascending; the measurement begins at 0.
            seconds: Duration of the measurement.
            response_seconds: Time after the measurement in which responses still count.

        Returns:
            Outcomes, send delays in seconds, and CPU seconds in the measurement.
        """
        count = len(starts)
        delays = [0.0] * count
        waiting: deque[int] = deque()
        upcoming, cpu_begin, cpu_end = 0, time.process_time(), None
        self._starts, self._outcomes, self._sent = starts, {}, [None] * count
        self._origin = time.perf_counter() - starts[0] + 0.1
        while (now := self._now()) < seconds + response_seconds:
            if now < 0:
                cpu_begin = time.process_time()
            elif now >= seconds and cpu_end is None:
                cpu_end = time.process_time()
            while upcoming < count and starts[upcoming] <= now:
                delays[upcoming] = now - starts[upcoming]
                waiting.append(upcoming)
                upcoming += 1
            while waiting and self._idle:
                index = waiting.popleft()
                self._sent[index] = now
                self._send(self._idle.pop(), index)
            if upcoming == count and len(self._outcomes) == count:
                break
            pause = starts[upcoming] - now if upcoming < count else 0.1
            # select is precise to a microsecond, and epoll's own timeout to a millisecond only.
            select.select([self._poll], [], [], max(pause, 0.0))
            for number, events in self._poll.poll(0, _EVENTS_PER_SEND):
                if (connection := self._connections.get(number)) is not None:
                    self._continue(connection, events)
        cpu = (cpu_end or time.process_time()) - cpu_begin
        for connection in [one for one in self._connections.values() if one.index is not None]:
            self._replace(connection)  # its late response must not reach the next measurement
        outcomes = [
            self._outcomes.get(index) or Outcome(starts[index], None, None, sent=self._sent[index])
            for index in range(count)
        ]
        return outcomes, delays, cpu

    def close(self) -> None:
        """Reset all connections. After a regular close, their ports would be in use for another minute."""
        for connection in self._connections.values():
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.socket.close()
        self._poll.close()

    def _now(self) -> float:
        return time.perf_counter() - self._origin

    def _connect(self) -> None:
        opened = socket.create_connection(self._address, timeout=_CONNECT_TIMEOUT_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        connection = _Connection(opened)
        self._connections[opened.fileno()] = connection
        self._poll.register(opened, select.EPOLLIN)
        self._idle.append(connection)

    def _send(self, connection: _Connection, index: int) -> None:
        connection.index = index
        connection.unsent = self._contents[index % len(self._contents)]
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        """Send as much as the socket takes; the rest follows when it is writable."""
        try:
            sent = connection.socket.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose(connection)
            return
        was_partial = sent == 0 or len(connection.unsent) > sent
        connection.unsent = connection.unsent[sent:]
        if was_partial:
            self._poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _continue(self, connection: _Connection, events: int) -> None:
        if events & select.EPOLLOUT:
            self._poll.modify(connection.socket, select.EPOLLIN)
            self._flush(connection)
        if events & ~select.EPOLLOUT:
            self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            chunk = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lose(connection)
            return
        connection.received += chunk
        response = parse_response(connection.received)
        if response is None:
            return
        self._complete(connection, response)
        if response.headers.get("connection", "").lower() == "close":
            self._replace(connection)
        else:
            connection.index, connection.received = None, b""
            self._idle.append(connection)

    def _complete(self, connection: _Connection, response: Response) -> None:
        index = connection.index
        if index is None:
            return
        kept = self._keep_every is not None and index % self._keep_every == 0
        self._outcomes[index] = Outcome(
            self._starts[index], self._now(), response.status, response if kept else None, self._sent[index]
        )

    def _lose(self, connection: _Connection) -> None:
        """Handle a connection that the server has closed. A request in flight has no response."""
        self._complete(connection, Response(0))
        self._replace(connection)

    def _replace(self, connection: _Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._poll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        self._connect()
