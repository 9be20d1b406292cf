# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The generator's own load: whether it had the processor time that its figures need.

A generator that cannot keep up makes any server look slow, whether it needs more than a core or others use
its core. It is watched by what the kernel counts for its process, with all its child processes.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from tidegate.errors import ConfigurationError

SATURATED = 0.9
"""The share of a core above which the generator counts as the bottleneck. Locust warns at the same."""
_TOLERATED = 0.1
"""The share of the measured time that it may be saturated: a burst of garbage collection is no bottleneck."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What the generator had used and waited for at a moment, all in seconds."""

    clock: float
    """On the machine's monotonic clock."""
    cpu: float
    """Processor time used."""
    wait: float
    """Time that it was ready to run and the core was not its own."""


@dataclass(frozen=True, slots=True)
class Generator:
    """How busy the generator was within the measured time, in shares of one core."""

    core: int | None
    """The core that it was pinned to; None if it was not."""
    cpu_mean: float | None
    """None if it was not seen running."""
    cpu_peak: float | None
    """The largest share between two looks, which are half a second apart."""
    wait_mean: float | None
    """How long it was ready to run while others used its core."""
    saturated_share: float
    """The share of the measured time in which use and wait together were above :data:`SATURATED`."""
    worker: str | None = None
    """Which worker it was; None if the campaign had none."""
    began_within_ms: float | None = None
    """How long after the master's word the worker began, at most; None if there was no master."""

    @property
    def saturated(self) -> bool:
        """Whether it was, or may have been, the bottleneck."""
        return self.cpu_mean is None or self.saturated_share > _TOLERATED


def busiest(generators: Sequence[Generator]) -> Generator:
    """The one that is the most likely bottleneck."""
    return max(generators, key=lambda one: (one.saturated, one.saturated_share, one.cpu_mean or 0.0))


def assess(ticks: Sequence[Tick], begin: float, end: float, core: int | None) -> Generator:
    """How busy the generator was between two moments on the monotonic clock."""
    spans = [
        (after.clock - before.clock, after.cpu - before.cpu, after.wait - before.wait)
        for before, after in pairwise(ticks)
        if before.clock >= begin and after.clock <= end
    ]
    total = sum(seconds for seconds, _, _ in spans)
    if not total:
        return Generator(core, None, None, None, 0.0)
    saturated = [seconds for seconds, cpu, wait in spans if cpu + wait > SATURATED * seconds]
    return Generator(
        core=core,
        cpu_mean=sum(cpu for _, cpu, _ in spans) / total,
        cpu_peak=max(cpu / seconds for seconds, cpu, _ in spans),
        wait_mean=sum(wait for _, _, wait in spans) / total,
        saturated_share=sum(saturated) / total,
    )


def look(process: psutil.Process) -> Tick | None:
    """What a process and all its children used and waited for so far; None once it has ended."""
    try:
        family = (process, *process.children(recursive=True))
        times = [one.cpu_times() for one in family]
        wait = sum(_wait(one.pid) for one in family)
    except psutil.Error:
        return None
    return Tick(time.monotonic(), sum(used.user + used.system for used in times), wait)


def _wait(pid: int) -> float:
    """How long a process's main thread, the one that Locust runs in, waited for a core, in seconds.

    The second number of ``/proc/<pid>/schedstat`` (Linux, Documentation/scheduler/sched-stats.rst). Some
    sandboxes and kernels do not keep it: then use alone decides.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def choose_core(wanted: int | None) -> int | None:
    """The core to pin the generator to: the wanted one, else the last if there are two, else none.

    Raises:
        ConfigurationError: The wanted core is not among those that this process may use.
    """
    cores = sorted(os.sched_getaffinity(0))
    if wanted is None:
        return cores[-1] if len(cores) > 1 else None
    if wanted not in cores:
        raise ConfigurationError(
            f"The generator cannot be pinned to core {wanted}: expected one of {', '.join(map(str, cores))}; "
            "correct or leave out 'core'."
        )
    return wanted
