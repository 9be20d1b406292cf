# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The node's own containerd: its configuration, and how images get into it.

It shares nothing with a containerd that the machine may run: root, state, socket, runc's folder and the
pods' network namespaces all lie in the cluster's state folder. It never pulls: every image is imported from
an archive.
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
# Without CAP_SYS_RESOURCE a process may not lower its score, and runc dies trying.
restrict_oom_score_adj = true
# Then taking down the state folder's mounts takes down the pods' namespaces, and no other's.
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
    """Write containerd's configuration."""
    return _CONFIG.format(state=layout.state, socket=layout.containerd_socket, pause=pause_image)


def client(layout: Layout) -> list[str]:
    """Begin a `ctr` command that speaks to this containerd about Kubernetes' images."""
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io"]


def import_archive(layout: Layout, archive: Path, runner: Runner) -> None:
    """Take an OCI archive's image in, under the name that the archive gives it."""
    runner.run([*client(layout), "images", "import", str(archive)])


def image_names(layout: Layout, runner: Runner) -> set[str]:
    """List the names of the images that are in."""
    return set(runner.run([*client(layout), "images", "list", "--quiet"]).split())
