# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Thread pools: the numeric libraries' threads, limited to the process's CPUs by affinity and quota.

The libraries count the node's CPUs. In a pod with a quota of one CPU, forty threads would compete for it.
When the quota is used up, the kernel throttles all of them. ONNX Runtime has a limit of its own, in ``onnx``.
"""

import math
import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""The CPU quota of the process's control group (cgroup v2), as a container sees it."""


def available_cpus(affinity: int, quota: float | None) -> int:
    """Return how many threads can run at the same time.

    Args:
        affinity: The number of CPUs that the process may run on.
        quota: The CPU time that the process may use, in CPUs; None if it has no limit.

    >>> available_cpus(8, None), available_cpus(8, 1.5), available_cpus(2, 4.0), available_cpus(8, 0.1)
    (8, 2, 2, 1)
    """
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def parse_quota(text: str) -> float | None:
    """Parse the text of ``cpu.max`` to a number of CPUs; None if it has no limit or another form.

    >>> parse_quota("150000 100000"), parse_quota("max 100000"), parse_quota("")
    (1.5, None, None)
    """
    match text.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return None


def limit() -> None:
    """Limit the loaded libraries' pools, for the calling thread only: OpenMP keeps its limit per thread."""
    from threadpoolctl import threadpool_limits

    try:
        quota = parse_quota(_CPU_MAX.read_text())
    except OSError:
        quota = None
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threadpool_limits(available_cpus(affinity, quota))
