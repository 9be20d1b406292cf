# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load generator's CPU use: whether it had the CPU time that its measurements need.

A saturated generator makes every server look slow, whether it needs more than one CPU or other processes use
its CPU. The kernel's accounting of the generator's process and its child processes is the source.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from tidegate.errors import ConfigurationError

SATURATED_UTILIZATION = 0.9
"""The utilization of one CPU above which the generator counts as saturated. Locust warns at 90 % as well."""
_MAX_SATURATED_RATIO = 0.1
"""The accepted part of a phase with saturation, because garbage collection causes short bursts."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Cumulative CPU times of the generator at one moment, all in seconds."""

    clock: float
    """The moment, on the machine's monotonic clock."""
    used: float
    """CPU time that the generator used."""
    waited: float
    """Time that the generator was runnable while other processes used its CPU."""


@dataclass(frozen=True, slots=True)
class Generator:
    """One load generator process and its CPU use in the judged phases, as a ratio of one CPU."""

    pinned_cpu: int | None
    """The CPU that the process was pinned to; None if it was not pinned."""
    utilization_mean: float | None
    """None if no measurement falls within a judged phase."""
    utilization_max: float | None
    """The largest utilization between two measurements, which are half a second apart."""
    run_queue_wait_mean: float | None
    """The ratio of time that the process was runnable while other processes used its CPU."""
    saturated_ratio: float
    """The ratio of time with utilization and wait together above :data:`SATURATED_UTILIZATION`.

    Of several judged phases, that of the phase with the largest ratio.
    """
    worker: str | None = None
    """The worker's name; None in a campaign without workers."""
    start_skew_ms: float | None = None
    """Upper bound of the delay between the master's start and the worker's; None without a master."""

    @property
    def saturated(self) -> bool:
        """Whether the generator was, or may have been, the bottleneck."""
        return self.utilization_mean is None or self.saturated_ratio > _MAX_SATURATED_RATIO


def busiest(generators: Sequence[Generator]) -> Generator:
    """Return the generator that is the most likely bottleneck."""
    return max(generators, key=lambda one: (one.saturated, one.saturated_ratio, one.utilization_mean or 0.0))


def measure_generator(
    measurements: Sequence[CpuTimes], windows: Sequence[tuple[float, float]], pinned_cpu: int | None
) -> Generator:
    """Compute the CPU use within the judged phases. The phase with the longest saturation counts.

    Args:
        measurements: Cumulative CPU times in the order of their moments.
        windows: Begin and end of each judged phase, on the monotonic clock.
        pinned_cpu: The CPU that the process was pinned to, if any.
    """
    spans, saturated_ratio = [], 0.0
    for begin, end in windows:
        within = [
            (after.clock - before.clock, after.used - before.used, after.waited - before.waited)
            for before, after in pairwise(measurements)
            if before.clock >= begin and after.clock <= end
        ]
        saturated = sum(
            seconds for seconds, used, waited in within if used + waited > SATURATED_UTILIZATION * seconds
        )
        if within:
            saturated_ratio = max(saturated_ratio, saturated / sum(seconds for seconds, _, _ in within))
        spans += within
    total = sum(seconds for seconds, _, _ in spans)
    if not total:
        return Generator(pinned_cpu, None, None, None, 0.0)
    return Generator(
        pinned_cpu=pinned_cpu,
        utilization_mean=sum(used for _, used, _ in spans) / total,
        utilization_max=max(used / seconds for seconds, used, _ in spans),
        run_queue_wait_mean=sum(waited for _, _, waited in spans) / total,
        saturated_ratio=saturated_ratio,
    )


def read_cpu_times(process: psutil.Process, *, children: bool = True) -> CpuTimes | None:
    """Read the cumulative CPU times of a process; None after its end.

    Args:
        process: The process.
        children: Whether to add its child processes, whose search reads the state of every process.
    """
    try:
        family = (process, *process.children(recursive=True)) if children else (process,)
        times = [member.cpu_times() for member in family]
        waited = sum(_run_queue_wait_seconds(member.pid) for member in family)
    except psutil.Error:
        return None
    return CpuTimes(time.monotonic(), sum(used.user + used.system for used in times), waited)


def _run_queue_wait_seconds(pid: int) -> float:
    """Read the time that a process's main thread, which runs Locust, waited for a CPU.

    From the second number of ``/proc/<pid>/schedstat`` (Linux, Documentation/scheduler/sched-stats.rst). Some
    sandboxes and kernels do not have the file; utilization alone then decides.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def select_cpu(requested: int | None) -> int | None:
    """Select the CPU to pin the generator to: the requested one, or the last of several, or none.

    Raises:
        ConfigurationError: If this process may not use the requested CPU.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if requested is None:
        return cpus[-1] if len(cpus) > 1 else None
    if requested not in cpus:
        raise ConfigurationError(
            f"field 'cpu': the load generator cannot be pinned to CPU {requested}: expected one of "
            f"{', '.join(map(str, cpus))}; correct or remove 'cpu'."
        )
    return requested
