# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Admission: reject a request whose estimated queue delay is too long.

As CoDel does (Controlled Delay, RFC 8289), admission bounds the delay of the queue instead of its length.
Unlike CoDel it decides on arrival, from an estimate, so the server spends no time on a rejected request. The
delay includes the time in the socket before the server reads the request.

The decision has no state. A policy that accepts less after a rejection can sustain its own overload: each
rejection renews the strict bound, and clients that retry at once keep the server busy with rejections
(Bronson et al., "Metastable Failures in Distributed Systems", HotOS 2021). Here a rejection changes no later
decision, so an overload ends when its load ends.

The controller estimates nothing and reads no clock: ``queue_delay`` does both.
"""

from tidegate_serving.config import MAX_QUEUE_DELAY
from tidegate_serving.errors import ErrorCode, RequestError

MAX_QUEUED_ROWS = 100_000
"""Rows that may wait in the queue. The bound protects memory, not latency."""

MIN_ADMITTED_CALLS = 4
"""Engine calls that a request may always wait for, even if they take longer than the longest queue delay."""

ESTIMATE_ERROR = 0.1
"""Fraction by which the queue delay may exceed its estimate, so that p99 of it keeps the bound.

Under a CPU limit the duration of engine calls varies, because some wait for the next period of the quota.
"""

ALWAYS_ADMITTED_QUEUE_DELAY = 0.03
"""Queue delay that is always accepted, in seconds. Below it the batcher skips the estimate to save time."""

RETRY_AFTER_SECONDS = 1
"""Seconds after which a client may retry a rejected request."""

MAX_REJECTION_SECONDS = 1.0
"""Longest time for which the server holds a rejection, in seconds."""


class AdmissionController:
    """The bounds on a queue's delay and on its rows.

    Args:
        max_queue_delay: Longest accepted queue delay, in seconds.
        max_queued_rows: Rows that may wait in the queue.
    """

    def __init__(
        self, max_queue_delay: float = MAX_QUEUE_DELAY, max_queued_rows: int = MAX_QUEUED_ROWS
    ) -> None:
        self.max_queued_rows = max_queued_rows
        self.always_admitted_delay = min(ALWAYS_ADMITTED_QUEUE_DELAY, max_queue_delay / (1 + ESTIMATE_ERROR))
        """Queue delay that is accepted without an estimate, in seconds."""
        self.rejection_seconds = min(MAX_REJECTION_SECONDS, max_queue_delay / 4)
        """Seconds for which the server holds a rejection.

        Clients that retry at once would otherwise use the server's CPU for rejections, and a closed loop with
        more clients would have less throughput. The hold bounds each client's rate of rejected requests.
        """
        self._max_queue_delay = max_queue_delay

    def reject_if_overloaded(self, queue_delay: float, min_service_time: float, queued_rows: int) -> None:
        """Reject a request that would wait too long, or would make the queue too long.

        Args:
            queue_delay: Estimated seconds from the request's arrival at its socket to its engine call.
            min_service_time: Seconds of the shortest engine call.
            queued_rows: Rows in the queue, including those of the request if they are known.

        Raises:
            RequestError: If the rows or the queue delay exceed their bound.
        """
        if queued_rows > self.max_queued_rows:
            raise RequestError(
                f"Server overloaded: {queued_rows} rows in the queue exceed the maximum of "
                f"{self.max_queued_rows}. Retry after {RETRY_AFTER_SECONDS} s.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )
        upper_delay = queue_delay * (1 + ESTIMATE_ERROR)
        limit = max(self._max_queue_delay, MIN_ADMITTED_CALLS * min_service_time * (1 + ESTIMATE_ERROR))
        if upper_delay > limit:
            raise RequestError(
                f"Server overloaded: a queue delay of up to {upper_delay:.2f} s exceeds {limit:.2f} s. "
                f"Retry after {RETRY_AFTER_SECONDS} s.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )


def deadline_exceeded(late_seconds: float) -> RequestError:
    """Return the error of a request whose engine call would end this many seconds after its deadline."""
    return RequestError(
        f"Deadline exceeded: the outputs would be computed {late_seconds:.3f} s after the deadline of this "
        "request. Set a longer deadline.",
        ErrorCode.DEADLINE_EXCEEDED,
    )
