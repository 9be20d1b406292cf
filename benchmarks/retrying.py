# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Clients that send again at once after a rejection: the worst that an overloaded server meets.

They run in one event loop on the generator's core, so they carry a few thousand requests per second.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tidegate.protocol.openloop import parse_response

REJECTED = 429


@dataclass(frozen=True, slots=True)
class Completion:
    """A response: its status, and its time in seconds from the start of the load."""

    time: float
    status: int


@dataclass(slots=True)
class RetryingClients:
    """Clients of one server.

    Attributes:
        address: Host and port.
        content: The bytes of each request.
        completions: All responses so far, in the order of their times.
        started_at: ``time.perf_counter()`` at time zero.
    """

    address: tuple[str, int]
    content: bytes
    completions: list[Completion] = field(default_factory=list)
    started_at: float = field(default_factory=time.perf_counter)
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    @property
    def now(self) -> float:
        """Seconds since time zero."""
        return time.perf_counter() - self.started_at

    async def closed_loop(self, clients: int, until: float) -> None:
        """Run clients that send their next request after the previous response, rejections included."""

        async def client() -> None:
            while self.now < until:
                await self._send()

        await asyncio.gather(*(client() for _ in range(clients)))

    async def open_loop(self, starts: Sequence[float], retries: int) -> None:
        """Send requests at their times. After a rejection, several more are sent at once.

        Args:
            starts: The times of the requests in seconds, ascending.
            retries: Number of requests that follow a rejected one.
        """
        tasks = []

        async def request() -> None:
            if await self._send() == REJECTED:
                await asyncio.gather(*(self._send() for _ in range(retries)))

        for start in starts:
            if (pause := start - self.now) > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(request()))
        await asyncio.gather(*tasks)

    async def _send(self) -> int:
        connection = self._idle.pop() if self._idle else await asyncio.open_connection(*self.address)
        reader, writer = connection
        writer.write(self.content)
        received = b""
        while (response := parse_response(received)) is None:
            chunk = await reader.read(1 << 16)
            if not chunk:
                raise ConnectionError("the server closed a connection before its response")
            received += chunk
        self.completions.append(Completion(self.now, response.status))
        if response.headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append(connection)
        return response.status

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()
