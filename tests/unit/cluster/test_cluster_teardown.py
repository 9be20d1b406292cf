# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""`down` removes what its record says is its own, and refuses to touch anything else of its names."""

import io
import shutil
from pathlib import Path

import pytest

from tools.cluster import cgroups, kernel, mounts, network, process, teardown
from tools.cluster.errors import ClusterError
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.state import Record


class Machine:
    """The machine as `down` sees it: nothing is touched, what would be is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cgroup_root: Path) -> None:
        self.done: list[str] = []
        self.namespace = False
        self.group = cgroup_root / cgroups.NAME
        self.mounted: list[Path] = []
        hierarchy = cgroups.Hierarchy(cgroup_root, frozenset())
        monkeypatch.setattr(cgroups, "mounted", lambda: [hierarchy])
        monkeypatch.setattr(cgroups, "kill_all", lambda: self.done.append("kill"))
        monkeypatch.setattr(network, "exists", lambda: self.namespace)
        monkeypatch.setattr(network, "remove", self._remove_namespace)
        monkeypatch.setattr(mounts, "now_below", lambda folder: self.mounted)
        monkeypatch.setattr(mounts, "unmount_below", lambda folder, runner: [])
        monkeypatch.setattr(process, "carrying", lambda token: [])
        monkeypatch.setattr(kernel, "remove_traces", lambda *_: None)

    def _remove_namespace(self, runner: object, *, folder_was_mounted: bool) -> None:
        self.done.append("remove the namespace")
        self.namespace = False


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    (tmp_path / "cgroup").mkdir()
    return Machine(monkeypatch, tmp_path / "cgroup")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(cache=tmp_path / "cache", state=tmp_path / "state" / "cluster")


def down(layout: Layout) -> None:
    teardown.down(layout, Progress(io.StringIO()))


def test_what_the_record_owns_goes(machine: Machine, layout: Layout) -> None:
    record = Record.create(layout.record)
    record.state.prepared = True
    record.save()
    machine.namespace = True
    machine.group.mkdir()
    down(layout)
    assert machine.done == ["kill", "remove the namespace"]
    assert not machine.group.exists()
    assert not layout.state.exists()


@pytest.mark.parametrize("recorded", [True, False])
def test_a_namespace_and_a_group_of_anothers_are_neither_killed_nor_removed(
    machine: Machine, layout: Layout, recorded: bool
) -> None:
    if recorded:
        Record.create(layout.record)  # as `up` leaves it that is killed before it prepares the machine
    machine.namespace = True
    machine.group.mkdir()
    with pytest.raises(ClusterError, match=r"network namespace tidegate, the control group .* did not make"):
        down(layout)
    assert machine.done == []
    assert machine.group.exists()


def test_after_a_boot_nothing_of_the_names_is_ours(machine: Machine, layout: Layout) -> None:
    record = Record.create(layout.record)
    record.state.prepared, record.state.boot_id = True, "earlier"
    record.save()
    machine.namespace = True
    with pytest.raises(ClusterError, match="did not make"):
        down(layout)
    assert machine.done == []


def test_a_folder_without_a_record_in_which_something_is_mounted_is_left(
    machine: Machine, layout: Layout
) -> None:
    kept = layout.state / "mounted" / "file"
    kept.parent.mkdir(parents=True)
    kept.touch()
    machine.mounted = [kept.parent]
    with pytest.raises(ClusterError, match=f"the mount {kept.parent}"):
        down(layout)
    assert kept.exists()


def test_the_rest_of_a_killed_removal_goes(machine: Machine, layout: Layout) -> None:
    (layout.state / "etcd").mkdir(parents=True)
    down(layout)
    assert not layout.state.exists()


def test_the_record_is_the_last_of_the_folder_to_go(
    machine: Machine, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    Record.create(layout.record)
    (layout.state / "etcd").mkdir()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            down(layout)
    assert Record.open(layout.record) is not None
    down(layout)
    assert not layout.state.exists()
