# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""List and unmount the mount points below a folder.

The kernel's table is the only source. This module never touches mount points outside that folder.
"""

import re
from pathlib import Path

from .command import Runner
from .errors import ClusterError


def points_below(mountinfo: str, folder: Path) -> list[Path]:
    r"""Return the mount points below a folder from the text of /proc/self/mountinfo, the last mounted first.

    >>> points_below("1 0 0:1 / /a/b rw - ext4 d rw\n2 0 0:2 / /a/b/c\\040d rw - ext4 d rw\n", Path("/a"))
    [PosixPath('/a/b/c d'), PosixPath('/a/b')]
    """
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def is_mount_point(path: Path) -> bool:
    """Return whether a path is a mount point; unlike Path.is_mount it detects bind mounts."""
    return path in points_below(_table(), path)


def _table() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def unmount_below(folder: Path, runner: Runner) -> list[Path]:
    """Unmount all mount points below a folder, and return those that remain."""
    for point in current_points_below(folder):
        try:
            runner.run(["umount", point])
        except ClusterError:
            # It is busy or hidden by another mount: the kernel detaches it once its last user has ended.
            runner.run(["umount", "--lazy", point])
    return current_points_below(folder)


def current_points_below(folder: Path) -> list[Path]:
    """Return the machine's mount points below a folder, the last mounted first."""
    return points_below(_table(), folder.resolve())
