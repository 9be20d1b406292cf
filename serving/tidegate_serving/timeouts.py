# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Timeouts of connections: maximum age and keep-alive, checked for all connections by one periodic sweep.

A timer per connection and request would be a measurable part of a small request's cost, and a second is
precise enough. How a connection closes is in :mod:`tidegate_serving.http.fastpath` and in
:mod:`tidegate_serving.grpc.http2.connection`.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

MAX_CONNECTION_AGE = 60.0
"""Seconds until a connection ends with its next response.

Clients keep connections as long as they can, so a new replica receives no requests until clients connect
again. Once per minute is cheap for a client, and faster than an autoscaler's next step. The name is gRPC's.
"""

MAX_CONNECTION_AGE_JITTER = 0.1
"""The age varies by this ratio, as gRPC's does, so that clients do not all reconnect at once."""

SWEEP_INTERVAL = 1.0
"""Seconds between two sweeps."""


class Connection(Protocol):
    """A connection with timeouts."""

    def check_timeouts(self, now: float) -> None:
        """Close the connection, or mark it as closing, if one of its timeouts has passed."""


class ConnectionTimeouts:
    """The open connections of a server, and the clock that they share.

    Args:
        max_age_seconds: The age at which a connection ends with its next response.
        uniform: Draws a number between two others.
    """

    def __init__(
        self,
        max_age_seconds: float = MAX_CONNECTION_AGE,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.now = 0.0
        """The event loop's time at the last sweep: precise to a second, and free to read."""
        self._max_age_seconds = max_age_seconds
        self._uniform = uniform
        self._connections: set[Connection] = set()
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> float:
        """Watch a connection.

        Returns:
            The time from which on the connection is too old.
        """
        if not self._sweeping:
            self._sweeping = True
            self.now = loop.time()
            loop.call_later(SWEEP_INTERVAL, self._sweep, loop)
        self._connections.add(connection)
        factor = self._uniform(1 - MAX_CONNECTION_AGE_JITTER, 1 + MAX_CONNECTION_AGE_JITTER)
        return self.now + self._max_age_seconds * factor

    def discard(self, connection: Connection) -> None:
        """Stop watching a connection."""
        self._connections.discard(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check every connection, and schedule the next sweep while there are connections."""
        self.now = loop.time()
        for connection in list(self._connections):
            connection.check_timeouts(self.now)
        self._sweeping = bool(self._connections)
        if self._sweeping:
            loop.call_later(SWEEP_INTERVAL, self._sweep, loop)
