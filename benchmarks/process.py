# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Processes on one core each: servers that are started and stopped, generators that run to completion.

Every started process is ended by its id. If this process is killed, the kernel ends its children
(``setpriv --pdeathsig``).
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
from tools.procfs import ProcessStat

_TICKS = os.sysconf("SC_CLK_TCK")
CPU_RESOLUTION_SECONDS = 1 / _TICKS
"""The unit in which the kernel reports CPU time."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STOP_TIMEOUT_SECONDS = 15.0
_REQUIRED_CORES = 2

# One thread per library, because a server has one core.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""Python's bytecode is kept, as the images have it, also where the environment turns it off.

Without it, each start compiles every imported module, which takes several times the start itself.
"""


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the generator and of the server."""

    generator: int
    server: int

    @classmethod
    def choose(cls) -> "Cores":
        """Choose two of the cores that this process may use.

        Raises:
            ConfigurationError: If there are fewer than two.
        """
        available = sorted(os.sched_getaffinity(0))
        if len(available) < _REQUIRED_CORES:
            raise ConfigurationError(
                "CPU affinity: benchmarks need two cores, one for the server and one for the generator, and "
                f"this process may use {len(available)}; run them with more cores."
            )
        return cls(*available[:_REQUIRED_CORES])


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources that a server has used so far, with all its processes."""

    cpu_s: float
    rss_mb: float


def pinned(core: int, argv: Sequence[str | Path]) -> list[str]:
    """Build a command line that runs on one core and ends when this process ends."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *map(str, argv)]


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server's process, with all that it has started."""

    process: subprocess.Popen[bytes]
    log: Path

    def usage(self) -> Usage:
        """Sum CPU and memory of the server's processes, also of workers in sessions of their own."""
        running: dict[int, ProcessStat] = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, ValueError):  # the process ended meanwhile
                running[int(file.parent.name)] = ProcessStat.parse(file.read_text())
        own = found = {self.process.pid}
        while found:
            found = {pid for pid, stat in running.items() if own & {stat.parent, stat.session}} - own
            own |= found
        stats = [running[pid] for pid in own if pid in running]
        return Usage(
            sum(stat.cpu_ticks for stat in stats) / _TICKS,
            sum(stat.resident_pages for stat in stats) * _PAGE / 1e6,
        )

    def raise_if_exited(self) -> None:
        """Raise if the server has exited.

        Raises:
            ServerError: If it has; the message is the last line of its log.
        """
        if (code := self.process.poll()) is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            raise ServerError(f"it exited with {code}: {lines[-1] if lines else 'no output'}")


@contextmanager
def start_server(
    argv: Sequence[str | Path], core: int, environment: Mapping[str, str], log: Path, folder: Path
) -> Iterator[ServerProcess]:
    """Start a server on a core; end it and its children when the block ends.

    Args:
        argv: The command line.
        core: The core.
        environment: Variables in addition to this process's environment.
        log: The file for the server's output.
        folder: The working directory.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(core, argv),
            cwd=folder,
            env={**os.environ, **_ONE_THREAD, **WITH_BYTECODE, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield ServerProcess(process, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_SECONDS)
    finally:
        # The session has the process's id; its remaining processes would disturb the next measurement.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True, slots=True)
class GeneratorResult:
    """A generator's output and resources."""

    output: str
    cpu_s: float
    wall_s: float

    @property
    def cpu_utilization(self) -> float:
        """Used fraction of the generator's core, 0 to 1."""
        return self.cpu_s / self.wall_s


def run_generator(argv: Sequence[str | Path], core: int, timeout_seconds: float) -> GeneratorResult:
    """Run a generator to completion.

    Args:
        argv: The command line.
        core: The core.
        timeout_seconds: Limit of the duration.

    Raises:
        ServerError: If the generator fails, or exceeds the limit.
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
            output, errors = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{name} did not end within {timeout_seconds:.0f} s") from None
        finally:
            process.kill()
    wall = time.monotonic() - began
    if process.returncode != 0:
        lines = (errors or output).strip().splitlines()
        raise ServerError(f"{name} exited with {process.returncode}: {lines[-1] if lines else 'no output'}")
    return GeneratorResult(output, _children_cpu() - before, wall)


def _children_cpu() -> float:
    """Return the CPU seconds of children that have been waited for."""
    times = os.times()
    return times.children_user + times.children_system
