# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that the node is made of, and how they get here.

Only what is missing is installed, by apt-get and without recommended packages. It does not upgrade anything.
"""

import os
import shutil

from .command import Runner
from .errors import ClusterError
from .progress import Progress

PACKAGES = (
    "buildah",
    "busybox-static",  # the pause image
    "ca-certificates",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "debootstrap",
    "golang-github-containers-common",  # buildah's policy.json and short names
    "iproute2",
    "iptables",
    "nftables",
    "openssl",
    "runc",
    "util-linux",  # nsenter
)


def missing(wanted: tuple[str, ...], statuses: str) -> list[str]:
    r"""Tell which packages are not installed, from dpkg-query's lines of `NAME STATUS`.

    >>> missing(("runc", "nftables"), "runc installed\nnftables config-files\n")
    ['nftables']
    """
    installed = {name for name, _, status in (line.partition(" ") for line in statuses.splitlines())
                 if status == "installed"}  # fmt: skip
    return [name for name in wanted if name not in installed]


def ensure(progress: Progress) -> None:
    """Install what is missing.

    Raises:
        ClusterError: if this is no Debian, or not root.
    """
    if os.geteuid() != 0:
        raise ClusterError("The test cluster needs root: namespaces, mounts and cgroups are made.")
    if shutil.which("dpkg-query") is None:
        raise ClusterError("The test cluster is built from Debian's packages, and this is no Debian.")
    # Without a token: a package manager killed half-way leaves worse than one that comes to its end.
    runner = Runner()
    statuses = runner.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    wanted = missing(PACKAGES, statuses)
    if not wanted:
        return
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    with progress.step(f"install Debian packages: {' '.join(wanted)}"):
        runner.run([*patient, "update"], env=environment)
        runner.run([*patient, "install", "--yes", "--no-install-recommends", *wanted], env=environment)
