# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster's add-ons: DNS, metrics, the Gateway and KServe.

Each add-on is installed from its publisher's manifest or chart, copied from its Go module; the files in
manifests/ hold the differences. The `*_missing` methods return why an add-on is not ready, or None if it is.
"""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Template

from tidegate.kubernetes.pods import unmet_condition

from . import kserve, network, readiness
from .command import Runner
from .kubectl import Kubectl
from .layout import Layout
from .progress import Progress
from .toolchain import Toolchain

MANIFESTS = Path(__file__).parent / "manifests"
ROUTES = "httproutes.gateway.networking.k8s.io"


def fill(name: str, values: Mapping[str, str]) -> str:
    """Return a manifest with its `${NAME}` placeholders replaced.

    Raises:
        KeyError: If a placeholder has no value.
    """
    return Template((MANIFESTS / name).read_text()).substitute(values)


class Addons:
    """Installer of the add-ons of one cluster.

    Args:
        layout: The paths of the cluster.
        tools: The commands, with the manifests and charts of their modules.
        references: An image's full name by its short name.
        kubectl: The cluster's kubectl.
        runner: Runs helm.
        progress: Reports each step.
    """

    def __init__(
        self,
        layout: Layout,
        tools: Toolchain,
        references: Mapping[str, str],
        kubectl: Kubectl,
        runner: Runner,
        progress: Progress,
    ) -> None:
        self._layout = layout
        self._tools = tools
        self._references = references
        self._kubectl = kubectl
        self._runner = runner
        self._progress = progress

    def prepare(self) -> None:
        """Create the namespaces that several add-ons share, and DNS."""
        self._kubectl.apply(fill("namespaces.yaml", {}))
        values = {"COREDNS_IMAGE": self._references["coredns"], "DNS_ADDRESS": network.DNS_ADDRESS}
        self._kubectl.apply(fill("coredns.yaml", values))

    def install_metrics(self) -> None:
        """Install metrics-server from its chart."""
        repository, _, tag = self._references["metrics-server"].rpartition(":")
        values = fill(
            "metrics-server-values.yaml",
            {"METRICS_SERVER_REPOSITORY": repository, "METRICS_SERVER_TAG": tag},
        )
        chart = self._tools.carried("metrics-server-chart")
        self._helm_install("metrics-server", "kube-system", chart, values)

    def install_gateway(self) -> None:
        """Install Envoy Gateway from its chart, and a Gateway for the tests."""
        # The chart's default values are a template; the values below override both of its placeholders.
        chart = self._layout.state / "charts" / "gateway-helm"
        shutil.copytree(self._tools.carried("gateway-helm"), chart)
        template = Template((chart / "values.tmpl.yaml").read_text())
        image = self._references["envoy-gateway"]
        defaults = template.safe_substitute(GatewayImage=image, GatewayImagePullPolicy="Never")
        (chart / "values.yaml").write_text(defaults)
        images = {"ENVOY_GATEWAY_IMAGE": image, "ENVOY_IMAGE": self._references["envoy"]}
        values = fill("envoy-gateway-values.yaml", images)
        self._helm_install("envoy-gateway", "envoy-gateway-system", chart, values)
        self._kubectl.apply(fill("gateway.yaml", images))

    def install_kserve(self) -> None:
        """Install KServe's controller with its webhooks, after the kinds that it watches."""
        certificates = self._layout.certificates
        manifests = kserve.prepare(
            self._tools.carried("kserve.yaml").read_text(),
            image=self._references["kserve-controller"],
            authority=(certificates / "webhook-ca.crt").read_bytes(),
        )
        self._kubectl.apply(manifests.definitions)
        secret = kserve.webhook_secret(
            (certificates / "webhook.crt").read_bytes(), (certificates / "webhook.key").read_bytes()
        )
        self._kubectl.apply(secret)
        # The controller exits if a kind that it watches is not served. Envoy Gateway installs the routes.
        probe = partial(self._kinds_missing, [*manifests.kinds, ROUTES])
        self._progress.wait("the kinds that KServe watches", probe, timeout=120, interval=1)
        self._kubectl.apply(manifests.controller)
        self._kubectl.apply(manifests.defaults)

    def _kinds_missing(self, names: Sequence[str]) -> str | None:
        definitions = self._kubectl.get("crd", *names)["items"]
        return readiness.unserved_kinds(definitions)

    def _helm_install(self, release: str, namespace: str, chart: Path, values: str) -> None:
        folder = self._layout.state / "helm"
        helm = [str(self._layout.bin / "helm"), f"--kubeconfig={self._layout.kubeconfig}"]
        options = [f"--namespace={namespace}", "--timeout=3m", "--values=-"]
        with self._progress.step(f"install chart {chart.name} as {release}"):
            self._runner.run(
                network.in_namespace([*helm, "install", release, str(chart), *options]),
                stdin=values,
                env={
                    "HELM_CACHE_HOME": str(folder / "cache"),
                    "HELM_CONFIG_HOME": str(folder / "config"),
                    "HELM_DATA_HOME": str(folder / "data"),
                },
            )

    def deployments_missing(self) -> str | None:
        """Return the Deployments that are not rolled out, or None."""
        return readiness.unfinished_rollouts(self._kubectl.get("deployments", "--all-namespaces")["items"])

    def gateway_missing(self) -> str | None:
        """Return why the Gateway does not carry traffic, or None."""
        gateway = self._kubectl.get("gateway/tidegate", "--namespace=tidegate-gateway")
        return unmet_condition(gateway, "Programmed")

    def kserve_missing(self) -> str | None:
        """Create an object as a dry run through KServe's webhooks; an error means that they are not ready."""
        self._kubectl.run("create", "--dry-run=server", "-f", str(MANIFESTS / "webhook-probe.yaml"))
        return None

    def metrics_missing(self) -> str | None:
        """Read the metrics that the autoscaler needs; an error means that there are none yet."""
        self._kubectl.run("top", "node", "--no-headers")
        return None
