# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Admission: reject a request whose estimated queue delay is too long.

The policy is a variant of CoDel (Controlled Delay, RFC 8289), in the form for servers by Maurer, "Fail at
Scale", ACM Queue 2015. Both bound the delay of the queue instead of its length, and both tell a burst from an
overload. A burst may fill the queue up to ``MAX_QUEUE_DELAY``. The first rejection begins an overload: from
then on a longer queue would delay every response and add none, so the bound is ``OVERLOAD_QUEUE_DELAY`` until
no request was rejected for ``OVERLOAD_INTERVAL``.

The variant differs in two ways. It decides on arrival, from an estimate of the delay, so the server spends no
time on a rejected request. The delay includes the time in the socket before the server reads the request.

The controller estimates nothing and reads no clock: ``queue_delay`` does both.
"""

from tidegate_serving.errors import ErrorCode, RequestError

MAX_QUEUED_ROWS = 100_000
"""Rows that may wait in the queue. The bound protects memory, not latency."""

MAX_QUEUE_DELAY = 0.5
"""Longest accepted queue delay without overload, in seconds. N in Maurer's pseudocode."""

OVERLOAD_QUEUE_DELAY = 0.06
"""Longest accepted queue delay during an overload, in seconds. M in Maurer's pseudocode.

Long enough that the engine always has a next batch, short enough for the latency of accepted requests.
"""

OVERLOAD_INTERVAL = 1.0
"""Time without a rejection that ends an overload, in seconds; ``Retry-After`` tells clients the same."""

ALWAYS_ADMITTED_QUEUE_DELAY = OVERLOAD_QUEUE_DELAY / 2
"""Queue delay that is always accepted, in seconds. Below it the batcher skips the estimate to save time."""

MIN_ADMITTED_CALLS = 2
"""Engine calls that a request may always wait for, even if one call takes longer than ``MAX_QUEUE_DELAY``."""


class AdmissionController:
    """The bounds on a queue's rows and on its delay, used from one event loop.

    Args:
        max_queued_rows: Rows that may wait in the queue.
    """

    def __init__(self, max_queued_rows: int = MAX_QUEUED_ROWS) -> None:
        self._max_queued_rows = max_queued_rows
        self._overloaded_until = -float("inf")

    def reject_if_overloaded(
        self, now: float, queue_delay: float, min_service_time: float, queued_rows: int
    ) -> None:
        """Reject a request that would wait too long, or would make the queue too long.

        Args:
            now: The time of the decision, in seconds of a monotonic clock.
            queue_delay: Estimated seconds from the request's arrival at its socket to its engine call.
            min_service_time: Seconds of the shortest engine call.
            queued_rows: Rows in the queue, including those of the request if they are known.

        Raises:
            RequestError: If the rows or the queue delay exceed the bound that holds now.
        """
        if queued_rows > self._max_queued_rows:
            raise RequestError(
                f"Server overloaded: {queued_rows} rows in the queue exceed the maximum of "
                f"{self._max_queued_rows}. Retry after {OVERLOAD_INTERVAL:.0f} s.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )
        limit = MAX_QUEUE_DELAY if now >= self._overloaded_until else OVERLOAD_QUEUE_DELAY
        limit = max(limit, MIN_ADMITTED_CALLS * min_service_time)
        if queue_delay > limit:
            self._overloaded_until = now + OVERLOAD_INTERVAL
            raise RequestError(
                f"Server overloaded: estimated queue delay {queue_delay:.2f} s exceeds {limit:.2f} s. "
                f"Retry after {OVERLOAD_INTERVAL:.0f} s.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )


def deadline_exceeded(late_seconds: float) -> RequestError:
    """Return the error of a request whose engine call would end this many seconds after its deadline."""
    return RequestError(
        f"Deadline exceeded: the outputs would be computed {late_seconds:.3f} s after the deadline of this "
        "request. Set a longer deadline.",
        ErrorCode.DEADLINE_EXCEEDED,
    )
