# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The engine's thread: it computes one batch at a time, off the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

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
        self._ended = threading.Event()
        self.busy = False
        """Whether the thread computes, or its result is not yet delivered."""

    def run(self, compute: Callable[[], T], deliver: Callable[[T], object]) -> None:
        """Compute on the thread, and deliver the result on the running event loop.

        Args:
            compute: The computation.
            deliver: Called with its result. Its first act may be to run the next computation.
        """
        self.busy = True
        self._ended = threading.Event()  # its own one, because the last one may still be set
        end = partial(self._end, asyncio.get_running_loop(), self._ended, deliver)
        self._executor.submit(compute).add_done_callback(end)

    def wait(self, seconds: float) -> None:
        """Block the event loop until the computation has ended.

        The result is then delivered before anything that the event loop reads.

        Args:
            seconds: Longest time.
        """
        self._ended.wait(seconds)

    def close(self) -> None:
        """Stop the thread after its current computation."""
        self._executor.shutdown()

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        ended: threading.Event,
        deliver: Callable[[T], object],
        computed: Future[T],
    ) -> None:
        """Schedule the delivery, from the thread."""
        with suppress(RuntimeError):  # the event loop is closed, so no client is connected
            loop.call_soon_threadsafe(self._deliver, deliver, computed)
        ended.set()

    def _deliver(self, deliver: Callable[[T], object], computed: Future[T]) -> None:
        self.busy = False
        deliver(computed.result())
