# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Progress messages: each step with its duration, and each wait with the condition that is not met yet.

It prints whole lines to one stream, so that a log file is as readable as a terminal.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from .errors import ClusterError

HEARTBEAT_SECONDS = 15.0


class Progress:
    """Printer of lines with the seconds since the command started.

    Args:
        stream: The stream to print to; standard error by default, because standard output holds results.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()

    def log(self, message: str) -> None:
        """Print one line with the elapsed time."""
        with self._lock:
            print(f"[{self._clock() - self._start:6.1f}s] {message}", file=self._stream, flush=True)

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Print the start of a step, a heartbeat while it runs, and its duration."""
        started = self._clock()
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_SECONDS):
                self.log(f"... still: {description} ({self._clock() - started:.0f} s)")

        self.log(f"{description} ...")
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        self.log(f"done: {description} ({self._clock() - started:.1f} s)")

    def wait(
        self,
        description: str,
        probe: Callable[[], str | None],
        *,
        timeout: float,
        interval: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Call the probe until it returns None.

        Args:
            description: The awaited condition, as a noun phrase.
            probe: Returns the reason why the condition is not met, or None; ClusterError counts as a reason.
            timeout: The limit in seconds.
            interval: The seconds between two calls.
            sleep: Waits the given seconds.

        Raises:
            ClusterError: If the time is up; the message holds the probe's last reason.
        """
        started = self._clock()
        last_heartbeat = started
        self.log(f"waiting for {description} ...")
        while (reason := _call(probe)) is not None:
            elapsed = self._clock() - started
            if elapsed > timeout:
                raise ClusterError(f"Waited {elapsed:.0f} s for {description}: {reason}")
            if self._clock() - last_heartbeat >= HEARTBEAT_SECONDS:
                last_heartbeat = self._clock()
                self.log(f"... still waiting for {description} ({elapsed:.0f} s): {reason}")
            sleep(interval)
        self.log(f"ready: {description} ({self._clock() - started:.1f} s)")


def _call(probe: Callable[[], str | None]) -> str | None:
    try:
        return probe()
    except ClusterError as error:
        return str(error).splitlines()[-1]
