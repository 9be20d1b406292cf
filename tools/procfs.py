# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fields of /proc/PID/stat that the tools need: parent, session, CPU time, start and resident memory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """A process's state, from proc_pid_stat(5).

    Args:
        state: The state letter, such as R, S or Z.
        parent: The id of the parent.
        session: The id of the session.
        cpu_ticks: User and system time in clock ticks, with that of children that were waited for.
        start_ticks: The start time in clock ticks since boot.
        resident_pages: The pages in memory.
    """

    state: str
    parent: int
    session: int
    cpu_ticks: int
    start_ticks: int
    resident_pages: int

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended; a zombie has."""
        return self.state not in "ZX"

    @classmethod
    def parse(cls, text: str) -> "ProcessStat":
        """Parse the text of /proc/PID/stat.

        The command's name stands in brackets and may itself contain brackets, so fields count from the last
        one.

        >>> ProcessStat.parse("7 (a) b) S 1 7 5 0 -1 0 0 0 0 0 30 12 3 1 20 0 1 0 4242 9000 250 0")
        ProcessStat(state='S', parent=1, session=5, cpu_ticks=46, start_ticks=4242, resident_pages=250)
        """
        fields = text.rpartition(")")[2].split()
        parent, session, start, pages = (int(fields[index]) for index in (1, 3, 19, 21))
        return cls(fields[0], parent, session, sum(map(int, fields[11:15])), start, pages)

    @classmethod
    def read(cls, pid: int) -> "ProcessStat | None":
        """Read a process's state; None if there is no such process."""
        try:
            return cls.parse(Path(f"/proc/{pid}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            return None
