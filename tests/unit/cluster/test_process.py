# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from tools.cluster import process
from tools.cluster.layout import Layout
from tools.cluster.state import Record, StartedProcess

BLOCK = 'read -r _ < "$1.never"'
"""A shell command that blocks on a pipe without a writer, and never becomes another program."""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: reading it returns once a process has written a line."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    os.mkfifo(f"{pipe}.never")
    return pipe


def start(record: Record, log: Path, script: str, pipe: Path) -> StartedProcess:
    argv = ["sh", "-c", script, "sh", str(pipe)]
    return process.spawn("x", argv, record=record, log=log, env={"PATH": os.environ["PATH"]})


@pytest.fixture
def log(layout: Layout) -> Path:
    return layout.logs / "x.log"


def test_spawn_records_the_process(record: Record, layout: Layout, log: Path, pipe: Path) -> None:
    started = start(record, log, BLOCK, pipe)
    read = Record.open(layout.record)
    assert read is not None
    assert read.state.processes == [started]
    assert process.is_alive(started)
    process.stop([started], grace=5)
    assert not process.is_alive(started)


def test_spawn_writes_output_to_the_log(record: Record, log: Path, pipe: Path) -> None:
    started = start(record, log, "echo out; echo err >&2", pipe)
    os.waitpid(started.pid, 0)
    assert log.read_text() == "out\nerr\n"


def test_stop_kills_a_process_that_ignores_sigterm(record: Record, log: Path, pipe: Path) -> None:
    started = start(record, log, f"trap '' TERM; echo ready > \"$1\"; {BLOCK}", pipe)
    assert pipe.read_text() == "ready\n"
    process.stop([started], grace=0.2)
    assert not process.is_alive(started)


def test_stop_spares_a_reused_process_id(record: Record, log: Path, pipe: Path) -> None:
    started = start(record, log, BLOCK, pipe)
    earlier = StartedProcess(started.name, started.pid, started.start_ticks - 1)
    assert not process.is_alive(earlier)
    process.stop([earlier], grace=0)
    assert process.is_alive(started)
    process.stop([started], grace=5)


def test_find_by_token_returns_descendants(record: Record, log: Path, pipe: Path) -> None:
    started = start(record, log, f'( echo ready > "$1"; {BLOCK} ) & wait', pipe)
    assert pipe.read_text() == "ready\n"
    found = process.find_by_token(record.state.token)
    assert started.pid in {one.pid for one in found}
    assert len(found) == 2
    process.stop(found, grace=5)
    assert process.find_by_token(record.state.token) == []
