# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tell a person what is going on: each step, what it waits for, and for how long it has.

Prints whole lines to one stream, so that a log file reads as well as a terminal. It takes no decision: a
wait ends when its probe says so or when its time is up.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from .errors import ClusterError

HEARTBEAT = 15.0


class Progress:
    """Lines with the time since the command began.

    Args:
        stream: where to print; standard error, so that standard output stays for answers.
        clock: seconds that only grow.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()

    def say(self, message: str) -> None:
        """Print one line."""
        with self._lock:
            print(f"[{self._clock() - self._start:6.1f}s] {message}", file=self._stream, flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Announce a step, say now and then that it still runs, and how long it took."""
        started = self._clock()
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT):
                self.say(f"... still: {what} ({self._clock() - started:.0f} s)")

        self.say(f"{what} ...")
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        self.say(f"done: {what} ({self._clock() - started:.1f} s)")

    def wait(
        self,
        what: str,
        probe: Callable[[], str | None],
        *,
        timeout: float,
        interval: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ask the probe again and again until it returns None, for nothing missing.

        Args:
            what: the thing waited for, as a noun phrase.
            probe: returns what is still missing, or None; that it fails is something missing too.
            timeout: seconds after which to give up.
            interval: seconds between two questions.
            sleep: how to pass the time.

        Raises:
            ClusterError: if the time is up; it holds the probe's last answer.
        """
        started = self._clock()
        spoken = started
        self.say(f"waiting for {what} ...")
        while (missing := _answer(probe)) is not None:
            elapsed = self._clock() - started
            if elapsed > timeout:
                raise ClusterError(f"Waited {elapsed:.0f} s for {what}: {missing}")
            if self._clock() - spoken >= HEARTBEAT:
                spoken = self._clock()
                self.say(f"... still waiting for {what} ({elapsed:.0f} s): {missing}")
            sleep(interval)
        self.say(f"ready: {what} ({self._clock() - started:.1f} s)")


def _answer(probe: Callable[[], str | None]) -> str | None:
    try:
        return probe()
    except ClusterError as error:
        return str(error).splitlines()[-1]
