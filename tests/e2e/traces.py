# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What a test cluster could leave on a machine, looked for without asking the cluster's own records.

Processes are known by the token in their environment or by the control group that they are in; the others by
their names and paths. It looks, and removes nothing.
"""

from pathlib import Path

from tools.cluster import cgroups, network, process
from tools.cluster.layout import Layout

Trace = tuple[str, str]
"""What it is, and which one."""


def traces(layout: Layout) -> list[Trace]:
    """List what has a cluster's names now; none of it may be there when no cluster is."""
    found: list[Trace] = []
    marker = f"{process.TOKEN_VARIABLE}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
            name = (folder / "comm").read_text().strip()
        except OSError:
            continue  # it ended while we looked, or is a kernel thread
        if any(word.startswith(marker) for word in environ.split(b"\0")):
            found.append(("process", f"{folder.name} ({name})"))
    found += [("process", f"{pid} (in a pod)") for pid in sorted(cgroups.processes())]
    found += [("mount", point) for point in mount_points(_mountinfo(), (f"{layout.state.resolve()}/",))]
    if network.exists():
        found.append(("network namespace", network.NAMESPACE))
    for hierarchy in cgroups.mounted():
        if (group := hierarchy.mount_point / cgroups.NAME).exists():
            found.append(("control group", str(group)))
    if layout.state.exists():
        found.append(("folder", str(layout.state)))
    return found


def mounts_of_anybody() -> list[Trace]:
    """List mounts where a cluster's runtime may leave some, and other programs have theirs."""
    return [("mount", point) for point in mount_points(_mountinfo(), ("/run/netns/", "/run/containerd/"))]


def mount_points(mountinfo: str, prefixes: tuple[str, ...]) -> list[str]:
    """Find the mounts whose paths begin so, in the text of /proc/self/mountinfo.

    >>> mount_points("1 2 0:3 / /s/x rw - tmpfs t rw\\n1 2 0:4 / /home rw - ext4 d rw\\n", ("/s/",))
    ['/s/x']
    """
    points = [line.split()[4] for line in mountinfo.splitlines()]
    return [point for point in points if point.startswith(prefixes)]


def _mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text()
