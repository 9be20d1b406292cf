# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.support.fakes import run_iterations
from tidegate_serving.grpc.coalescing import PROBE_INTERVAL, QUIET_ITERATIONS, CallCoalescer


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def test_wait_calls_close_together_continue_together() -> None:
    async def scenario() -> None:
        coalescer, continued = CallCoalescer(), []

        async def call(number: int) -> None:
            await coalescer.wait()
            continued.append(number)

        calls = []
        for number in range(5):
            calls.append(asyncio.create_task(call(number)))
            await run_iterations(QUIET_ITERATIONS // 2)
            assert continued == []
        await run_iterations(QUIET_ITERATIONS + 3)
        assert continued == [0, 1, 2, 3, 4]
        await asyncio.gather(*calls)

    run(scenario())


def test_wait_single_calls_continue_at_once_except_probes() -> None:
    async def scenario() -> None:
        coalescer, waited = CallCoalescer(), []
        for _ in range(3 * PROBE_INTERVAL):
            call = asyncio.ensure_future(coalescer.wait())
            await run_iterations(1)
            waited.append(not call.done())
            await call
        expected = [0, PROBE_INTERVAL, 2 * PROBE_INTERVAL]
        assert [index for index, each in enumerate(waited) if each] == expected

    run(scenario())


def test_wait_after_calls_that_came_together_waits() -> None:
    async def scenario() -> None:
        coalescer = CallCoalescer()
        for _ in range(PROBE_INTERVAL):
            await coalescer.wait()
        await asyncio.gather(
            coalescer.wait(), coalescer.wait()
        )  # the first is a probe, and the second joins it
        call = asyncio.ensure_future(coalescer.wait())
        await run_iterations(1)
        assert not call.done()
        await call

    run(scenario())


def test_wait_cancelled_call_delays_no_other() -> None:
    async def scenario() -> None:
        coalescer = CallCoalescer()
        cancelled, other = (asyncio.ensure_future(coalescer.wait()) for _ in range(2))
        await run_iterations(1)
        cancelled.cancel()
        await other
        assert cancelled.cancelled()
        await coalescer.wait()

    run(scenario())
