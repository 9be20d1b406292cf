# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The parent cgroup of the cluster's pods, which has the same name in every hierarchy.

All processes below that cgroup belong to this cluster's pods and may be killed: `up` starts only if no cgroup
of that name exists, and `down` reads in the record whether this cluster created it. Works with cgroup v1 and
v2.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from .process import send_signal

NAME = "tidegate"


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy."""

    mount_point: Path
    controllers: frozenset[str]


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Return the hierarchies that pods need, from the text of /proc/self/mountinfo.

    A v2 hierarchy next to v1 hierarchies counts too: it has no controllers, but runc creates cgroups in it.
    """
    mounted: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = Path(left.split()[4])
        kind, _, options = right.split()[:3]
        if kind == "cgroup":
            mounted.append(Hierarchy(mount_point, frozenset(options.split(","))))
        elif kind == "cgroup2":
            mounted.append(Hierarchy(mount_point, frozenset()))
    return mounted


def mounted() -> list[Hierarchy]:
    """Return this machine's hierarchies."""
    return hierarchies(Path("/proc/self/mountinfo").read_text())


def existing() -> list[Path]:
    """Return the existing cgroups of the cluster's name, including those of other users."""
    return [folder for hierarchy in mounted() if (folder := hierarchy.mount_point / NAME).exists()]


def create() -> None:
    """Create the cluster's cgroup in every hierarchy; without it the kubelet does not start."""
    for hierarchy in mounted():
        folder = hierarchy.mount_point / NAME
        folder.mkdir(exist_ok=True)
        if "cpuset" in hierarchy.controllers:
            # In v1 a new cpuset is empty, and no process can run in an empty one.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (folder / setting).write_text((hierarchy.mount_point / setting).read_text())


def processes() -> set[int]:
    """Return the ids of all processes in the cluster's pods."""
    pids: set[int] = set()
    for hierarchy in mounted():
        for folder in folders(hierarchy.mount_point / NAME):
            try:
                pids.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
            except OSError:
                continue  # the cgroup has been removed since the listing
    return pids


def folders(top: Path) -> list[Path]:
    """Return a folder and the folders below it, outer before inner; an empty list if it does not exist.

    Unlike a glob, it skips folders that are removed meanwhile, as the cgroups of ending pods are.
    """
    return [Path(folder) for folder, _, _ in os.walk(top)]


def kill_all(timeout_seconds: float = 30.0) -> set[int]:
    """Kill all processes in the pods, and return the ids of those that survived."""
    deadline = time.monotonic() + timeout_seconds
    while (remaining := processes()) and time.monotonic() < deadline:
        for pid in remaining:
            send_signal(pid, SIGKILL)
        time.sleep(0.1)
    return remaining


def remove() -> list[Path]:
    """Remove the cluster's cgroups, innermost first, and return those that could not be removed."""
    remaining = []
    for hierarchy in mounted():
        top = hierarchy.mount_point / NAME
        for folder in reversed(folders(top)):
            if not _remove_one(folder):
                remaining.append(folder)
    return remaining


def _remove_one(folder: Path, timeout_seconds: float = 30.0) -> bool:
    """Remove one cgroup, which the kernel allows only some time after the last process has ended."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True
