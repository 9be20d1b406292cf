# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import threading
import weakref
from collections.abc import Iterator

import pytest

from tests.support.fakes import HANG_SECONDS, run_iterations
from tidegate_serving.batching.engine_thread import EngineThread


@pytest.fixture
def thread() -> Iterator[EngineThread]:
    thread = EngineThread()
    yield thread
    thread.close()


def test_engine_thread_is_prepared_before_it_is_used() -> None:
    prepared: list[int] = []
    EngineThread(lambda: prepared.append(threading.get_ident())).close()
    assert len(prepared) == 1
    assert prepared != [threading.get_ident()]


def test_engine_thread_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="start new thread"):
        EngineThread()


def test_engine_thread_delivers_on_the_event_loop(thread: EngineThread) -> None:
    async def main() -> None:
        delivered: asyncio.Future[tuple[int, int, bool]] = asyncio.get_running_loop().create_future()
        thread.run(
            threading.get_ident,
            lambda ident: delivered.set_result((ident, threading.get_ident(), thread.busy)),
        )
        assert thread.busy
        computed_on, delivered_on, busy = await asyncio.wait_for(delivered, HANG_SECONDS)
        assert computed_on != delivered_on == threading.get_ident()
        assert not busy  # the next computation may run

    asyncio.run(main())


def test_engine_thread_delivers_an_ended_computation_once(thread: EngineThread) -> None:
    async def main() -> None:
        waiting = threading.Event()
        delivered: list[str] = []

        def compute() -> str:
            assert waiting.wait(HANG_SECONDS)
            return "result"

        thread.run(compute, delivered.append)
        thread.deliver()
        assert delivered == []
        waiting.set()
        thread.wait(HANG_SECONDS)
        assert thread.busy
        thread.deliver()  # at once, without an event-loop iteration
        assert delivered == ["result"]
        assert not thread.busy
        await run_iterations(3)  # the scheduled delivery
        assert delivered == ["result"]

    asyncio.run(main())


def test_engine_thread_run_by_a_delivery_is_delivered(thread: EngineThread) -> None:
    """The scheduled delivery of the first result must not deliver the second one."""

    async def main() -> None:
        second = asyncio.get_running_loop().create_future()
        released = threading.Event()

        def compute() -> str:
            assert released.wait(HANG_SECONDS)
            return "second"

        thread.run(lambda: "first", lambda _: thread.run(compute, second.set_result))
        thread.wait(HANG_SECONDS)
        thread.deliver()
        await run_iterations(3)
        assert thread.busy
        assert not second.done()
        released.set()
        assert await asyncio.wait_for(second, HANG_SECONDS) == "second"

    asyncio.run(main())


def test_engine_thread_keeps_no_delivered_result(thread: EngineThread) -> None:
    class Result:
        pass

    async def main() -> None:
        references: list[weakref.ref[Result]] = []
        thread.run(Result, lambda result: references.append(weakref.ref(result)))
        thread.wait(HANG_SECONDS)
        thread.deliver()
        await run_iterations(3)  # the scheduled delivery
        thread.run(int, lambda _: None)  # the executor's thread holds its last computation
        thread.wait(HANG_SECONDS)
        assert references[0]() is None

    asyncio.run(main())


def test_engine_thread_wait_is_bounded(thread: EngineThread) -> None:
    released = threading.Event()

    async def main() -> None:
        delivered = asyncio.Event()
        thread.run(released.wait, lambda _: delivered.set())
        thread.wait(0.001)
        assert thread.busy
        released.set()
        await asyncio.wait_for(delivered.wait(), HANG_SECONDS)

    asyncio.run(main())


def test_engine_thread_outlives_its_event_loop(thread: EngineThread) -> None:
    """A server that ends does not wait for a computation, and its result has no receiver."""
    released = threading.Event()
    delivered: list[bool] = []

    async def main() -> None:
        thread.run(lambda: released.wait(HANG_SECONDS), delivered.append)

    asyncio.run(main())
    released.set()
    thread.wait(HANG_SECONDS)
    assert delivered == []
