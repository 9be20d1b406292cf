# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The resident memory of a process on Linux, with its peak during a block."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass
class Growth:
    """Resident memory in bytes: the peak during a block above the memory at its start."""

    peak_bytes: int = 0


@contextmanager
def measure_growth(pid: int) -> Iterator[Growth]:
    """Measure a process's memory during a block; the growth is known at its end.

    From proc_pid_clear_refs(5): the value 5 resets the peak.
    """
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before, growth = _resident(pid, "VmRSS"), Growth()
    yield growth
    growth.peak_bytes = _resident(pid, "VmHWM") - before


def _resident(pid: int, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return 1024 * int(match[1])
