# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What runs in the cluster besides the tests' own pods: DNS, metrics, the Gateway and KServe.

Each is installed from its publisher's own manifest or chart, which came with its Go module; the files in
manifests/ say what differs. Installing is one thing and being ready another: `*_missing` says what is still
lacking.
"""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Template

from . import kserve, network, readiness
from .command import Runner
from .kubectl import Kubectl
from .layout import Layout
from .progress import Progress
from .toolchain import Toolchain

MANIFESTS = Path(__file__).parent / "manifests"
ROUTES = "httproutes.gateway.networking.k8s.io"


def fill(name: str, values: Mapping[str, str]) -> str:
    """Read a manifest and fill in its `${NAME}`s; one without a value is an error."""
    return Template((MANIFESTS / name).read_text()).substitute(values)


class Addons:
    """Installs into one cluster.

    Args:
        layout: where the certificates are.
        tools: what carries the manifests and charts.
        references: an image's short name to its full name.
        kubectl: how to speak to the cluster.
        runner: runs helm.
        progress: who is told.
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
        """Make the namespaces that several add-ons share, and DNS."""
        self._kubectl.apply(fill("namespaces.yaml", {}))
        values = {"COREDNS_IMAGE": self._references["coredns"], "DNS_ADDRESS": network.DNS_ADDRESS}
        self._kubectl.apply(fill("coredns.yaml", values))

    def install_metrics(self) -> None:
        """Install metrics-server by its chart."""
        repository, _, tag = self._references["metrics-server"].rpartition(":")
        values = fill(
            "metrics-server-values.yaml",
            {"METRICS_SERVER_REPOSITORY": repository, "METRICS_SERVER_TAG": tag},
        )
        chart = self._tools.carried("metrics-server-chart")
        self._helm_install("metrics-server", "kube-system", chart, values)

    def install_gateway(self) -> None:
        """Install Envoy Gateway by its chart, and a Gateway for the tests."""
        # The published chart's values are a template; the two names in it are overridden anyway.
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
        """Install KServe's controller with its webhooks, once the route kind that it watches is there."""
        own = self._layout.certificates
        manifests = kserve.prepare(
            self._tools.carried("kserve.yaml").read_text(),
            image=self._references["kserve-controller"],
            authority=(own / "webhook-ca.crt").read_bytes(),
        )
        self._kubectl.apply(manifests.definitions)
        secret = kserve.webhook_secret((own / "webhook.crt").read_bytes(), (own / "webhook.key").read_bytes())
        self._kubectl.apply(secret)
        # The controller ends when a kind that it watches is not served. Envoy Gateway brings the routes.
        probe = partial(self._kinds_missing, [*manifests.kinds, ROUTES])
        self._progress.wait("what KServe watches", probe, timeout=120, interval=1)
        self._kubectl.apply(manifests.controller)
        self._kubectl.apply(manifests.defaults)

    def _kinds_missing(self, names: Sequence[str]) -> str | None:
        definitions = self._kubectl.get("crd", *names)["items"]
        return readiness.kinds(definitions)

    def _helm_install(self, release: str, namespace: str, chart: Path, values: str) -> None:
        folder = self._layout.state / "helm"
        helm = [str(self._layout.bin / "helm"), f"--kubeconfig={self._layout.kubeconfig}"]
        options = [f"--namespace={namespace}", "--timeout=3m", "--values=-"]
        with self._progress.step(f"install chart {chart.name} as {release}"):
            self._runner.run(
                network.inside([*helm, "install", release, str(chart), *options]),
                stdin=values,
                env={
                    "HELM_CACHE_HOME": str(folder / "cache"),
                    "HELM_CONFIG_HOME": str(folder / "config"),
                    "HELM_DATA_HOME": str(folder / "data"),
                },
            )

    def deployments_missing(self) -> str | None:
        """Tell which Deployments are not up yet."""
        return readiness.deployments(self._kubectl.get("deployments", "--all-namespaces")["items"])

    def gateway_missing(self) -> str | None:
        """Tell what the Gateway lacks to carry traffic."""
        gateway = self._kubectl.get("gateway/tidegate", "--namespace=tidegate-gateway")
        return readiness.condition(gateway, "Programmed")

    def kserve_missing(self) -> str | None:
        """Ask KServe's webhooks themselves, through the API server."""
        self._kubectl.run("create", "--dry-run=server", "-f", str(MANIFESTS / "webhook-question.yaml"))
        return None

    def metrics_missing(self) -> str | None:
        """Tell whether the autoscaler would get an answer."""
        self._kubectl.run("top", "node", "--no-headers")
        return None
