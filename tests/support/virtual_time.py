# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""An event loop in virtual time with one CPU, on which the real batcher serves simulated clients.

Time passes in two ways only: the loop skips to its next timer when nothing is ready, and a callback uses
the CPU with :meth:`VirtualLoop.work`. The executor and the loop's callbacks share the CPU, so each delays the
other, as in a container with a CPU limit.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

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
        self._executor_ends_at = 0.0
        """Until when the executor computes, later with each second of the loop's own work."""
        self._in_executor = False

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def work(self, seconds: float) -> None:
        """Use the CPU in a callback of the loop, or in what the executor runs."""
        self.now += seconds / self._cpu
        if not self._in_executor:
            self._executor_ends_at += seconds / self._cpu

    def stall(self, seconds: float) -> None:
        """Stop the process for some time, as SIGSTOP does."""
        self.now += seconds
        self._executor_ends_at += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Compute the result at once, and deliver it when the work is done."""
        started_at, self._in_executor = self.now, True
        result = func(*args)
        self._in_executor = False
        self._executor_ends_at, self.now = self.now, started_at
        future: asyncio.Future[T] = self.create_future()
        self._deliver(future, result)
        return future

    def _deliver(self, future: "asyncio.Future[T]", result: T) -> None:
        if self.now < self._executor_ends_at:
            self.call_at(self._executor_ends_at, self._deliver, future, result)
        elif not future.done():
            future.set_result(result)


def run(main: Callable[[VirtualLoop], Any], cpu: float = 1.0) -> Any:
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(cpu)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop))
