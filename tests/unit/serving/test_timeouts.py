# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from tidegate_serving.timeouts import MAX_CONNECTION_AGE_JITTER, SWEEP_INTERVAL, ConnectionTimeouts


class FakeLoop:
    """An event loop whose time the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> None:
        self.timers.append((self.now + delay, lambda: callback(*args)))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for at, callback in self.timers if at <= self.now]
        self.timers = [(at, callback) for at, callback in self.timers if at > self.now]
        for callback in due:
            callback()


class FakeConnection:
    """Records the checks, and leaves at a time."""

    def __init__(self, timeouts: ConnectionTimeouts, leaves_at: float = float("inf")) -> None:
        self.checks: list[float] = []
        self._timeouts, self._leaves_at = timeouts, leaves_at

    def check_timeouts(self, now: float) -> None:
        self.checks.append(now)
        if now >= self._leaves_at:
            self._timeouts.discard(self)


@pytest.fixture
def loop() -> Any:
    return FakeLoop()


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [(min, 60 * (1 - MAX_CONNECTION_AGE_JITTER)), (max, 60 * (1 + MAX_CONNECTION_AGE_JITTER))],
)
def test_add_returns_the_expiry_within_the_jitter(drawn: Any, expected: float, loop: Any) -> None:
    timeouts = ConnectionTimeouts(60, drawn)
    assert timeouts.add(FakeConnection(timeouts), loop) == pytest.approx(100 + expected)


def test_sweep_checks_every_connection_at_the_interval(loop: Any) -> None:
    timeouts = ConnectionTimeouts()
    connections = [FakeConnection(timeouts) for _ in range(3)]
    for connection in connections:
        timeouts.add(connection, loop)
    assert len(loop.timers) == 1
    loop.advance(SWEEP_INTERVAL)
    loop.advance(SWEEP_INTERVAL)
    assert timeouts.now == loop.now
    assert [connection.checks for connection in connections] == [[101.0, 102.0]] * 3


def test_sweep_without_connections_stops(loop: Any) -> None:
    timeouts = ConnectionTimeouts()
    timeouts.add(FakeConnection(timeouts, leaves_at=101), loop)
    timeouts.add(FakeConnection(timeouts, leaves_at=102), loop)
    loop.advance(SWEEP_INTERVAL)
    assert len(timeouts) == 1
    loop.advance(SWEEP_INTERVAL)
    assert len(timeouts) == 0
    assert not loop.timers


def test_add_after_a_pause_reads_the_clock_again(loop: Any) -> None:
    timeouts = ConnectionTimeouts(60, lambda low, high: 1.0)
    timeouts.add(FakeConnection(timeouts, leaves_at=101), loop)
    loop.advance(SWEEP_INTERVAL)
    loop.advance(1_000)
    assert timeouts.add(FakeConnection(timeouts), loop) == loop.now + 60
    assert timeouts.now == loop.now
