# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The traces of a test cluster on the machine, found without the cluster's own record.

Processes are identified by the token in their environment or by their cgroup, other traces by their names and
paths. This module only reads.
"""

from pathlib import Path

from tools.cluster import cgroups, mounts, network, process
from tools.cluster.layout import Layout

Trace = tuple[str, str]
"""The kind of a trace, and its name."""

_SHARED_FOLDERS = (Path("/run/netns"), Path("/run/containerd"))
"""Folders in which the cluster's runtime and other programs have mounts."""


def find_traces(layout: Layout) -> list[Trace]:
    """Return the traces with the cluster's names; after the cluster's end there must be none."""
    found: list[Trace] = []
    marker = f"{process.TOKEN_VARIABLE}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
            name = (folder / "comm").read_text().strip()
        except OSError:
            continue  # it has ended since the listing, or is a kernel thread
        if any(word.startswith(marker) for word in environ.split(b"\0")):
            found.append(("process", f"{folder.name} ({name})"))
    found += [("process", f"{pid} (in a pod)") for pid in sorted(cgroups.processes())]
    found += _mounts_inside(layout.state)
    if network.exists():
        found.append(("network namespace", network.NAMESPACE))
    found += [("control group", str(group)) for group in cgroups.existing()]
    if layout.state.exists():
        found.append(("folder", str(layout.state)))
    return found


def find_shared_mounts() -> list[Trace]:
    """Return all mounts in folders that the cluster's runtime shares with other programs."""
    return [mount for folder in _SHARED_FOLDERS for mount in _mounts_inside(folder)]


def _mounts_inside(folder: Path) -> list[Trace]:
    points = mounts.current_points_below(folder)
    return [("mount", str(point)) for point in points if point != folder.resolve()]
