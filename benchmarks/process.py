# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Processes on a core each: servers that are started and ended, generators that run to their end.

What is started is ended by its id, whatever happens here; should this process itself be killed, the kernel
ends its children (``setpriv --pdeathsig``).
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import ConfigurationError, ServerError

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GRACE = 15.0
_FEWEST_CORES = 2

# One thread a library: more would only take turns on the one core that a server has.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is whose."""

    generator: int
    server: int

    @classmethod
    def choose(cls) -> "Cores":
        """Two of the cores that this process may use.

        Raises:
            ConfigurationError: There are fewer than two.
        """
        available = sorted(os.sched_getaffinity(0))
        if len(available) < _FEWEST_CORES:
            raise ConfigurationError(
                "Benchmarks need two cores, one for the server and one for the generator: this process may "
                f"use {len(available)}."
            )
        return cls(*available[:_FEWEST_CORES])


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server has used so far, with all its processes."""

    cpu_s: float
    rss_mb: float


def pinned(core: int, argv: Sequence[str | Path]) -> list[str]:
    """A command line that runs on one core and ends when this process does."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *map(str, argv)]


@dataclass(frozen=True, slots=True)
class Started:
    """A server's process and the session that its children share."""

    process: subprocess.Popen[bytes]
    log: Path

    def usage(self) -> Usage:
        """CPU and memory of the session's processes."""
        cpu, pages = 0, 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                seen = parse_stat(stat.read_text())
            except (OSError, ValueError):
                continue  # it ended while we looked
            if seen.session == self.process.pid:
                cpu += seen.ticks
                pages += seen.pages
        return Usage(cpu / _TICKS, pages * _PAGE / 1e6)

    def check(self) -> None:
        """Refuse to go on with a server that has ended.

        Raises:
            ServerError: It has, and its log says why.
        """
        if (code := self.process.poll()) is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            raise ServerError(f"it exited with {code}: {lines[-1] if lines else 'without a word'}")


@dataclass(frozen=True, slots=True)
class Stat:
    """What is of interest in /proc/<pid>/stat."""

    session: int
    ticks: int
    pages: int


def parse_stat(text: str) -> Stat:
    """Read session, CPU and resident memory from the text of /proc/<pid>/stat (proc(5)).

    CPU includes children that were waited for. The command's name is in brackets and may hold anything.

    >>> parse_stat("7 (a) b) S 1 7 5 0 -1 0 0 0 0 0 30 12 3 1 20 0 1 0 4242 9000 250 0")
    Stat(session=5, ticks=46, pages=250)
    """
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[3]), sum(map(int, fields[11:15])), int(fields[21]))


@contextmanager
def started(
    argv: Sequence[str | Path], core: int, environment: Mapping[str, str], log: Path, folder: Path
) -> Iterator[Started]:
    """Start a server on a core; it and its children are ended on leaving.

    Args:
        argv: Its command line.
        core: Where it runs.
        environment: What it is told beyond this process's own environment.
        log: The file that takes what it prints.
        folder: Where it runs.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(core, argv),
            cwd=folder,
            env={**os.environ, **_ONE_THREAD, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Started(process, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    finally:
        # Its session has its id; whatever of it is left would disturb the next measurement.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True, slots=True)
class Finished:
    """What a generator printed, and what it took."""

    output: str
    cpu_s: float
    wall_s: float

    @property
    def cpu_share(self) -> float:
        """The share of its core that it used."""
        return self.cpu_s / self.wall_s


def run(argv: Sequence[str | Path], core: int, patience: float) -> Finished:
    """Run a generator to its end.

    Raises:
        ServerError: It fails, or takes longer than ``patience`` seconds.
    """
    began = time.monotonic()
    name = Path(argv[0]).name
    with subprocess.Popen(
        pinned(core, argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        before = _children_cpu()
        try:
            output, errors = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{name} did not end within {patience:.0f} s") from None
        finally:
            process.kill()
    wall = time.monotonic() - began
    if process.returncode != 0:
        said = (errors or output).strip().splitlines()
        raise ServerError(
            f"{name} exited with {process.returncode}: {said[-1] if said else 'without a word'}"
        )
    return Finished(output, _children_cpu() - before, wall)


def _children_cpu() -> float:
    """Seconds of CPU of the children that have been waited for."""
    times = os.times()
    return times.children_user + times.children_system
