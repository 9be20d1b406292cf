# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""An event loop in virtual time with one CPU, on which the real batcher serves simulated clients.

Time passes in two ways only: the loop skips to its next timer when nothing is ready, and a callback uses
the CPU with :meth:`VirtualLoop.work`. The engine's thread and the loop's callbacks share the CPU, so each
delays the other, as in a container with a CPU limit.
"""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

from tidegate_serving.batching.engine_thread import EngineThread

T = TypeVar("T")


class _SkippingSelector(selectors.SelectSelector):
    """A selector that advances the virtual time instead of waiting."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("the simulation waits for nothing")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock is virtual.

    Args:
        cpu: The CPUs of the process, at most one: each second of work takes ``1 / cpu`` seconds.
    """

    def __init__(self, cpu: float = 1.0) -> None:
        selector = _SkippingSelector()
        super().__init__(selector)
        selector.loop = self
        self.now = 0.0
        self._cpu = cpu
        self.thread_ends_at = 0.0
        """Until when the engine's thread computes, later with each second of the loop's own work."""
        self._on_thread = False

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def work(self, seconds: float) -> None:
        """Use the CPU in a callback of the loop, or of the engine's thread."""
        self.now += seconds / self._cpu
        if not self._on_thread:
            self.thread_ends_at += seconds / self._cpu

    def stall(self, seconds: float) -> None:
        """Stop the process for some time, as SIGSTOP does."""
        self.now += seconds
        self.thread_ends_at += seconds

    def compute(self, compute: Callable[[], T]) -> T:
        """Compute on the engine's thread, which ends when its work is done."""
        started_at, self._on_thread = self.now, True
        result = compute()
        self._on_thread = False
        self.thread_ends_at, self.now = self.now, started_at
        return result


class VirtualThread(EngineThread):
    """An engine's thread that computes its result at once, and delivers it when the work is done.

    Args:
        loop: The loop that has the CPU and the time.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether the thread computes."""
        return self._busy

    def run(self, compute: Callable[[], T], deliver: Callable[[T], object]) -> None:
        """Compute, and deliver the result later."""
        self._busy = True
        self._deliver_at_end(self._loop.compute(compute), deliver)

    def wait(self, seconds: float) -> None:
        """Advance the time to the end of the work."""
        self._loop.now += min(seconds, max(0.0, self._loop.thread_ends_at - self._loop.now))

    def deliver(self) -> None:
        """Do nothing, because this loop delivers before it reads."""

    def close(self) -> None:
        """Do nothing, because there is no thread."""

    def _deliver_at_end(self, result: T, deliver: Callable[[T], object]) -> None:
        if self._loop.now < self._loop.thread_ends_at:
            self._loop.call_at(self._loop.thread_ends_at, self._deliver_at_end, result, deliver)
        else:
            self._busy = False
            deliver(result)


def run(main: Callable[[VirtualLoop], Any], cpu: float = 1.0) -> Any:
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(cpu)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop))
