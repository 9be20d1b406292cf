# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The shadow lane: mirrored requests, which share the engine with the requests of users and give way to them.

No reader waits for the response to a mirrored request. So it is rejected as soon as requests of users wait,
and it is computed only while none do. Batches of the two lanes are never mixed, so that drift is measured on
the requests of users alone.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tidegate_serving.batching.admission import AdmissionController
from tidegate_serving.batching.pending import PendingRequest, is_awaited
from tidegate_serving.errors import ErrorCode, RequestError

MAX_SHADOW_QUEUE_DELAY = 0.1
"""The longest estimated time in seconds that an accepted mirrored request waits before its engine call."""


class UserLane(Protocol):
    """The queue of users' requests, as the shadow lane needs it."""

    @property
    def users_wait(self) -> bool:
        """Whether requests of users wait for more than the next batch."""

    def schedule_flush(self, now: float) -> None:
        """Start the next batch after this event-loop iteration."""

    def queue_delay(self, now: float, rows: int) -> float:
        """Return the seconds until the engine has computed the queue and these rows."""

    @property
    def min_service_time(self) -> float:
        """The seconds of the shortest engine call."""

    def fits(self, rows: int) -> bool:
        """Return whether several requests of these rows may form one batch."""


class ShadowLane:
    """The queue of mirrored requests, used from one event loop.

    Args:
        users: The queue of users' requests.
        clock: Seconds of a monotonic clock, the one of ``PendingRequest.enqueued_at``.
    """

    rejection_seconds = 0.0
    """A rejection is not held, because its client sends no further request for it."""

    def __init__(self, users: UserLane, clock: Callable[[], float]) -> None:
        self._users = users
        self._clock = clock
        self._admission = AdmissionController(MAX_SHADOW_QUEUE_DELAY)
        self._queue: deque[PendingRequest] = deque()
        self.queued_rows = 0
        """Rows that wait in the queue."""

    def reject_if_overloaded(self, now: float) -> None:
        """Reject a request before its body is parsed, if it would wait or delay a request of a user.

        Args:
            now: When the server has received the request, in seconds of the clock.

        Raises:
            RequestError: If requests of users wait, or the request itself would wait too long.
        """
        users = self._users
        users.schedule_flush(now)
        if users.users_wait:
            raise RequestError(
                "Mirrored request rejected: requests of users wait for the engine.",
                ErrorCode.RESOURCE_EXHAUSTED,
            )
        delay = users.queue_delay(now, self.queued_rows)
        self._admission.reject_if_overloaded(delay, users.min_service_time, self.queued_rows)

    def submit(self, request: PendingRequest) -> None:
        """Enqueue a request that :meth:`reject_if_overloaded` has let pass. Its outcome follows later."""
        self._users.schedule_flush(request.enqueued_at)
        self._queue.append(request)
        self.queued_rows += request.rows

    def pop_batch(self) -> tuple[list[PendingRequest], int]:
        """Pop the next batch in FIFO order.

        Drop requests whose client disconnected or whose deadline has passed.

        Returns:
            The requests and the sum of their rows.
        """
        batch: list[PendingRequest] = []
        rows, now = 0, self._clock()
        while self._queue and (not batch or self._users.fits(rows + self._queue[0].rows)):
            request = self._queue.popleft()
            self.queued_rows -= request.rows
            if is_awaited(request, now):
                batch.append(request)
                rows += request.rows
        return batch, rows
