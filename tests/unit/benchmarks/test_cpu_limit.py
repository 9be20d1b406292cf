# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""CPU limits on a folder that stands for the control groups' file system."""

import pytest

from benchmarks import cpu_limit as module
from benchmarks.cpu_limit import cpu_limit
from tidegate.errors import ConfigurationError


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    # The kernel's files of a group vanish with its folder, and ordinary files do not.
    monkeypatch.setattr(module.Path, "rmdir", lambda folder: folder.rename(f"{folder}.removed"))
    return tmp_path


def test_cpu_limit_version_1_writes_quota_and_process(groups) -> None:
    (groups / "cpu").mkdir()
    with cpu_limit(123, 0.3):
        group = groups / "cpu" / "tidegate-bench-123"
        assert (group / "cpu.cfs_period_us").read_text() == "100000"
        assert (group / "cpu.cfs_quota_us").read_text() == "30000"
        assert (group / "cgroup.procs").read_text() == "123"
    assert (groups / "cpu" / "cgroup.procs").read_text() == "123"
    assert not group.exists()


def test_cpu_limit_version_2_writes_quota_and_process(groups) -> None:
    (groups / "cgroup.controllers").touch()
    with cpu_limit(123, 1.0):
        group = groups / "tidegate-bench-123"
        assert (group / "cpu.max").read_text() == "100000 100000"
        assert (group / "cgroup.procs").read_text() == "123"
    assert not group.exists()


def test_cpu_limit_without_control_groups_names_the_folder(groups) -> None:
    with pytest.raises(ConfigurationError, match=r"cpu/tidegate-bench-\d+ \(No such file"), cpu_limit(1, 1.0):
        pytest.fail("the block ran without a limit")
