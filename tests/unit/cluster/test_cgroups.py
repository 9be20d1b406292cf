# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from tools.cluster import cgroups

MOUNTINFO = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
50 1 0:50 / /state/kubelet/pods/a rw - tmpfs tmpfs rw
"""


def test_hierarchies_of_both_versions_are_returned() -> None:
    hierarchies = cgroups.hierarchies(MOUNTINFO)
    assert [str(hierarchy.mount_point) for hierarchy in hierarchies] == [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/cpuset",
        "/sys/fs/cgroup/unified",
    ]
    assert "cpuset" in hierarchies[1].controllers


def test_folders_are_returned_outer_before_inner(tmp_path: Path) -> None:
    (tmp_path / "top" / "inner" / "innermost").mkdir(parents=True)
    assert [folder.name for folder in cgroups.folders(tmp_path / "top")] == ["top", "inner", "innermost"]


def test_folders_of_missing_folder_are_empty(tmp_path: Path) -> None:
    assert cgroups.folders(tmp_path / "missing") == []
