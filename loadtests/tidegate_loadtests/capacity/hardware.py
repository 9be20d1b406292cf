# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The hardware of this machine, as the capacity file names it."""

import os
import platform
import re
from pathlib import Path

from tidegate_loadtests.capacity.document import Hardware


def read_hardware(cpuinfo: Path = Path("/proc/cpuinfo")) -> Hardware:
    """Read the processor, the number of CPUs and the memory.

    Args:
        cpuinfo: The kernel's description of the processors.
    """
    match = (
        re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    )
    return Hardware(
        cpu=platform.machine() if match is None else match[1].strip(),
        cpus=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )
