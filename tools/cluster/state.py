# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The record of a cluster's processes and of its changes to the machine, saved before each takes effect.

`down` works from the record, so it works after a `kill -9` of `up` as well. The record holds each process
with its start time, the previous kernel settings, and a token in the environment of each process. This module
decides nothing; :mod:`tools.cluster.teardown` reads the record.
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
    """A process of the cluster; the start time distinguishes it from a later process with the same id."""

    name: str
    pid: int
    start_ticks: int


@dataclass
class State:
    """One cluster's record.

    Args:
        boot_id: The machine's boot; after a reboot no recorded process runs.
        token: The token in the environment of each process.
        access_key: The object store's access key.
        secret_key: The object store's secret key.
        processes: The processes in the order of their starts.
        kernel_settings: The machine's settings before the kubelet changed them.
        made_folders: The folders outside the state folder that the cluster created.
        netns_folder_was_mounted: Whether the machine had used `ip netns` before.
        prepared: Whether existing namespaces and cgroups of the cluster's names belong to it. In a new record
            this becomes true once none of them exists.
        versions: The version by component, for a summary.
        loaded_images: The imported image's id by image name.
        ready: Whether `up` has completed.
        kept: Whether the cluster stays up after a run of the scenarios.
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
        """Return a new state for this boot, with a new token and new credentials."""
        return cls(
            boot_id=current_boot_id(),
            token=secrets.token_hex(16),
            access_key="tidegate-test",
            secret_key=secrets.token_hex(20),
            prepared=False,
        )

    @classmethod
    def from_json(cls, text: str) -> "State":
        """Parse a record.

        Raises:
            ClusterError: If the text is not a record.
        """
        try:
            raw = json.loads(text)
            raw["processes"] = [StartedProcess(**process) for process in raw["processes"]]
            return cls(**raw)
        except (ValueError, TypeError, KeyError) as error:
            raise ClusterError(f"The cluster's record cannot be read ({error}).") from error

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=2)


class Record:
    """The state file; each change is on disk before the call returns."""

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.state = state

    @classmethod
    def open(cls, path: Path) -> "Record | None":
        """Read the record; None if there is no cluster."""
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        return cls(path, State.from_json(text))

    @classmethod
    def create(cls, path: Path) -> "Record":
        """Create the record of a new cluster."""
        record = cls(path, State.fresh())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        record.save()
        return record

    def save(self) -> None:
        """Replace the file in one step, so that readers never see an incomplete record."""
        with self._lock:
            partial = self._path.with_suffix(".partial")
            partial.touch(mode=0o600)
            partial.write_text(self.state.to_json())
            partial.replace(self._path)

    def add(self, process: StartedProcess) -> None:
        """Record a process before it executes its command."""
        self.state.processes.append(process)
        self.save()

    def forget(self, name: str) -> None:
        """Remove a stopped process from the record."""
        self.state.processes = [process for process in self.state.processes if process.name != name]
        self.save()

    def process(self, name: str) -> StartedProcess | None:
        """Return the process that was started under a name; None if there is none."""
        return next((process for process in self.state.processes if process.name == name), None)


def current_boot_id() -> str:
    """Return the id of the machine's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextmanager
def locked(path: Path, resource: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file; the kernel releases it when the holding process ends, even after a `kill -9`.

    The file names its holder, for the error message of another process.

    Args:
        path: The lock file.
        resource: The locked resource, as a noun phrase for the error message.
        wait: Whether to wait for the current holder.

    Raises:
        ClusterError: If another process holds the lock and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:  # mode w would erase the current holder's entry
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another command"
            raise ClusterError(
                f"{resource[0].upper()}{resource[1:]} is in use by {holder}: "
                f"wait until that has ended ({path})."
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} (`{shlex.join(sys.orig_argv)[:200]}`), since {_now()}\n")
        handle.flush()
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
