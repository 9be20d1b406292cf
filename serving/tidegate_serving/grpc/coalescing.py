# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Coalescing of gRPC calls: calls that arrive close together enter the batcher together.

One event-loop iteration reads all HTTP requests whose sockets are readable, but only one gRPC call, because
gRPC's own thread hands calls over one by one and needs the processor for each. So a call waits until some
iterations have brought no other call, and yields the processor in each of them. No call waits for a timer or
for a full batch, and almost no call waits while calls arrive alone.
"""

import asyncio
import os

QUIET_ITERATIONS = 8
"""Event-loop iterations without a new call after which the waiting calls continue."""

PROBE_INTERVAL = 16
"""While calls arrive alone, one of this many waits, because otherwise an increase would not be noticed."""


class CallCoalescer:
    """Holds calls until those that arrive close after them are there. All calls share one event loop."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._quiet_iterations = 0
        """Iterations since the last call."""
        self._consecutive_single_calls = 0

    async def wait(self) -> None:
        """Return when no other call follows closely; at once if calls have lately arrived alone."""
        if not self._waiting and self._consecutive_single_calls % PROBE_INTERVAL:
            self._consecutive_single_calls += 1
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._count_iteration, loop)
        self._quiet_iterations = 0
        self._waiting.append(loop.create_future())
        await self._waiting[-1]

    def _count_iteration(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._quiet_iterations < QUIET_ITERATIONS:
            self._quiet_iterations += 1
            os.sched_yield()
            loop.call_soon(self._count_iteration, loop)
            return
        released, self._waiting = self._waiting, []
        self._consecutive_single_calls = self._consecutive_single_calls + 1 if len(released) == 1 else 0
        for future in released:
            if not future.done():  # its call may be cancelled
                future.set_result(None)
