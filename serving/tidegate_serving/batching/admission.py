# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Admission: who is taken in, by how long the answer would keep its client waiting.

A server that takes everything answers everybody late. So a request is refused as soon as it would wait too
long: in the queue, or in its socket before anybody read it, for a loop that is late keeps requests waiting
where no queue shows them. What is too long depends on what was before. A burst is worked off; but once
somebody had to be refused, more comes than can be answered, and a long queue makes every answer late and none
more of them: then it is kept short, until for a while nobody had to be refused.
"""

from tidegate_serving.errors import ErrorCode, RequestError

PATIENCE_SECONDS = 0.5
"""How long a request may have to wait as long as nobody was refused: a burst is no overload."""

OVERLOAD_SECONDS = 0.06
"""How long it may when somebody was: enough that the engine always has its next batch.

At twice the capacity of a forest in scikit-learn, with 100 rows of JSON a request, 0.03 s left 88 % of the
capacity, 0.05 s 91 % and 0.08 s 93 %, but 0.08 s made the slowest hundredth of the answers half as slow
again.
"""

RELIEF_SECONDS = 1.0
"""So long nobody must have been refused; as long as ``Retry-After`` tells the refused to stay away."""

_CALLS = 2
"""Calls of the engine for which it is always worth to wait, whatever they take."""


class EventLoopLag:
    """How late the event loop is, seen at its own turns.

    What a turn brings had come while the loop was at work before, and has waited in its socket since then; if
    the loop has rested in between, there was nothing to keep waiting. Of the last two turns the shorter
    counts: a machine that stands still for a moment, or one very large request, is no overload.
    """

    def __init__(self) -> None:
        self._began = self._ended = self._worked = self._worked_before = 0.0
        self.since = 0.0
        """Since when what this turn brings may have waited, by ``time.perf_counter``."""

    def begin(self, now: float) -> None:
        """A turn has brought its first request."""
        rested = now - self._ended
        self.since = now - max(0.0, min(self._worked, self._worked_before) - rested)
        self._began = now

    def end(self, now: float) -> None:
        """All that the turn has brought is read."""
        self._worked_before, self._worked = self._worked, now - self._began
        self._ended = now

    def work(self, began: float, now: float) -> None:
        """The loop did something else, after a turn."""
        self._worked += now - began
        self._ended = now


class AdmissionController:
    """What a server remembers of refusals. It is used from one event loop."""

    def __init__(self) -> None:
        self._overloaded_until = 0.0

    def check(self, now: float, wait: float, smallest: float) -> None:
        """Refuse a request that would wait too long.

        Args:
            now: By ``time.perf_counter``.
            wait: Seconds from when it came, to its socket, until it would be computed.
            smallest: The least that a call of the engine takes, in seconds.

        Raises:
            RequestError: It would.
        """
        longest = PATIENCE_SECONDS if now >= self._overloaded_until else OVERLOAD_SECONDS
        longest = max(longest, _CALLS * smallest)
        if wait > longest:
            self._overloaded_until = now + RELIEF_SECONDS
            raise RequestError(
                f"The server is busy: this request would wait for {wait:.2f} seconds, and may for "
                f"{longest:.2f} at most; ask again in a second.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )
