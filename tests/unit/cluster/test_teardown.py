# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
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
    """A fake machine for `down`, which records each operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cgroup_root: Path) -> None:
        self.operations: list[str] = []
        self.namespace = False
        self.group = cgroup_root / cgroups.NAME
        self.mounted: list[Path] = []
        hierarchy = cgroups.Hierarchy(cgroup_root, frozenset())
        monkeypatch.setattr(cgroups, "mounted", lambda: [hierarchy])
        monkeypatch.setattr(cgroups, "kill_all", lambda: self.operations.append("kill"))
        monkeypatch.setattr(network, "exists", lambda: self.namespace)
        monkeypatch.setattr(network, "remove", self._remove_namespace)
        monkeypatch.setattr(mounts, "current_points_below", lambda folder: self.mounted)
        monkeypatch.setattr(mounts, "unmount_below", lambda folder, runner: [])
        monkeypatch.setattr(process, "find_by_token", lambda token: [])
        monkeypatch.setattr(kernel, "remove_traces", lambda *_: None)

    def _remove_namespace(self, runner: object, *, folder_was_mounted: bool) -> None:
        self.operations.append("remove the namespace")
        self.namespace = False


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    (tmp_path / "cgroup").mkdir()
    return Machine(monkeypatch, tmp_path / "cgroup")


def down(layout: Layout) -> None:
    teardown.down(layout, Progress(io.StringIO()))


def test_down_removes_the_recorded_resources(machine: Machine, layout: Layout) -> None:
    record = Record.create(layout.record)
    record.state.prepared = True
    record.save()
    machine.namespace = True
    machine.group.mkdir()
    down(layout)
    assert machine.operations == ["kill", "remove the namespace"]
    assert not machine.group.exists()
    assert not layout.state.exists()


@pytest.mark.parametrize("recorded", [True, False])
def test_down_foreign_namespace_and_cgroup_stay(machine: Machine, layout: Layout, recorded: bool) -> None:
    if recorded:
        Record.create(layout.record)  # as an `up` killed before it has prepared the machine leaves it
    machine.namespace = True
    machine.group.mkdir()
    with pytest.raises(
        ClusterError, match=r"network namespace tidegate, the control group .* did not create"
    ):
        down(layout)
    assert machine.operations == []
    assert machine.group.exists()


def test_down_after_a_reboot_spares_existing_resources(machine: Machine, layout: Layout) -> None:
    record = Record.create(layout.record)
    record.state.prepared, record.state.boot_id = True, "earlier"
    record.save()
    machine.namespace = True
    with pytest.raises(ClusterError, match="did not create"):
        down(layout)
    assert machine.operations == []


def test_down_unrecorded_folder_with_a_mount_stays(machine: Machine, layout: Layout) -> None:
    kept = layout.state / "mounted" / "file"
    kept.parent.mkdir(parents=True)
    kept.touch()
    machine.mounted = [kept.parent]
    with pytest.raises(ClusterError, match=f"the mount {kept.parent}"):
        down(layout)
    assert kept.exists()


def test_down_removes_the_rest_of_a_killed_down(machine: Machine, layout: Layout) -> None:
    (layout.state / "etcd").mkdir(parents=True)
    down(layout)
    assert not layout.state.exists()


def test_down_removes_the_record_last(
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
