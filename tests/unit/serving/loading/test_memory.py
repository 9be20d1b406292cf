# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import ctypes
import platform
import resource
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tidegate.memory import MIB, memory_limit
from tidegate_serving.loading.memory import return_freed_memory, warn_if_memory_is_short


@pytest.mark.parametrize(
    ("missing_bytes", "is_logged"), [(0, False), (1, True), (100 * MIB, True), (-MIB, False)]
)
def test_warn_if_memory_is_short_names_both_limits(
    missing_bytes: int, is_logged: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = write_bundle(tmp_path / "iris")
    needed = memory_limit(bundle.manifest, compiled=False)
    limit = tmp_path / "memory.max"
    limit.write_text(f"{needed - missing_bytes}\n")
    warn_if_memory_is_short(bundle, compiled=False, limit_file=limit)
    assert bool(caplog.messages) is is_logged
    if is_logged:
        assert f"set resources.limits.memory to {-(-needed // MIB)}Mi" in caplog.text
        assert f"The memory limit is {(needed - missing_bytes) // MIB} MiB" in caplog.text


@pytest.mark.parametrize("content", ["max\n", None])
def test_warn_if_memory_is_short_without_limit_is_silent(
    content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = tmp_path / "memory.max"
    if content is not None:
        limit.write_text(content)
    warn_if_memory_is_short(write_bundle(tmp_path / "iris"), compiled=False, limit_file=limit)
    assert not caplog.messages


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory")
def test_return_freed_memory_reduces_the_resident_memory() -> None:
    # glibc keeps blocks of this size in its heap, and the last one keeps the end of the heap in use.
    libc, size, count = ctypes.CDLL(None), 64 << 10, 1_000
    libc.malloc.restype = ctypes.c_void_p
    blocks = [ctypes.c_void_p(libc.malloc(size)) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:
        libc.free(block)
    before = resident_bytes()
    return_freed_memory()
    assert before - resident_bytes() > size * count // 2
    libc.free(blocks[-1])
