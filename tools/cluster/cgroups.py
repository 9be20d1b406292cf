# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cgroups under which the cluster's pods run: one of our own name in every hierarchy.

Whatever runs under that name is a pod of this cluster, so it may be killed by looking there: `up` begins only
where there is no such group, and `down` asks the record whether it is ours. It works with version 1 and 2.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from .process import send

NAME = "tidegate"


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy."""

    mount_point: Path
    controllers: frozenset[str]


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Read the hierarchies that pods need from the text of /proc/self/mountinfo.

    A version 2 beside version 1 counts too: it carries no controllers, but runc uses it all the same.
    """
    found: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = Path(left.split()[4])
        kind, _, options = right.split()[:3]
        if kind == "cgroup":
            found.append(Hierarchy(mount_point, frozenset(options.split(","))))
        elif kind == "cgroup2":
            found.append(Hierarchy(mount_point, frozenset()))
    return found


def mounted() -> list[Hierarchy]:
    """Read this machine's hierarchies."""
    return hierarchies(Path("/proc/self/mountinfo").read_text())


def existing() -> list[Path]:
    """List the cgroups of our name that are there, whoever made them."""
    return [folder for one in mounted() if (folder := one.mount_point / NAME).exists()]


def make() -> None:
    """Make our cgroup everywhere; the kubelet refuses to start below one that is not there."""
    for hierarchy in mounted():
        folder = hierarchy.mount_point / NAME
        folder.mkdir(exist_ok=True)
        if "cpuset" in hierarchy.controllers:
            # Version 1 starts a new cpuset empty, and nothing can run in an empty one.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (folder / setting).write_text((hierarchy.mount_point / setting).read_text())


def processes() -> set[int]:
    """List the ids of all that runs in the cluster's pods."""
    found: set[int] = set()
    for hierarchy in mounted():
        for folder in folders(hierarchy.mount_point / NAME):
            try:
                found.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
            except OSError:
                continue  # the cgroup went away while we looked
    return found


def folders(top: Path) -> list[Path]:
    """List a folder and those below it, outer before inner; none, if it is not there.

    Unlike a glob it passes over what goes away meanwhile, as the cgroups of ending pods do.
    """
    return [Path(folder) for folder, _, _ in os.walk(top)]


def kill_all(timeout: float = 30.0) -> set[int]:
    """Kill what runs in the pods, and tell what outlived that."""
    deadline = time.monotonic() + timeout
    while (found := processes()) and time.monotonic() < deadline:
        for pid in found:
            send(pid, SIGKILL)
        time.sleep(0.1)
    return found


def remove() -> list[Path]:
    """Remove our cgroups, innermost first, and tell which could not be."""
    left = []
    for hierarchy in mounted():
        top = hierarchy.mount_point / NAME
        for folder in reversed(folders(top)):
            if not _remove_one(folder):
                left.append(folder)
    return left


def _remove_one(folder: Path, patience: float = 30.0) -> bool:
    """Remove one; the kernel needs a moment after the last process has died."""
    deadline = time.monotonic() + patience
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
