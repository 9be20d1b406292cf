# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import multiprocessing
from multiprocessing.connection import Connection
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from tests.capacity_repeats import relative, take_turns
from tidegate_loadtests.capacity.measurement import WindowResult
from tidegate_loadtests.capacity.search import Criterion, Window


def test_processes_run_in_turn_until_each_has_ended() -> None:
    order: list[str] = []

    def run(name: str, turns: int, connection: Connection) -> None:
        for turn in range(turns):
            if turn:
                connection.send(None)
            connection.recv()
            order.append(name)
        connection.close()

    ours, threads = [], []
    for name, turns in (("a", 3), ("b", 1), ("c", 2)):
        end, theirs = multiprocessing.Pipe()
        ours.append(end)
        threads.append(Thread(target=run, args=(name, turns, theirs)))
        threads[-1].start()
    take_turns(ours)
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "c", "a", "c", "a"]


@given(
    rate=st.floats(10.0, 20_000.0),
    speed=st.floats(0.2, 5.0),
    waited=st.integers(0, 1_000),
    late=st.integers(0, 1_000),
)
def test_a_relative_rate_keeps_a_windows_outcome(rate: float, speed: float, waited: int, late: int) -> None:
    criterion = Criterion(percentile=99.0, latency_seconds=0.2, max_failure_ratio=0.0)
    result = WindowResult(
        window=Window(
            rate=rate * speed,
            requests=1_000,
            late=late,
            failures=0,
            send_delay_p99_seconds=0.0,
            generator_utilization=0.1,
            connections=criterion.in_flight(rate * speed),
            waited=waited,
        ),
        seconds=2.0,
        latency_p50_seconds=0.1,
        latency_p99_seconds=0.2,
        cpu_seconds=1.0,
        request_seconds=100.0,
        calls=100,
        rows=1_000,
        memory_bytes=1,
    )
    converted = relative(result, rate, speed)
    assert converted.window.rate == rate
    assert converted.window.outcome(criterion) == result.window.outcome(criterion) != "discarded"
