# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from tidegate_serving.drain import Drain, wait_for_first

ENDLESS = 10_000.0


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(main())


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_run_first_signal_starts_the_drain(signal_number: int) -> None:
    async def scenario() -> None:
        drain = Drain(0)
        running = asyncio.create_task(drain.run())
        await asyncio.sleep(0)
        assert not drain.started.is_set()
        os.kill(os.getpid(), signal_number)
        await running
        assert drain.started.is_set()
        assert drain.finished.is_set()
        assert not drain.forced.is_set()

    run(scenario)


def test_run_sigterm_waits_for_the_drain() -> None:
    async def scenario() -> None:
        drain = Drain(ENDLESS)
        running = asyncio.create_task(drain.run())
        drain.handle_signal(signal.SIGTERM)
        for _ in range(10):
            await asyncio.sleep(0)
        assert drain.started.is_set()
        assert not drain.finished.is_set()
        running.cancel()

    run(scenario)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_run_second_signal_ends_the_drain(second: int) -> None:
    async def scenario() -> None:
        drain = Drain(ENDLESS)
        running = asyncio.create_task(drain.run())
        drain.handle_signal(signal.SIGTERM)
        drain.handle_signal(second)
        await running
        assert drain.forced.is_set()
        assert drain.finished.is_set()

    run(scenario)


def test_run_sigint_skips_the_drain() -> None:
    async def scenario() -> None:
        drain = Drain(ENDLESS)
        running = asyncio.create_task(drain.run())
        drain.handle_signal(signal.SIGINT)
        await running
        assert drain.finished.is_set()
        assert not drain.forced.is_set()

    run(scenario)


def test_wait_for_first_cancels_the_others() -> None:
    async def scenario() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        other = asyncio.ensure_future(second.wait())
        first.set()
        await wait_for_first(first.wait(), other)
        await asyncio.wait([other])
        assert other.cancelled()

    run(scenario)
