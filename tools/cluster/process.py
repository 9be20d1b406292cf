# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Start, recognise and stop the processes of the node.

A process is started behind a gate: it waits until its id is in the record and only then becomes the
command, so a `kill -9` at any instant leaves no process that nobody knows of. Nothing here kills by name,
and an id is only killed while its start time is the recorded one.
"""

import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .state import Record, StartedProcess

TOKEN_VARIABLE = "TIDEGATE_CLUSTER_TOKEN"

# `read` fails at end of file: if the parent dies before it has written the record, the child just ends.
_GATE = 'read -r go && cd / && exec "$@" </dev/null'


def parse_stat(text: str) -> tuple[str, int]:
    """Read the state letter and the start time from the text of /proc/PID/stat.

    The command's name is in brackets and may hold anything, so count from the last bracket.

    >>> parse_stat("7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0")
    ('S', 4242)
    """
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def start_ticks(pid: int) -> int | None:
    """Tell when a process started, or None if it is gone (a zombie is gone)."""
    try:
        letter, ticks = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if letter in "ZX" else ticks


def is_alive(process: StartedProcess) -> bool:
    """Whether this very process still runs."""
    return start_ticks(process.pid) == process.start_ticks


def spawn(
    name: str, argv: Sequence[str], *, record: Record, log: Path, env: Mapping[str, str]
) -> StartedProcess:
    """Start a process in a session of its own, recorded before it runs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    gate_read, gate_write = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _GATE, "sh", *argv],
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
            raise ProcessLookupError(f"{name} ended before it began")
        process = StartedProcess(name, pid, ticks)
        record.add(process)
        os.write(gate_write, b"go\n")
    finally:
        os.close(gate_read)
        os.close(gate_write)
    return process


def stop(processes: Iterable[StartedProcess], grace: float) -> None:
    """Ask the processes to end, and kill those that have not after `grace` seconds."""
    remaining = [process for process in processes if is_alive(process)]
    for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
        for process in remaining:
            send(process.pid, sign)
        deadline = time.monotonic() + patience
        while remaining and time.monotonic() < deadline:
            for process in remaining:
                reap(process.pid)
            remaining = [process for process in remaining if is_alive(process)]
            time.sleep(0.05)


def send(pid: int, sign: signal.Signals) -> None:
    """Send a signal to a process that may just have ended."""
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return


def reap(pid: int) -> None:
    """Collect a dead child, so that no zombie stays; another's child is not ours to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def carrying(token: str) -> list[StartedProcess]:
    """Find every process with our token in its environment, whoever its parent is now."""
    needle = f"{TOKEN_VARIABLE}={token}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            environ = (folder / "environ").read_bytes().split(b"\0")
            name = (folder / "comm").read_text().strip()
        except OSError:
            continue  # it ended while we looked, or is a kernel thread
        ticks = start_ticks(pid)
        if needle in environ and ticks is not None and pid != os.getpid():
            found.append(StartedProcess(name, pid, ticks))
    return found
