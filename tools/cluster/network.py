# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The node's network namespace, which has no connection to the machine's network.

Its addresses therefore conflict with none of the machine's, and no load can leave it. Programs enter it by
nsenter, because `ip netns exec` would remount /sys and hide the cgroups from the kubelet.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from . import mounts
from .command import Runner

NAMESPACE = "tidegate"
NAMESPACE_FILE = Path("/run/netns") / NAMESPACE
NODE_NAME = "tidegate"
NODE_ADDRESS = "10.10.0.1"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
POD_RANGE = "10.244.0.0/24"


def in_namespace(argv: Sequence[str]) -> list[str]:
    """Return the command that runs a command in the node's network namespace."""
    nsenter = shutil.which("nsenter") or "/usr/bin/nsenter"
    return [nsenter, f"--net={NAMESPACE_FILE}", "--", *argv]


def set_up_commands() -> list[list[str]]:
    """Return the commands that create the namespace.

    A bridge has the node's address, because a kernel may lack the dummy device. The default route through it
    exists because the kernel routes a Service address before it translates it.
    """
    return [
        ["ip", "netns", "add", NAMESPACE],
        in_namespace(["ip", "link", "set", "lo", "up"]),
        in_namespace(["ip", "link", "add", "uplink", "type", "bridge"]),
        in_namespace(["ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "uplink"]),
        in_namespace(["ip", "link", "set", "uplink", "up"]),
        in_namespace(["ip", "route", "add", "default", "dev", "uplink"]),
        in_namespace(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]),
    ]


def set_up(runner: Runner) -> None:
    """Create the namespace."""
    for command in set_up_commands():
        runner.run(command)


def exists() -> bool:
    """Return whether the namespace exists."""
    return NAMESPACE_FILE.exists()


def remove(runner: Runner, *, folder_was_mounted: bool) -> None:
    """Remove the namespace, and the mount on /run/netns if the cluster's `ip netns add` created that."""
    if exists():
        runner.run(["ip", "netns", "delete", NAMESPACE])
    folder = NAMESPACE_FILE.parent
    if not folder_was_mounted and folder.is_dir() and not any(folder.iterdir()):
        if mounts.is_mount_point(folder):
            runner.run(["umount", folder])
        folder.rmdir()


def pod_network(state_folder: Path) -> dict[str, object]:
    """Return the CNI configuration of the pods' network: a bridge, and addresses from one range."""
    return {
        "cniVersion": "0.4.0",
        "name": NAMESPACE,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(state_folder / "cni-addresses"),
                },
            }
        ],
    }
