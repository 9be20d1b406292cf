# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Coroutine
from typing import Any

from tidegate_serving.grpc.coalescing import TRIED, TURNS, CallCoalescer


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_calls_that_come_within_some_turns_of_each_other_go_on_together() -> None:
    async def scenario() -> None:
        gathering, gone_on = CallCoalescer(), []

        async def call(number: int) -> None:
            await gathering.join()
            gone_on.append(number)

        calls = []
        for number in range(5):
            calls.append(asyncio.create_task(call(number)))
            await turns(TURNS // 2)
            assert gone_on == []
        await turns(TURNS + 3)
        assert gone_on == [0, 1, 2, 3, 4]
        await asyncio.gather(*calls)

    run(scenario())


def test_a_call_that_comes_alone_goes_on_at_once_but_for_one_in_so_many() -> None:
    async def scenario() -> None:
        gathering, waited = CallCoalescer(), []
        for _ in range(3 * TRIED):
            call = asyncio.ensure_future(gathering.join())
            await turns(1)
            waited.append(not call.done())
            await call
        assert [index for index, each in enumerate(waited) if each] == [0, TRIED, 2 * TRIED]

    run(scenario())


def test_after_calls_that_came_together_the_next_one_waits_for_others() -> None:
    async def scenario() -> None:
        gathering = CallCoalescer()
        for _ in range(3):  # alone
            await gathering.join()
        assert gathering._alone == 3
        gathering._alone = TRIED  # the one that is tried is joined by another
        await asyncio.gather(gathering.join(), gathering.join())
        call = asyncio.ensure_future(gathering.join())
        await turns(1)
        assert not call.done()
        await call

    run(scenario())


def test_a_call_whose_client_has_gone_holds_nobody() -> None:
    async def scenario() -> None:
        gathering = CallCoalescer()
        gone, stays = (asyncio.ensure_future(gathering.join()) for _ in range(2))
        await turns(1)
        gone.cancel()
        await stays
        assert gone.cancelled()
        await gathering.join()

    run(scenario())
