# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The running cluster for tests: its addresses, its component versions, and the operations on it.

Any process can attach to the cluster that `up` has started; this module starts none. Tests run inside the
node's network namespace, or wrap single commands in `enter`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import cache, containerd, network, network_policies, teardown
from .command import Runner
from .errors import ClusterError
from .images import ImageBuilder
from .kubectl import Kubectl
from .layout import Layout
from .optional_addons import OPTIONAL_ADDONS, Installer
from .process import TOKEN_VARIABLE, is_alive
from .progress import Progress
from .readiness import unfinished_rollouts
from .state import Record
from .store import S3Access, Store

ADDONS = (*OPTIONAL_ADDONS, network_policies.NAME)
"""The names of the add-ons that a running cluster can install."""


class Cluster:
    """The cluster of one user.

    Args:
        layout: The paths of its files.
        record: The record of its processes.
        progress: Reports each step; to standard error by default.
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
            ClusterError: If no cluster is up.
        """
        layout = Layout.from_environment(os.environ)
        record = Record.open(layout.record)
        if record is None or not record.state.ready:
            raise ClusterError("No cluster is up; start one with `python -m tools.cluster up`.")
        return cls(layout, record, progress)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its server is reachable only from inside the network namespace."""
        return self.layout.kubeconfig

    @property
    def s3(self) -> S3Access:
        """The object store's address and credentials."""
        return self._store.access

    @property
    def versions(self) -> dict[str, str]:
        """The version by component, for a summary."""
        return dict(self._record.state.versions)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for clients of the cluster."""
        path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.layout.bin}{os.pathsep}{path}",
            **self.s3.environment(),
        }

    @property
    def token_variable(self) -> dict[str, str]:
        """The environment variable by which `down` finds the processes that end with the cluster."""
        return {TOKEN_VARIABLE: self._record.state.token}

    def keep(self) -> None:
        """Record that the cluster stays up after a run of the scenarios, until `down`."""
        self._record.state.kept = True
        self._record.save()

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs a command inside the node's network namespace."""
        return network.in_namespace(argv)

    def gateway_address(self) -> str:
        """Return the Gateway's address, which pods and programs in the namespace reach on port 80."""
        gateway = self.kubectl.get("gateway/tidegate", "--namespace=tidegate-gateway")
        addresses: list[Mapping[str, Any]] = gateway.get("status", {}).get("addresses", [])
        if not addresses:
            raise ClusterError("The Gateway has no address yet.")
        return str(addresses[0]["value"])

    def build(self, dockerfile: Path, context: Path, name: str, *, target: str | None = None) -> str:
        """Build an image with buildah and return its id.

        Args:
            dockerfile: The file to build, unchanged.
            context: The folder that COPY reads from.
            name: The image's full name with a tag.
            target: The stage to stop at; the last one by default.
        """
        builder = ImageBuilder(self.layout, cache.runner(self.layout), self._progress)
        return builder.build(dockerfile, context, name, target=target)

    def load(self, image: str) -> None:
        """Import a built image under its full name, unless the cluster already has this image."""
        builder = ImageBuilder(self.layout, self._runner, self._progress)
        image_id = builder.image_id(image)
        loaded = self._record.state.loaded_images
        if loaded.get(image) == image_id:
            self._progress.log(f"{image} is already in the cluster")
            return
        archive = self.layout.state / "load.tar"
        with self._progress.step(f"load {image} into the cluster"):
            with cache.building(self.layout, self._progress):
                builder.export(image, archive)
            containerd.import_archive(self.layout, archive, self._runner)
            archive.unlink()
        loaded[image] = image_id
        self._record.save()

    def install(self, addon: str) -> None:
        """Install an add-on, and record its versions.

        Raises:
            ClusterError: If there is no such add-on, or if it does not become ready.
        """
        if addon == network_policies.NAME:
            versions = network_policies.install(self.layout, self._record, self._runner, self._progress)
        else:
            versions = Installer(self.layout, self.kubectl, self._runner, self._progress).install(addon)
        self._record.state.versions |= versions
        self._record.save()

    def stop_store(self) -> None:
        """Stop the object store; its data stays."""
        self._store.stop()

    def start_store(self) -> None:
        """Start the object store again, and wait until it responds."""
        self._store.start()

    def health(self) -> dict[str, str | None]:
        """Return by component the reason why it is not healthy; None if it is."""
        reasons: dict[str, str | None] = {}
        for process in self._record.state.processes:
            reasons[f"process {process.name}"] = None if is_alive(process) else "has ended"
        if self._record.process("store") is None:
            reasons["process store"] = "is stopped"
        else:
            reasons["object store"] = self._store.missing()
        try:
            items = self.kubectl.get("deployments", "--all-namespaces")["items"]
            for item in items:
                name = f"deployment {item['metadata']['namespace']}/{item['metadata']['name']}"
                reasons[name] = unfinished_rollouts([item])
        except ClusterError as error:
            reasons["API server"] = str(error).splitlines()[-1]
        return reasons

    def down(self) -> None:
        """Remove the cluster."""
        teardown.down(self.layout, self._progress)
