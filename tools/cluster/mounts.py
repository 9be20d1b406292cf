# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Find and undo what is mounted below a folder.

The kernel's own table is the only source; what is mounted elsewhere is never touched.
"""

import re
from pathlib import Path

from .command import Runner
from .errors import ClusterError


def below(mountinfo: str, folder: Path) -> list[Path]:
    r"""List the mount points below a folder, the last mounted first.

    >>> below("1 0 0:1 / /a/b rw - ext4 d rw\n2 0 0:2 / /a/b/c\\040d rw - ext4 d rw\n", Path("/a"))
    [PosixPath('/a/b/c d'), PosixPath('/a/b')]
    """
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted at a path; unlike Path.is_mount it sees a bind of the same file system."""
    return path in below(_table(), path)


def _table() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def unmount_below(folder: Path, runner: Runner) -> list[Path]:
    """Unmount everything below a folder, and tell what could not be."""
    for point in now_below(folder):
        try:
            runner.run(["umount", point])
        except ClusterError:
            # Still busy, or hidden by another mount: let the kernel finish when the last user goes.
            runner.run(["umount", "--lazy", point])
    return now_below(folder)


def now_below(folder: Path) -> list[Path]:
    """List what is mounted below a folder now, the last mounted first."""
    return below(_table(), folder.resolve())
