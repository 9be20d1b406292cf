# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that the cluster needs, and their installation.

Only missing packages are installed, by apt-get and without recommended packages. No package is upgraded.
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


def missing(required: tuple[str, ...], statuses: str) -> list[str]:
    r"""Return the required packages that are not installed, from dpkg-query's lines of `NAME STATUS`.

    >>> missing(("runc", "nftables"), "runc installed\nnftables config-files\n")
    ['nftables']
    """
    installed = {name for name, _, status in (line.partition(" ") for line in statuses.splitlines())
                 if status == "installed"}  # fmt: skip
    return [name for name in required if name not in installed]


def unsupported() -> str | None:
    """Return why this machine or user cannot have the test cluster; None if they can."""
    if os.geteuid() != 0:
        return "The test cluster needs root, because it creates namespaces, mounts and cgroups."
    if shutil.which("dpkg-query") is None:
        return "The test cluster needs Debian's packages, but dpkg-query was not found: use a Debian machine."
    return None


def ensure(progress: Progress, required: tuple[str, ...] = PACKAGES) -> None:
    """Install the missing packages of those that are required.

    Raises:
        ClusterError: If the machine does not run Debian, or the user is not root.
    """
    if reason := unsupported():
        raise ClusterError(reason)
    # Without a token, so that `down` never kills it: a killed package manager leaves a broken system.
    runner = Runner()
    statuses = runner.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    packages = missing(required, statuses)
    if not packages:
        return
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    apt_get = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    with progress.step(f"install Debian packages: {' '.join(packages)}"):
        runner.run([*apt_get, "update"], env=environment)
        runner.run([*apt_get, "install", "--yes", "--no-install-recommends", *packages], env=environment)
