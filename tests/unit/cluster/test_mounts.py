# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from tools.cluster import mounts

MOUNTINFO = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
50 1 0:50 / /state/kubelet/pods/a rw - tmpfs tmpfs rw
51 1 0:51 / /state/kubelet/pods/a/b\\040c rw - tmpfs tmpfs rw
52 1 0:52 / /state-of-another rw - tmpfs tmpfs rw
"""


def test_points_below_a_folder_come_innermost_first() -> None:
    assert mounts.points_below(MOUNTINFO, Path("/state")) == [
        Path("/state/kubelet/pods/a/b c"),
        Path("/state/kubelet/pods/a"),
    ]
