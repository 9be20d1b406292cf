# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The machine: facts without which figures mean little."""

import os
import platform
import re
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """Cores, processor, memory, kernel and interpreter."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(Path("/proc/cpuinfo").read_text()) or platform.machine(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def processor(cpuinfo: str) -> str | None:
    r"""The processor's name in the text of /proc/cpuinfo.

    >>> processor("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n")
    'Some CPU @ 2.00GHz'
    """
    found = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return None if found is None else found[1].strip()
