# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What the node changes outside its namespaces and its state folder, remembered so that it can be put back.

The kubelet sets a few kernel settings of the whole machine and a few paths are compiled into it, into
containerd's shim and into the CNI library. Those are listed here; nothing else on the machine is touched.
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

# Folders made by programs whose path for them cannot be configured; inner ones last.
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
    """Read the kernel settings as they are."""
    return {name: (Path("/proc/sys") / name).read_text().strip() for name in SETTINGS}


def restore_settings(saved: dict[str, str]) -> None:
    """Put back those that differ."""
    for name, value in saved.items():
        path = Path("/proc/sys") / name
        if path.read_text().strip() != value:
            path.write_text(value)


def missing_folders() -> list[str]:
    """List the fixed folders that are not there yet."""
    return [folder for folder in FIXED_FOLDERS if not Path(folder).exists()]


def shim_sockets(state: Path) -> list[Path]:
    """List the sockets of this cluster's shims; each shim writes its own beside its container."""
    found = []
    for address in (state / "containerd-run").glob("io.containerd.runtime.v2.task/k8s.io/*/address"):
        found.append(Path(address.read_text().strip().removeprefix("unix://")))
    return found


def remove_traces(state: Path, sockets: list[Path], made_folders: list[str]) -> None:
    """Remove our files from the fixed folders, then the folders that we made and that are empty now."""
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
