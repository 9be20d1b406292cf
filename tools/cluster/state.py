# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What a cluster has started and changed on the machine, written down before it can matter.

The record is what makes `down` work after a `kill -9` of `up`: it holds every process with its start time,
the kernel settings as they were, and a token that every process started here carries in its environment. It
decides nothing; teardown reads it.
"""

import fcntl
import json
import os
import secrets
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .errors import ClusterError


@dataclass(frozen=True)
class StartedProcess:
    """A process of ours. The start time tells it from a later one that was given the same id."""

    name: str
    pid: int
    start_ticks: int


@dataclass
class State:
    """One cluster's record.

    Args:
        boot_id: the machine's boot; after a reboot nothing recorded here runs.
        token: in the environment of every process that was started.
        processes: in the order in which they were started.
        kernel_settings: what the kubelet changes for the whole machine, as it was.
        made_folders: folders outside the state folder that did not exist before.
        netns_folder_was_mounted: whether the machine had used `ip netns` before.
        prepared: whether namespace and control groups of our names, if there are any, are this cluster's; a
            new record says so once it has been seen that there are none.
        versions: of what runs, for a summary.
        loaded_images: image name to the id that containerd has been given.
        ready: whether `up` came to its end.
        kept: whether somebody asked for it to stay; a run of the scenarios takes down what nobody keeps.
    """

    boot_id: str
    token: str
    access_key: str
    secret_key: str
    processes: list[StartedProcess] = field(default_factory=list)
    kernel_settings: dict[str, str] = field(default_factory=dict)
    made_folders: list[str] = field(default_factory=list)
    netns_folder_was_mounted: bool = True
    prepared: bool = True
    versions: dict[str, str] = field(default_factory=dict)
    loaded_images: dict[str, str] = field(default_factory=dict)
    ready: bool = False
    kept: bool = False

    @classmethod
    def fresh(cls) -> "State":
        """Start a record for this boot, with a token and credentials of its own."""
        return cls(
            boot_id=current_boot_id(),
            token=secrets.token_hex(16),
            access_key="tidegate-test",
            secret_key=secrets.token_hex(20),
            prepared=False,
        )

    @classmethod
    def from_json(cls, text: str) -> "State":
        """Read a record back.

        Raises:
            ClusterError: if it is not one of ours.
        """
        try:
            raw = json.loads(text)
            raw["processes"] = [StartedProcess(**process) for process in raw["processes"]]
            return cls(**raw)
        except (ValueError, TypeError, KeyError) as error:
            raise ClusterError(f"The cluster's record cannot be read ({error}).") from error

    def to_json(self) -> str:
        """Write the record as text."""
        return json.dumps(asdict(self), indent=2)


class Record:
    """The state file. Every change is on disk before the call returns."""

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.state = state

    @classmethod
    def open(cls, path: Path) -> "Record | None":
        """Read the record of the cluster that is there, if one is."""
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        return cls(path, State.from_json(text))

    @classmethod
    def create(cls, path: Path) -> "Record":
        """Begin the record of a new cluster."""
        record = cls(path, State.fresh())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        record.save()
        return record

    def save(self) -> None:
        """Put the record on disk in one step, so that a reader never sees half of it."""
        with self._lock:
            partial = self._path.with_suffix(".partial")
            partial.touch(mode=0o600)
            partial.write_text(self.state.to_json())
            partial.replace(self._path)

    def add(self, process: StartedProcess) -> None:
        """Remember a process, before it is let loose."""
        self.state.processes.append(process)
        self.save()

    def forget(self, name: str) -> None:
        """Drop a process that has been stopped for good."""
        self.state.processes = [process for process in self.state.processes if process.name != name]
        self.save()

    def process(self, name: str) -> StartedProcess | None:
        """Find a process by the name it was started under."""
        return next((process for process in self.state.processes if process.name == name), None)


def current_boot_id() -> str:
    """Tell this boot of the machine from any other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextmanager
def locked(path: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when the holder dies, however it dies.

    The file says who holds it, for the sentence that another one gets.

    Raises:
        ClusterError: if it is held by another and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:  # opening must not wipe out who holds it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another command"
            raise ClusterError(
                f"{what[0].upper()}{what[1:]} is in use by {holder}: wait until that has ended ({path})."
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} (`{shlex.join(sys.orig_argv)[:200]}`), since {_now()}\n")
        handle.flush()
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
