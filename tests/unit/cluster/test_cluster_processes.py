# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Processes are recorded before they run, recognised by more than their id, and ended."""

import json
import os
import time
from pathlib import Path

import pytest

from tools.cluster import process
from tools.cluster.errors import ClusterError
from tools.cluster.state import Record, StartedProcess, State, locked


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record.create(tmp_path / "state" / "state.json")


def start(record: Record, tmp_path: Path, *argv: str) -> StartedProcess:
    log = tmp_path / "logs" / "x.log"
    return process.spawn("x", argv, record=record, log=log, env={"PATH": os.environ["PATH"]})


def test_a_stat_line_is_read_past_any_name() -> None:
    text = "7 (a) R) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0"
    assert process.parse_stat(text) == ("S", 4242)


def test_a_process_is_recorded_and_stopped(record: Record, tmp_path: Path) -> None:
    started = start(record, tmp_path, "sleep", "60")
    again = Record.open(tmp_path / "state" / "state.json")
    assert again is not None
    assert again.state.processes == [started]
    assert process.is_alive(started)
    process.stop([started], grace=5)
    assert not process.is_alive(started)


def test_a_process_that_will_not_end_is_killed(record: Record, tmp_path: Path) -> None:
    started = start(record, tmp_path, "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
    log = tmp_path / "logs" / "x.log"
    deadline = time.monotonic() + 10
    while not (log.exists() and "deaf" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.stop([started], grace=0.2)
    assert not process.is_alive(started)


def test_an_id_that_was_given_away_is_neither_ours_nor_killed(record: Record, tmp_path: Path) -> None:
    started = start(record, tmp_path, "sleep", "60")
    earlier = StartedProcess(started.name, started.pid, started.start_ticks - 1)
    assert not process.is_alive(earlier)
    process.stop([earlier], grace=0)
    assert process.is_alive(started)
    process.stop([started], grace=5)


def test_descendants_are_found_by_their_token(record: Record, tmp_path: Path) -> None:
    started = start(record, tmp_path, "sh", "-c", "sleep 61 & wait")
    deadline = time.monotonic() + 10
    while len(process.carrying(record.state.token)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    found = process.carrying(record.state.token)
    assert started.pid in {one.pid for one in found}
    assert len(found) == 2
    process.stop(found, grace=5)
    assert process.carrying(record.state.token) == []


def test_output_goes_to_the_log(record: Record, tmp_path: Path) -> None:
    started = start(record, tmp_path, "sh", "-c", "echo out; echo err >&2")
    deadline = time.monotonic() + 10
    while process.is_alive(started) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.reap(started.pid)
    assert (tmp_path / "logs" / "x.log").read_text() == "out\nerr\n"


def test_a_record_survives_being_written_and_read() -> None:
    state = State.fresh()
    state.processes.append(StartedProcess("etcd", 7, 42))
    state.kernel_settings["kernel/panic"] = "1"
    assert State.from_json(state.to_json()) == state


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"processes": [{"pid": 1}]}'])
def test_a_record_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="cannot be read"):
        State.from_json(text)


def test_forgetting_one_process_keeps_the_others(record: Record) -> None:
    record.add(StartedProcess("store", 1, 1))
    record.add(StartedProcess("etcd", 2, 2))
    record.forget("store")
    assert record.process("store") is None
    assert record.process("etcd") == StartedProcess("etcd", 2, 2)


def test_a_lock_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = rf"The lock's thing is in use by process {os.getpid()} \(`.*`\), since "
    with locked(path, "it"):
        for _ in range(2):  # asking does not wipe out who holds it
            with (
                pytest.raises(ClusterError, match=holder),
                locked(path, "the lock's thing", wait=False),
            ):
                pass
    with locked(path, "it", wait=False):
        pass
    assert len(path.read_text().splitlines()) == 1


def test_a_new_record_owns_nothing_of_the_machine_and_an_earlier_one_all_of_its_names() -> None:
    fresh = State.fresh()
    assert not fresh.prepared
    assert not fresh.kept
    text = json.dumps({key: value for key, value in json.loads(fresh.to_json()).items() if key != "prepared"})
    assert State.from_json(text).prepared
