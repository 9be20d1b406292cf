# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The interface between the transports and the queues: a request that waits, and a lane that accepts it."""

from typing import Protocol

from tidegate.contract import Output
from tidegate_serving.batching.admission import deadline_exceeded
from tidegate_serving.batching.runner import Outcome
from tidegate_serving.codecs.inputs import Inputs


class PendingRequest(Protocol):
    """A parsed request that waits in the queue for its outcome."""

    inputs: Inputs
    rows: int
    """Rows of ``inputs``."""
    outputs: tuple[Output, ...]
    """The outputs that the request selects."""
    enqueued_at: float
    """When the request was parsed, in seconds of the batcher's clock."""
    deadline: float | None
    """Until when the client waits, in seconds of the same clock; None without a deadline."""
    cancelled: bool
    """Whether the client has disconnected, so that no outcome is needed."""

    def resolve(self, outcome: Outcome) -> None:
        """Deliver the outcome. Must not raise."""


def is_awaited(request: PendingRequest, now: float) -> bool:
    """Return whether a request still needs its outputs, and reject it if its deadline has passed.

    Args:
        request: The request, which has left its queue.
        now: The time, in seconds of the batcher's clock.
    """
    if request.cancelled:
        return False
    if request.deadline is not None and now > request.deadline:
        request.resolve(deadline_exceeded(now - request.deadline))
        return False
    return True


class Lane(Protocol):
    """A queue in front of the engine: that of users' requests, or that of mirrored requests."""

    @property
    def rejection_seconds(self) -> float:
        """Seconds for which a transport holds the response to a request that was rejected as overload."""

    def reject_if_overloaded(self, now: float) -> None:
        """Reject a request before its body is parsed, if it would wait too long.

        Raises:
            RequestError: If it would.
        """

    def submit(self, request: PendingRequest) -> None:
        """Enqueue a request. Its outcome follows later, never within this call.

        Raises:
            RequestError: If the request would wait longer than the lane allows or than its client waits.
        """
