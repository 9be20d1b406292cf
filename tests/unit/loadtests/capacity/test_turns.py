# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import multiprocessing
from multiprocessing.connection import Connection
from threading import Thread

from tests.capacity_repeats import take_turns


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
