# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The node's own containerd: its configuration, and the import of images.

It shares nothing with another containerd on the machine: root, state, socket, runc's folder and the pods'
network namespaces all lie in the cluster's state folder. It never pulls; every image comes from an archive.
"""

from pathlib import Path

from .command import Runner
from .layout import Layout

_CONFIG = """\
version = 2
root = "{state}/containerd"
state = "{state}/containerd-run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{state}/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without CAP_SYS_RESOURCE a process may not lower its score, and runc fails.
restrict_oom_score_adj = true
# Unmounting the state folder's mounts then removes the pods' namespaces, and no other ones.
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{state}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{state}/runc"
"""


def configuration(layout: Layout, pause_image: str) -> str:
    """Return containerd's configuration as TOML."""
    return _CONFIG.format(state=layout.state, socket=layout.containerd_socket, pause=pause_image)


def client(layout: Layout) -> list[str]:
    """Return the start of a `ctr` command on this containerd's Kubernetes images."""
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io"]


def import_archive(layout: Layout, archive: Path, runner: Runner) -> None:
    """Import an OCI archive's image under its name in the archive.

    Args:
        layout: The path of containerd's socket.
        archive: The archive.
        runner: Runs the command.
    """
    runner.run([*client(layout), "images", "import", str(archive)])


def image_names(layout: Layout, runner: Runner) -> set[str]:
    """Return the names of the imported images."""
    return set(runner.run([*client(layout), "images", "list", "--quiet"]).split())
