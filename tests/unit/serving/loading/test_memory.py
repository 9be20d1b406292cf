# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tidegate.memory import MIB, memory_limit
from tidegate_serving.loading.memory import warn_if_memory_is_short


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
