# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.virtual_time import VirtualLoop, run
from tidegate_serving.hold import HOLD_PRECISION, ResponseHold

SECONDS = 0.5


@dataclass
class Recorder:
    """A client that sends its next request at once, for as many requests as it has."""

    loop: VirtualLoop
    hold: ResponseHold
    requests: int = 1
    sent: list[float] = field(default_factory=list)

    def send(self) -> None:
        self.sent.append(self.loop.now)
        self.requests -= 1
        if self.requests:
            self.hold.add(self, SECONDS, self.loop)


def send_times(*arrivals: float) -> tuple[list[float], int]:
    """Return when responses of these times are sent, and in how many callbacks."""

    async def main(loop: VirtualLoop) -> tuple[list[float], int]:
        hold, timers, call_at = ResponseHold(), [], loop.call_at

        def count(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            if args[0] == hold._send_due:
                timers.append(when)
            return call_at(when, *args, **kwargs)

        loop.call_at = count  # type: ignore[method-assign]
        recorders = []
        for arrival in arrivals:
            await asyncio.sleep(max(0.0, arrival - loop.now))
            recorders.append(Recorder(loop, hold))
            hold.add(recorders[-1], SECONDS, loop)
        await asyncio.sleep(2 * SECONDS)
        assert len(hold) == 0
        return [time for recorder in recorders for time in recorder.sent], len(timers)

    result: tuple[list[float], int] = run(main)
    return result


def test_hold_sends_each_response_once_at_its_time() -> None:
    sent, timers = send_times(0.0, 0.1, 0.9)
    assert sent == pytest.approx([0.5, 0.6, 1.4])
    assert timers == 3


def test_hold_one_timer_sends_responses_of_about_the_same_time() -> None:
    precision = HOLD_PRECISION * SECONDS
    arrivals = [0.0, precision / 3, precision / 2, 2 * precision]
    sent, timers = send_times(*arrivals)
    assert sent == pytest.approx([0.5, 0.5, 0.5, 0.5 + 2 * precision])
    assert timers == 2


def test_hold_of_a_client_that_retries_at_once_is_whole() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        hold = ResponseHold()
        client = Recorder(loop, hold, requests=3)
        hold.add(client, SECONDS, loop)
        await asyncio.sleep(4 * SECONDS)
        return client.sent

    assert run(main) == pytest.approx([0.5, 1.0, 1.5])
