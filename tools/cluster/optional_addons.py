# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KEDA, and Prometheus with Alertmanager: add-ons, built and installed only where a scenario needs them.

An add-on is its publisher's own manifests under a kustomization of manifests/<name>/, and then the objects of
its new kinds in objects.yaml. It is installed into a running cluster; installing it again changes nothing.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate.kubernetes.pods import unmet_condition

from . import cache, containerd, system_images, toolchain
from .addons import MANIFESTS, fill
from .command import Runner
from .errors import ClusterError
from .images import ImageBuilder
from .kubectl import Kubectl
from .layout import Layout
from .progress import Progress
from .readiness import unfinished_rollouts, unserved_kinds
from .system_images import SystemImage
from .toolchain import Toolchain, ToolSet

OBJECTS = "objects.yaml"

PROMETHEUS = ToolSet(
    "prometheus", "github.com/prometheus/prometheus", "3 min", tags="remove_all_sd,enable_kubernetes_sd"
)
"""Prometheus and promtool, which tests the alerts without a cluster."""


@dataclass(frozen=True)
class OptionalAddon:
    """An add-on of the cluster.

    Args:
        name: Its name, which is also the folder of its manifests.
        tool_sets: The commands to build, with the publisher's manifests.
        images: The tool set and the command by image name.
        ready: The condition that a resource has once the add-on works, by resource.
        namespace: The namespace of its Deployments.
    """

    name: str
    tool_sets: tuple[ToolSet, ...]
    images: Mapping[str, tuple[str, str]]
    ready: Mapping[str, str]
    namespace: str

    def system_images(self, tools: Toolchain) -> list[SystemImage]:
        """Return the images to build."""
        return [
            system_images.one_command(tools, image, tool_set, command)
            for image, (tool_set, command) in self.images.items()
        ]


OPTIONAL_ADDONS = {
    addon.name: addon
    for addon in (
        OptionalAddon(
            "keda",
            (
                ToolSet(
                    "keda",
                    "github.com/kedacore/keda/v2",
                    "8 min",
                    renames={
                        "operator": "keda",
                        "adapter": "keda-adapter",
                        "webhooks": "keda-admission-webhooks",
                    },
                    link_flags="-X github.com/kedacore/keda/v2/version.Version={version}",
                    carries={"keda-config": "config"},
                ),
            ),
            {
                "keda-operator": ("keda", "keda"),
                "keda-metrics-apiserver": ("keda", "keda-adapter"),
                "keda-admission-webhooks": ("keda", "keda-admission-webhooks"),
            },
            ready={"apiservice/v1beta1.external.metrics.k8s.io": "Available"},
            namespace="keda",
        ),
        OptionalAddon(
            "prometheus",
            (
                PROMETHEUS,
                ToolSet(
                    "prometheus-operator",
                    "github.com/prometheus-operator/prometheus-operator",
                    "1 min",
                    renames={"operator": "prometheus-operator"},
                    carries={"prometheus-operator.yaml": "bundle.yaml"},
                ),
                # The modules of newer versions lack the files of the web page, which the command embeds.
                ToolSet("alertmanager", "github.com/prometheus/alertmanager", "1 min"),
                ToolSet(
                    "kube-state-metrics",
                    "k8s.io/kube-state-metrics/v2",
                    "2 min",
                    carries={"kube-state-metrics": "examples/standard"},
                ),
            ),
            {
                "prometheus": ("prometheus", "prometheus"),
                "prometheus-operator": ("prometheus-operator", "prometheus-operator"),
                "prometheus-config-reloader": ("prometheus-operator", "prometheus-config-reloader"),
                "alertmanager": ("alertmanager", "alertmanager"),
                "kube-state-metrics": ("kube-state-metrics", "kube-state-metrics"),
            },
            ready={"prometheus/prometheus": "Available", "alertmanager/alertmanager": "Available"},
            namespace="monitoring",
        ),
    )
}


class Installer:
    """Installer of optional add-ons in a running cluster.

    Args:
        layout: The paths of cache and cluster.
        kubectl: The cluster's kubectl.
        runner: Runs the cluster's programs.
        progress: Reports each step.
    """

    def __init__(self, layout: Layout, kubectl: Kubectl, runner: Runner, progress: Progress) -> None:
        self._layout = layout
        self._kubectl = kubectl
        self._runner = runner
        self._progress = progress

    def install(self, name: str) -> dict[str, str]:
        """Build and install an add-on, and wait until it works.

        Returns:
            The version by tool set.

        Raises:
            ClusterError: If there is no such add-on, or if it does not become ready.
        """
        addon = OPTIONAL_ADDONS.get(name)
        if addon is None:
            raise ClusterError(f"No add-on is named {name!r}; choose from {', '.join(OPTIONAL_ADDONS)}.")
        builds = cache.runner(self._layout)
        tools = toolchain.ensure(self._layout, builds, self._progress, addon.tool_sets)
        images = addon.system_images(tools)
        builder = ImageBuilder(self._layout, builds, self._progress)
        archives = system_images.ensure(images, self._layout, builder, self._progress)
        with self._progress.step(f"install {name}"):
            for archive in archives.values():
                containerd.import_archive(self._layout, archive, self._runner)
            self._apply(addon, tools, placeholders(images))
        self._progress.wait(f"{name}'s Deployments", lambda: self._rollouts_missing(addon), timeout=240)
        self._progress.wait(name, lambda: self._condition_missing(addon), timeout=120)
        return tools.versions

    def _apply(self, addon: OptionalAddon, tools: Toolchain, values: Mapping[str, str]) -> None:
        folder = self._layout.state / "optional-addons" / addon.name
        shutil.rmtree(folder, ignore_errors=True)
        write_kustomization(addon, tools, values, folder)
        self._kubectl.apply(self._kubectl.run("kustomize", str(folder)))
        if (MANIFESTS / addon.name / OBJECTS).exists():
            self._progress.wait(f"the kinds of {addon.name}", self._kinds_missing, timeout=60)
            self._kubectl.apply(fill(f"{addon.name}/{OBJECTS}", values))

    def _kinds_missing(self) -> str | None:
        return unserved_kinds(self._kubectl.get("crd")["items"])

    def _rollouts_missing(self, addon: OptionalAddon) -> str | None:
        return unfinished_rollouts(
            self._kubectl.get("deployments", f"--namespace={addon.namespace}")["items"]
        )

    def _condition_missing(self, addon: OptionalAddon) -> str | None:
        for resource, condition in addon.ready.items():
            item = self._kubectl.get(resource, f"--namespace={addon.namespace}")
            if reason := unmet_condition(item, condition):
                return f"{resource}: {reason}"
        return None


def placeholders(images: list[SystemImage]) -> dict[str, str]:
    """Return the values of the manifests: each image's repository and tag."""
    values = {}
    for image in images:
        prefix = image.name.upper().replace("-", "_")
        values[f"{prefix}_REPOSITORY"], values[f"{prefix}_TAG"] = image.repository, image.tag
    return values


def write_kustomization(
    addon: OptionalAddon, tools: Toolchain, values: Mapping[str, str], folder: Path
) -> None:
    """Write the add-on's kustomization, next to a copy of its publisher's manifests.

    Args:
        addon: The add-on.
        tools: Its built commands, which carry the publisher's manifests.
        values: The placeholders' values.
        folder: The folder to create.
    """
    folder.mkdir(parents=True)
    for manifest in (MANIFESTS / addon.name).glob("*.yaml"):
        if manifest.name != OBJECTS:
            (folder / manifest.name).write_text(fill(f"{addon.name}/{manifest.name}", values))
    for tool_set in addon.tool_sets:
        for name in tool_set.carries:
            carried = tools.carried(name)
            if carried.is_dir():
                shutil.copytree(carried, folder / name)
            else:
                shutil.copyfile(carried, folder / name)
