# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Memory around the loading of a model: a warning if there is too little, and the return of freed memory.

The kernel ends a process that exceeds its limit without a message. The warning is then the log's last line.
"""

import ctypes
import logging
from pathlib import Path

from tidegate.bundle import Bundle
from tidegate.memory import MIB, memory_limit

_MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")
"""The memory limit of the process's control group (cgroup v2), as a container sees it."""

_log = logging.getLogger("tidegate.memory")


def warn_if_memory_is_short(bundle: Bundle, *, compiled: bool, limit_file: Path = _MEMORY_MAX) -> None:
    """Log a warning if the process's memory limit is below that of the bundle.

    Args:
        bundle: The bundle.
        compiled: Whether the server runs the compiled model.
        limit_file: The file with the limit in bytes, or ``max``.
    """
    try:
        text = limit_file.read_text().strip()
    except OSError:
        return
    needed = memory_limit(bundle.manifest, compiled=compiled)
    if text.isdecimal() and int(text) < needed:
        _log.warning(
            "The memory limit is %d MiB, and a server of this bundle may need %d MiB: set "
            "resources.limits.memory to %dMi.",
            int(text) // MIB,
            -(-needed // MIB),
            -(-needed // MIB),
        )


def return_freed_memory() -> None:
    """Return freed memory to the system, where the C library is glibc.

    Building a model frees most of what it allocates, and glibc keeps it for the process: the memory of a
    server of a large forest falls by a third.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
