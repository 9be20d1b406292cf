# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest

from tools.cluster.errors import ClusterError
from tools.cluster.state import Record, StartedProcess, State, locked


def test_state_survives_writing_and_reading() -> None:
    state = State.fresh()
    state.processes.append(StartedProcess("etcd", 7, 42))
    state.kernel_settings["kernel/panic"] = "1"
    assert State.from_json(state.to_json()) == state


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"processes": [{"pid": 1}]}'])
def test_state_of_foreign_text_raises(text: str) -> None:
    with pytest.raises(ClusterError, match="cannot be read"):
        State.from_json(text)


def test_state_fresh_owns_no_resource_of_the_machine() -> None:
    assert not State.fresh().prepared
    assert not State.fresh().kept


def test_state_without_prepared_owns_its_resources() -> None:
    document = json.loads(State.fresh().to_json())
    del document["prepared"]
    assert State.from_json(json.dumps(document)).prepared


def test_record_forget_keeps_the_other_processes(record: Record) -> None:
    record.add(StartedProcess("store", 1, 1))
    record.add(StartedProcess("etcd", 2, 2))
    record.forget("store")
    assert record.process("store") is None
    assert record.process("etcd") == StartedProcess("etcd", 2, 2)


def test_locked_held_lock_raises_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = rf"The lock's resource is in use by process {os.getpid()} \(`.*`\), since "
    with locked(path, "it"):
        for _ in range(2):  # an attempt does not erase the holder's entry
            with (
                pytest.raises(ClusterError, match=holder),
                locked(path, "the lock's resource", wait=False),
            ):
                pass
    with locked(path, "it", wait=False):
        pass
    assert len(path.read_text().splitlines()) == 1
