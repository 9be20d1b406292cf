# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The environment of a run: what can change the bits of a model although data and configuration are the same.

Compiled libraries choose their code by the processor, and the order of a sum by the number of threads.
"""

import platform
import re
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")


def describe_environment() -> dict[str, Any]:
    """Return processor, threads and compiled libraries of this process, while its limits apply."""
    from threadpoolctl import threadpool_info

    pools = threadpool_info()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": max((pool["num_threads"] for pool in pools), default=1),
        "libraries": sorted({_describe_pool(pool) for pool in pools}),
    }


def _describe_pool(pool: dict[str, Any]) -> str:
    """Return a library of threads with its version, and the processor that its code is for."""
    facts = (pool["internal_api"], pool.get("version"), pool.get("architecture"))
    return " ".join(fact for fact in facts if fact)


def _processor() -> str:
    """Return the processor's name; Python's own function returns none on Linux."""
    if _CPUINFO.is_file() and (model := re.search(r"^model name\s*: (.+)$", _CPUINFO.read_text(), re.M)):
        return model[1]
    return platform.processor() or "unknown"
