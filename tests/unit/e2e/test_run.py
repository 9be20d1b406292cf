# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import __main__ as command
from tests.e2e import traces
from tools.cluster import mounts
from tools.cluster.errors import ClusterError
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.state import Record, locked

CI = command.Run.complete(full=False)


class FakeCluster:
    """A cluster with the methods that a run calls."""

    def __init__(self, record: Record, steps: list[str]) -> None:
        self._record = record
        self._steps = steps

    def keep(self) -> None:
        self._record.state.kept = True
        self._record.save()

    def enter(self, argv: list[str]) -> list[str]:
        return argv

    def install(self, addon: str) -> None:
        self._steps.append(f"install {addon}")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Layout.from_environment({"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)})


@pytest.fixture
def steps(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of a run, one word per step."""
    steps: list[str] = []

    def up(progress: Progress) -> FakeCluster:
        steps.append("up")
        record = Record.open(layout.record) or Record.create(layout.record)
        record.state.ready = True
        record.save()
        return FakeCluster(record, steps)

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
    monkeypatch.setattr(command, "find_traces", lambda layout: [])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return steps


def run(keep: bool = False) -> int:
    return command.on_own_cluster(CI, Progress(io.StringIO()), keep=keep)


def test_run_removes_its_own_cluster(steps: list[str]) -> None:
    assert run() == 0
    assert steps == ["down", "up", "run", "down"]


def test_run_uses_a_kept_cluster_and_leaves_it_up(steps: list[str]) -> None:
    run(keep=True)
    run()
    assert steps == ["down", "up", "run", "up", "run"]


def test_run_removes_the_cluster_of_a_killed_run_first(steps: list[str], layout: Layout) -> None:
    record = Record.create(layout.record)
    record.state.ready = True
    record.save()
    run()
    assert steps == ["down", "up", "run", "down"]


def test_run_during_another_run_raises_and_removes_nothing(steps: list[str], layout: Layout) -> None:
    with locked(layout.run_lock, "the cluster"), pytest.raises(ClusterError, match="in use by process"):
        run()
    assert steps == []


def test_verify_removed_names_traces_and_new_mounts() -> None:
    other = ("mount", "/run/netns/other")
    command.verify_removed([], [other], [other])
    with pytest.raises(ClusterError, match="control group /g"):
        command.verify_removed([("control group", "/g")], [], [])
    with pytest.raises(ClusterError, match="mount /run/netns/cni-1"):
        command.verify_removed([], [other], [other, ("mount", "/run/netns/cni-1")])


def test_find_shared_mounts_excludes_the_folders_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        Path("/run/netns"): [Path("/run/netns/cni-1"), Path("/run/netns")],
        Path("/run/containerd"): [Path("/run/containerd/io")],
    }
    monkeypatch.setattr(mounts, "current_points_below", lambda folder: points[folder])
    assert traces.find_shared_mounts() == [("mount", "/run/netns/cni-1"), ("mount", "/run/containerd/io")]
