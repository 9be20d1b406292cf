# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The machine: its facts belong to every figure."""

import os
import platform
import re
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """Read cores, processor, memory, kernel and interpreter."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(Path("/proc/cpuinfo").read_text()) or platform.machine(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def processor(cpuinfo: str) -> str | None:
    r"""Parse the processor's name from the text of /proc/cpuinfo.

    >>> processor("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n")
    'Some CPU @ 2.00GHz'
    """
    match = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return None if match is None else match[1].strip()
