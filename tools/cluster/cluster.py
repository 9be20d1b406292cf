# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A running cluster, as tests see it: where to reach it, what it runs, and what may be done to it.

It attaches to what `up` has started, from any process; it starts no cluster itself. Tests run inside the
node's network namespace, or wrap single commands in `enter`.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import cache, containerd, network, teardown
from .command import Runner
from .errors import ClusterError
from .images import ImageBuilder
from .kubectl import Kubectl
from .layout import Layout
from .process import TOKEN_VARIABLE, is_alive
from .progress import Progress
from .readiness import deployments
from .state import Record
from .store import S3Access, Store


class Cluster:
    """The cluster of one user.

    Args:
        layout: where its files are.
        record: what was started.
        progress: who is told what goes on; standard error by default.
    """

    def __init__(self, layout: Layout, record: Record, progress: Progress | None = None) -> None:
        self.layout = layout
        self._record = record
        self._progress = progress or Progress()
        self._runner = Runner(record.state.token)
        self._store = Store(layout, record, self._runner, self._progress)
        self.kubectl = Kubectl(layout.bin / "kubectl", layout, self._runner)

    @classmethod
    def current(cls, progress: Progress | None = None) -> "Cluster":
        """Attach to the cluster that is up.

        Raises:
            ClusterError: if none is.
        """
        layout = Layout.from_environment(os.environ)
        record = Record.open(layout.record)
        if record is None or not record.state.ready:
            raise ClusterError("No cluster is up; start one with `python -m tools.cluster up`.")
        return cls(layout, record, progress)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its server is reached from inside the namespace only."""
        return self.layout.kubeconfig

    @property
    def s3(self) -> S3Access:
        """How to reach the object store."""
        return self._store.access

    @property
    def versions(self) -> dict[str, str]:
        """What runs, for a summary."""
        return dict(self._record.state.versions)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that clients of the cluster read."""
        path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.layout.bin}{os.pathsep}{path}",
            **self.s3.environment(),
        }

    @property
    def mark(self) -> dict[str, str]:
        """The variable by which `down` knows what has to end with the cluster."""
        return {TOKEN_VARIABLE: self._record.state.token}

    def keep(self) -> None:
        """Note that it is to stay until somebody takes it down."""
        self._record.state.kept = True
        self._record.save()

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Turn a command into one that runs inside the node's network namespace."""
        return network.inside(argv)

    def namespace_exec(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the namespace, with its variables; the exit code is yours to judge."""
        return subprocess.run(
            self.enter(argv),
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            timeout=timeout,
            check=False,
        )

    def gateway_address(self) -> str:
        """Tell the Gateway's address, which pods and programs in the namespace reach on port 80."""
        gateway = self.kubectl.get("gateway/tidegate", "--namespace=tidegate-gateway")
        addresses: list[Mapping[str, Any]] = gateway.get("status", {}).get("addresses", [])
        if not addresses:
            raise ClusterError("The Gateway has no address yet.")
        return str(addresses[0]["value"])

    def build(self, dockerfile: Path, context: Path, name: str, *, target: str | None = None) -> str:
        """Build an image with buildah and return its id; see ImageBuilder.build."""
        builder = ImageBuilder(self.layout, cache.runner(self.layout), self._progress)
        return builder.build(dockerfile, context, name, target=target)

    def load(self, image: str) -> None:
        """Take a built image into the cluster under its full name, unless this very image is in already."""
        builder = ImageBuilder(self.layout, self._runner, self._progress)
        image_id = builder.image_id(image)
        loaded = self._record.state.loaded_images
        if loaded.get(image) == image_id:
            self._progress.say(f"{image} is in the cluster already")
            return
        archive = self.layout.state / "load.tar"
        with self._progress.step(f"load {image} into the cluster"):
            with cache.building(self.layout, self._progress):
                builder.export(image, archive)
            containerd.import_archive(self.layout, archive, self._runner)
            archive.unlink()
        loaded[image] = image_id
        self._record.save()

    def stop_store(self) -> None:
        """Take the object store away; its data stays."""
        self._store.stop()

    def start_store(self) -> None:
        """Bring the object store back, and wait until it answers."""
        self._store.start()

    def health(self) -> dict[str, str | None]:
        """Tell of each part what it lacks, or None where it lacks nothing."""
        parts: dict[str, str | None] = {}
        for process in self._record.state.processes:
            parts[f"process {process.name}"] = None if is_alive(process) else "has ended"
        if self._record.process("store") is None:
            parts["process store"] = "is stopped"
        else:
            parts["object store"] = self._store.missing()
        try:
            items = self.kubectl.get("deployments", "--all-namespaces")["items"]
            for item in items:
                name = f"deployment {item['metadata']['namespace']}/{item['metadata']['name']}"
                parts[name] = deployments([item])
        except ClusterError as error:
            parts["API server"] = str(error).splitlines()[-1]
        return parts

    def down(self) -> None:
        """Take the cluster down."""
        teardown.down(self.layout, self._progress)
