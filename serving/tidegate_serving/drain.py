# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The drain: how a server stops without losing a request.

A terminating pod goes on receiving requests until every node has learned that its endpoint is gone. So
after SIGTERM the server answers as before, asking clients to close their connections; when the window is
over, REST and gRPC stop listening together and finish what they have. Readiness stays true meanwhile: failing
it would defeat kube-proxy's fallback to terminating endpoints. A second signal ends the waiting.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import socket
from typing import Any

import uvicorn

CLOSE = (b"connection", b"close")

ACCEPTED = 16
"""How many connections one turn of the event loop accepts.

libuv accepts one a turn and socket, so that a busy loop, whose turns are long, keeps new clients and probes
waiting: the same socket is given to it so many times. Of 64 clients that open a connection a request, 2,600
requests a second became 5,600.
"""

LINGER_SECONDS = 0.2
"""A connection accepted at the last moment has its request on the way; uvicorn would close it as idle."""


class Drain:
    """The states of stopping, shared by the servers that stop together.

    Args:
        seconds: How long to go on answering after SIGTERM. After SIGINT, a person's, nobody routes any more.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self.forced = asyncio.Event()

    async def watch(self) -> None:
        """Wait for a signal, then for the end of the window."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.signalled, number)
        await self.begun.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.forced.wait(), self.seconds)
        self.over.set()

    def signalled(self, number: int) -> None:
        """Take notice of a signal: the first begins to drain, the second ends all waiting."""
        if self.begun.is_set():
            self.forced.set()
        elif number == signal.SIGINT:
            self.seconds = 0
        self.begun.set()


class DrainingServer(uvicorn.Server):
    """uvicorn's server, stopped by a drain and not by signals of its own.

    Args:
        config: uvicorn's configuration.
        listener: A bound socket.
        drain: When to stop.
    """

    def __init__(self, config: uvicorn.Config, listener: socket, drain: Drain) -> None:
        super().__init__(config)
        self._listener = listener
        self._drain = drain
        self.listening = asyncio.Event()

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve on the listener until the drain is over and what was in flight is answered."""
        closing = asyncio.create_task(self._say_close())
        try:
            await super().serve(
                sockets or [self._listener, *(self._listener.dup() for _ in range(ACCEPTED - 1))]
            )
        finally:
            closing.cancel()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop, asked ten times a second."""
        return await super().on_tick(counter) or self._drain.over.is_set()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop listening and finish what is in flight, unless forced."""
        forcing = asyncio.create_task(self._force())
        try:
            for server in self.servers:
                server.close()
            await first(asyncio.sleep(LINGER_SECONDS), self._drain.forced.wait())
            await super().shutdown(sockets)
        finally:
            forcing.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the drain."""
        yield

    async def _say_close(self) -> None:
        await self._drain.begun.wait()
        # The configuration's list is copied once a second into the list that answers are made from.
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers.append(CLOSE)

    async def _force(self) -> None:
        await self._drain.forced.wait()
        self.force_exit = True


async def first(*awaitables: Any) -> None:
    """Return as soon as one of them is done, and cancel the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
