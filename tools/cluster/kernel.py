# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The node's changes to the machine outside its namespaces and its state folder, and their removal.

The kubelet changes a few kernel settings of the whole machine. The kubelet, containerd's shim and the CNI
library also have a few paths compiled in. This module lists them all; the node changes nothing else.
"""

from pathlib import Path

# `setupKernelTunables` in the kubelet's container manager.
SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)

# Folders whose paths are compiled into the programs that create them; inner folders last.
FIXED_FOLDERS = (
    "/run/containerd",
    "/run/containerd/s",
    "/var/lib/cni",
    "/var/lib/cni/results",
    "/var/lib/kubelet",
    "/var/lib/kubelet/device-plugins",
    "/var/log/containers",
)


def settings() -> dict[str, str]:
    """Return the current kernel settings."""
    return {name: (Path("/proc/sys") / name).read_text().strip() for name in SETTINGS}


def restore_settings(saved: dict[str, str]) -> None:
    """Restore the kernel settings that differ from the saved ones."""
    for name, value in saved.items():
        path = Path("/proc/sys") / name
        if path.read_text().strip() != value:
            path.write_text(value)


def missing_folders() -> list[str]:
    """Return the fixed folders that do not exist yet."""
    return [folder for folder in FIXED_FOLDERS if not Path(folder).exists()]


def shim_sockets(state: Path) -> list[Path]:
    """Return the sockets of this cluster's shims; each shim writes its address next to its container."""
    sockets = []
    for address in (state / "containerd-run").glob("io.containerd.runtime.v2.task/k8s.io/*/address"):
        sockets.append(Path(address.read_text().strip().removeprefix("unix://")))
    return sockets


def remove_traces(state: Path, sockets: list[Path], made_folders: list[str]) -> None:
    """Remove the cluster's files from the fixed folders, then the folders that are empty and that it created.

    Args:
        state: The state folder.
        sockets: The sockets of the shims, as :func:`shim_sockets` returned them while the node ran.
        made_folders: The fixed folders that the cluster created.
    """
    for socket in sockets:
        socket.unlink(missing_ok=True)
    for sandbox in (state / "containerd" / "io.containerd.grpc.v1.cri" / "sandboxes").glob("*"):
        for result in Path("/var/lib/cni/results").glob(f"*-{sandbox.name}-*"):
            result.unlink()
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(state):
            link.unlink()
    if "/var/lib/kubelet/device-plugins" in made_folders:
        for leftover in Path("/var/lib/kubelet/device-plugins").glob("*"):
            leftover.unlink()
    for folder in reversed(made_folders):
        path = Path(folder)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
