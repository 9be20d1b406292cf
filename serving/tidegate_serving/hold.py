# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The hold of rejections: their responses wait for the same time, and one timer sends several.

A timer per response would wake the event loop as often. While the engine's thread computes, each of these
callbacks waits for Python's lock, which costs an overloaded server CPU time for its rejections.
"""

import asyncio
from collections import deque
from typing import Protocol

HOLD_PRECISION = 0.05
"""Largest part of its time by which a response is sent early, together with the one before it."""


class HeldResponse(Protocol):
    """A response that is ready."""

    def send(self) -> None:
        """Send the response, unless its client has disconnected."""


class ResponseHold:
    """The held responses of a server, in the order of their times."""

    def __init__(self) -> None:
        self._responses: deque[tuple[float, float, HeldResponse]] = deque()
        """Each response with its time, and the earliest time at which it may be sent."""
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._responses)

    def add(self, response: HeldResponse, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Hold a response.

        Args:
            response: The response.
            seconds: Duration, the same for all responses.
            loop: The running event loop.
        """
        due = loop.time() + seconds
        self._responses.append((due, due - HOLD_PRECISION * seconds, response))
        if not self._scheduled:
            self._scheduled = True
            loop.call_at(due, self._send_due, loop)

    def _send_due(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        try:
            self._send_first()  # also if the timer's clock is ahead of the loop's
            while self._responses and self._responses[0][1] <= now:
                self._send_first()
        finally:
            self._scheduled = bool(self._responses)
            if self._scheduled:
                loop.call_at(self._responses[0][0], self._send_due, loop)

    def _send_first(self) -> None:
        _, _, response = self._responses.popleft()
        response.send()
