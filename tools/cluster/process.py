# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Start, identify and stop the processes of the node.

A new process waits until its id is in the record, and only then executes its command. So a `kill -9` of `up`
at any instant leaves no unrecorded process. This module never kills by name, and it kills a process id only
while the id's start time equals the recorded one.
"""

import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools.procfs import ProcessStat

from .state import Record, StartedProcess

TOKEN_VARIABLE = "TIDEGATE_CLUSTER_TOKEN"

# `read` fails at end of file: if the parent dies before it has written the record, the child exits.
_WAIT_FOR_RECORD = 'read -r go && cd / && exec "$@" </dev/null'


def start_ticks(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot; None if it has ended, as a zombie has."""
    stat = ProcessStat.read(pid)
    return stat.start_ticks if stat is not None and stat.is_alive else None


def is_alive(process: StartedProcess) -> bool:
    """Return whether this process runs; another one with the same id does not count."""
    return start_ticks(process.pid) == process.start_ticks


def spawn(
    name: str, argv: Sequence[str], *, record: Record, log: Path, env: Mapping[str, str]
) -> StartedProcess:
    """Start a process in a session of its own, and record it before it runs its command.

    Args:
        name: The name in the record.
        argv: The command.
        record: The record to add the process to.
        log: The file for both output streams; it is appended to.
        env: The whole environment of the process, except the token.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    gate_read, gate_write = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _WAIT_FOR_RECORD, "sh", *argv],
            {**env, TOKEN_VARIABLE: record.state.token},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, gate_read, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        ticks = start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"{name} ended before it was recorded")
        process = StartedProcess(name, pid, ticks)
        record.add(process)
        os.write(gate_write, b"go\n")
    finally:
        os.close(gate_read)
        os.close(gate_write)
    return process


def stop(processes: Iterable[StartedProcess], grace: float) -> None:
    """Send SIGTERM to the processes, and SIGKILL to those that still run after `grace` seconds."""
    remaining = [process for process in processes if is_alive(process)]
    for number, timeout_seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
        for process in remaining:
            send_signal(process.pid, number)
        deadline = time.monotonic() + timeout_seconds
        while remaining and time.monotonic() < deadline:
            for process in remaining:
                reap(process.pid)
            remaining = [process for process in remaining if is_alive(process)]
            time.sleep(0.05)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def reap(pid: int) -> None:
    """Collect an ended child, so that no zombie stays; ignore the children of other processes."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def find_by_token(token: str) -> list[StartedProcess]:
    """Return every process with this token in its environment, regardless of its current parent."""
    needle = f"{TOKEN_VARIABLE}={token}".encode()
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            environ = (folder / "environ").read_bytes().split(b"\0")
            name = (folder / "comm").read_text().strip()
        except OSError:
            continue  # it has ended since the listing, or is a kernel thread
        ticks = start_ticks(pid)
        if needle in environ and ticks is not None and pid != os.getpid():
            processes.append(StartedProcess(name, pid, ticks))
    return processes
