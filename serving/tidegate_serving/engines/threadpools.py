# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Threads: as many in numeric libraries as the process has CPUs, by affinity and by quota.

The libraries count the node's CPUs. In a pod with a quota of one, forty threads then take turns on it and are
stopped together when it is used up. ONNX Runtime is told its number elsewhere.
"""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The quota of the process's own control group, version 2, as a container sees it."""


def available(affinity: int, quota: float | None) -> int:
    """How many threads can run at a time.

    Args:
        affinity: On how many CPUs the process may run.
        quota: How many CPUs' time it may use, if that is limited.

    >>> available(8, None), available(8, 1.5), available(2, 4.0), available(8, 0.1)
    (8, 2, 2, 1)
    """
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def parse_quota(text: str) -> float | None:
    """CPUs from the text of ``cpu.max``; None for no limit, or a text of another form.

    >>> parse_quota("150000 100000"), parse_quota("max 100000"), parse_quota("")
    (1.5, None, None)
    """
    match text.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return None


def limit() -> None:
    """Limit the pools that are loaded; in each thread that computes, as OpenMP keeps its limit by thread."""
    from threadpoolctl import threadpool_limits

    try:
        quota = parse_quota(_QUOTA.read_text())
    except OSError:
        quota = None
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threadpool_limits(available(affinity, quota))
