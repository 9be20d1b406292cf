# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Contention: whether other processes or virtual machines kept the server of this machine from its CPUs.

Such a server looks slower than it is. The times come from Linux; elsewhere the contention is unknown and 0.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS = (0, 1, 2)
"""Fields of a CPU in /proc/stat: user, nice, system. Interrupts belong to the server's own network."""
_STEAL_FIELD = 7
_USED_FIELDS = (13, 14)
"""Fields of /proc/<pid>/stat from 0: utime, stime."""


@dataclass(frozen=True, slots=True)
class Contention:
    """Cumulative times in seconds."""

    waited: float = 0.0
    """Time in which a thread of the server could run and had no CPU."""
    used_by_others: float = 0.0
    """CPU time of other processes on the server's CPUs."""
    stolen: float = 0.0
    """Time in which the host ran other virtual machines while the server's CPUs had work, per CPU."""

    def starvation_since(self, before: "Contention", seconds: float) -> float:
        """Return the ratio of a time in which others kept the server from its CPUs.

        Of other processes it is the smaller of both ratios, because threads of the server also wait for each
        other, and other processes also use CPUs that the server leaves idle. The stolen time is added: the
        kernel counts none for an idle CPU, and a thread on a stolen one does not wait by its record.

        Args:
            before: The times at the start.
            seconds: The time since then.
        """
        waited, used = self.waited - before.waited, self.used_by_others - before.used_by_others
        stolen = self.stolen - before.stolen
        return min(1.0, (max(0.0, min(waited, used)) + stolen) / seconds)  # several threads can wait


def read_contention(pid: int, cpus: set[int], proc: Path = Path("/proc")) -> Contention:
    """Read the contention for the CPUs of a process.

    Args:
        pid: The process.
        cpus: The CPUs that it is pinned to.
        proc: The kernel's process information.
    """
    with suppress(OSError, IndexError, ValueError):
        waits = [(task / "schedstat").read_text().split()[1] for task in (proc / str(pid) / "task").iterdir()]
        # The name in the second field may contain spaces.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        used = sum(int(fields[index - 2]) for index in _USED_FIELDS)
        names = {f"cpu{cpu}" for cpu in cpus}
        lines = [line.split() for line in (proc / "stat").read_text().splitlines()]
        times = [list(map(int, line[1:])) for line in lines if line[0] in names]
        busy = sum(cpu[index] for cpu in times for index in _BUSY_FIELDS)
        stolen = sum(cpu[_STEAL_FIELD] for cpu in times) / len(cpus)
        return Contention(sum(map(int, waits)) / 1e9, (busy - used) * _TICK_SECONDS, stolen * _TICK_SECONDS)
    return Contention()
