# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The engine's thread: it computes one batch at a time, off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class EngineThread:
    """One thread, used from one event loop.

    Args:
        prepare: Called once on the thread, which starts here.
    """

    def __init__(self, prepare: Callable[[], object] = lambda: None) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="engine")
        # Started here: a server that cannot start its thread must not become ready.
        self._executor.submit(prepare).result()
        self._computed: Future[Any] | None = None
        """The computation whose result is not yet delivered."""
        self._receive: Callable[[Any], object] = lambda result: None
        """The function to which it is delivered."""

    @property
    def busy(self) -> bool:
        """Whether the thread computes, or its result is not yet delivered."""
        return self._computed is not None

    def run(self, compute: Callable[[], T], deliver: Callable[[T], object]) -> None:
        """Compute on the thread, and deliver the result on the running event loop.

        Args:
            compute: The computation.
            deliver: Called with its result. It may run the next computation.
        """
        self._computed, self._receive = self._executor.submit(compute), deliver
        self._computed.add_done_callback(partial(self._end, asyncio.get_running_loop()))

    def wait(self, seconds: float) -> None:
        """Block the event loop until the computation has ended.

        Args:
            seconds: Longest time.
        """
        if self._computed:
            with suppress(TimeoutError):
                self._computed.exception(seconds)

    def deliver(self) -> None:
        """Deliver the result now if the computation has ended.

        Without this call, uvloop reads its sockets before it delivers, and the engine waits for that.
        """
        if self._computed and self._computed.done():
            self._deliver(self._computed)

    def close(self) -> None:
        """Stop the thread after its current computation."""
        self._executor.shutdown()

    def _deliver(self, computed: Future[Any]) -> None:
        if self._computed is not computed:  # it is delivered
            return
        receive = self._receive
        self._computed, self._receive = None, lambda result: None  # they hold the requests of a batch
        receive(computed.result())

    def _end(self, loop: asyncio.AbstractEventLoop, computed: Future[Any]) -> None:
        """Schedule the delivery, from the thread."""
        with suppress(RuntimeError):  # the event loop is closed, so no client is connected
            loop.call_soon_threadsafe(self._deliver, computed)
