# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A run takes down what nobody keeps, and finds what is left."""

import io
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import __main__ as command
from tests.e2e import traces
from tools.cluster.errors import ClusterError
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.state import Record, locked


class Cluster:
    """What a run needs of one."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def keep(self) -> None:
        self._record.state.kept = True
        self._record.save()

    def enter(self, argv: list[str]) -> list[str]:
        return argv


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Layout.from_environment({"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)})


@pytest.fixture
def done(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run did with the cluster, one word each."""
    steps: list[str] = []

    def up(progress: Progress) -> Cluster:
        steps.append("up")
        record = Record.open(layout.record) or Record.create(layout.record)
        record.state.ready = True
        record.save()
        return Cluster(record)

    def down(layout: Layout, progress: Progress) -> None:
        steps.append("down")
        layout.record.unlink(missing_ok=True)

    def run(*_: Any) -> int:
        steps.append("run")
        return 0

    monkeypatch.setattr(command, "up", up)
    monkeypatch.setattr(command, "down", down)
    monkeypatch.setattr(command, "run_scenarios", run)
    monkeypatch.setattr(command, "load_images", lambda *_: None)
    monkeypatch.setattr(command, "environment", lambda cluster: {})
    monkeypatch.setattr(command, "traces", lambda layout: [])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return steps


def run(keep: bool = False) -> int:
    return command.on_own_cluster(None, Progress(io.StringIO()), keep=keep)


def test_a_run_takes_its_own_cluster_down(done: list[str]) -> None:
    assert run() == 0
    assert done == ["down", "up", "run", "down"]


def test_a_cluster_that_somebody_keeps_is_used_and_left_up(done: list[str]) -> None:
    run(keep=True)
    run()
    assert done == ["down", "up", "run", "up", "run"]


def test_what_a_killed_run_left_goes_first(done: list[str], layout: Layout) -> None:
    record = Record.create(layout.record)
    record.state.ready = True
    record.save()
    run()
    assert done == ["down", "up", "run", "down"]


def test_a_second_run_beside_the_first_is_refused_and_takes_nothing_down(
    done: list[str], layout: Layout
) -> None:
    with locked(layout.run_lock, "the cluster"), pytest.raises(ClusterError, match="in use by process"):
        run()
    assert done == []


def test_anything_of_our_names_is_a_leftover_whether_or_not_it_was_there_before() -> None:
    other = ("mount", "/run/netns/other")
    command.check_gone([], [other], [other])
    with pytest.raises(ClusterError, match="control group /g"):
        command.check_gone([("control group", "/g")], [], [])
    with pytest.raises(ClusterError, match="mount /run/netns/cni-1"):
        command.check_gone([], [other], [other, ("mount", "/run/netns/cni-1")])


def test_mounts_are_found_by_their_paths() -> None:
    mountinfo = "1 2 0:3 / /s/x rw - tmpfs t rw\n1 2 0:4 / /state rw - ext4 d rw\n"
    assert traces.mount_points(mountinfo, ("/s/",)) == ["/s/x"]
