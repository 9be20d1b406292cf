# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tidegate.protocol.connect import CONNECT_PAUSES_SECONDS, retry_connect, retry_connect_async

Run = Callable[["Server", list[float]], str]


class Server:
    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)

    def call(self) -> str:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def refused(error: Exception) -> bool:
    return isinstance(error, ConnectionRefusedError)


def run_sync(server: Server, pauses: list[float]) -> str:
    return retry_connect(server.call, refused, sleep=pauses.append)


def run_async(server: Server, pauses: list[float]) -> str:
    async def call() -> str:
        return server.call()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    pending: Awaitable[str] = retry_connect_async(call, refused, sleep=sleep)
    return asyncio.run(_awaited(pending))


async def _awaited(pending: Awaitable[str]) -> str:
    return await pending


both = pytest.mark.parametrize("run", [run_sync, run_async])


@both
def test_call_that_connects_is_made_once(run: Run) -> None:
    pauses: list[float] = []
    assert run(Server("response"), pauses) == "response"
    assert pauses == []


@both
def test_refused_connection_is_retried_after_each_pause(run: Run) -> None:
    pauses: list[float] = []
    server = Server(*[ConnectionRefusedError()] * len(CONNECT_PAUSES_SECONDS), "response")
    assert run(server, pauses) == "response"
    assert pauses == list(CONNECT_PAUSES_SECONDS)


@both
def test_last_attempt_raises_its_own_error(run: Run) -> None:
    pauses: list[float] = []
    server = Server(*[ConnectionRefusedError()] * len(CONNECT_PAUSES_SECONDS), ConnectionRefusedError("last"))
    with pytest.raises(ConnectionRefusedError, match="last"):
        run(server, pauses)
    assert server.outcomes == []


@both
def test_error_after_connecting_is_raised_at_once(run: Run) -> None:
    pauses: list[float] = []
    server = Server(ConnectionRefusedError(), TimeoutError("slow"), "response")
    with pytest.raises(TimeoutError, match="slow"):
        run(server, pauses)
    assert server.outcomes == ["response"]
    assert pauses == [CONNECT_PAUSES_SECONDS[0]]


@both
def test_cancellation_is_never_retried(run: Run) -> None:
    class Cancelling(Server):
        def call(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Cancelling(), [])
