# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The drain: the phase of graceful shutdown in which the server still accepts requests.

A terminating pod receives requests until every node has learned that its endpoint is gone. So after SIGTERM
the server accepts requests as before, and tells clients to close their connections. At the end of the drain,
REST and gRPC stop listening together and finish the requests in flight. Readiness stays true meanwhile,
because kube-proxy falls back to terminating endpoints that are ready. A second signal ends all waiting.

This module has the states and the signals. How a server stops is in :mod:`tidegate_serving.http.server` and
in :mod:`tidegate_serving.grpc.base`.
"""

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any


class Drain:
    """The states of a shutdown, shared by the servers that stop together.

    Args:
        seconds: The time from SIGTERM until the servers stop listening. After SIGINT it is 0, because a
            person at a terminal has no routers that still send requests.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = asyncio.Event()
        """The first signal has arrived."""
        self.finished = asyncio.Event()
        """The servers stop listening."""
        self.forced = asyncio.Event()
        """A second signal has arrived: the servers wait for nothing."""

    async def run(self) -> None:
        """Handle signals until the drain is over."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self.handle_signal, signal_number)
        await self.started.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.forced.wait(), self.seconds)
        self.finished.set()

    def handle_signal(self, signal_number: int) -> None:
        """Start the drain at the first signal, and end all waiting at the second."""
        if self.started.is_set():
            self.forced.set()
        elif signal_number == signal.SIGINT:
            self.seconds = 0
        self.started.set()


async def wait_for_first(*awaitables: Awaitable[Any]) -> None:
    """Return as soon as one of the awaitables is done, and cancel the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
