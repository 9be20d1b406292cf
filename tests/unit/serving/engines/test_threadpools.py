# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tidegate_serving.engines import threadpools


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [(8, None, 8), (8, 8.0, 8), (8, 1.5, 2), (2, 4.0, 2), (8, 0.1, 1), (1, None, 1)],
)
def test_available_cpus_is_the_smaller_of_affinity_and_quota(
    affinity: int, quota: float | None, expected: int
) -> None:
    assert threadpools.available_cpus(affinity, quota) == expected


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("", None), ("x y", None), ("1 0", None), ("1", None)],
)
def test_parse_quota_reads_the_kernels_format(text: str, quota: float | None) -> None:
    assert threadpools.parse_quota(text) == quota


def test_limit_with_a_quota_of_one_leaves_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("100000 100000\n")
    monkeypatch.setattr(threadpools, "_CPU_MAX", file)
    with threadpool_limits():  # restores the limits
        threadpools.limit()
        assert {pool["num_threads"] for pool in threadpool_info()} <= {1}


def test_limit_without_a_quota_file_uses_the_affinity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(threadpools, "_CPU_MAX", tmp_path / "absent")
    monkeypatch.setattr(threadpools.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    with threadpool_limits():
        threadpools.limit()
        assert {pool["num_threads"] for pool in threadpool_info()} <= {1}
