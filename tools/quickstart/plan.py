# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the quick start, as data.

A provider has the commands that differ: those of the cluster, the images and the object store. All others are
the same for each provider. This module runs nothing.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tidegate import __version__
from tools.cluster import network, node
from tools.cluster.store import REGION

KIND, BUILT = "kind", "built"
"""The names of the providers: kind, and the cluster of :mod:`tools.cluster`."""
MODEL = "breast-cancer"
KUBECONFIG = Path("out/quickstart/kubeconfig")
"""The kubeconfig of the cluster of kind. The user's own, and its current context, stay unchanged."""
REGISTRY = "registry.example.com/tidegate"
"""The images' registry. It does not exist: the images are loaded into the cluster."""
DIGEST = "<digest>"
"""The digest in a plan before the training."""

_PYTHON, _TIDEGATE = ".venv/bin/python", ".venv/bin/tidegate"
_KIND_CLUSTER = "tidegate-quickstart"
_CERT_MANAGER = "https://github.com/cert-manager/cert-manager/releases/download/v1.18.2/cert-manager.yaml"
_KSERVE = "oci://ghcr.io/kserve/charts"
_KSERVE_VERSION = "v0.20.0"
_STORE_SECRET = "object-store"
_LINE_LENGTH = 130
_CPU = "250m"
"""The CPU request of the training and of the server, so that two CPUs suffice for the whole cluster."""


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        purpose: The first words of a sentence about the command.
        argv: The command, in the repository's root.
        unless: A command that succeeds if the step is done already; empty for a step that is repeatable.
    """

    purpose: str
    argv: tuple[str, ...]
    unless: tuple[str, ...] = ()

    @classmethod
    def parse(cls, purpose: str, line: str, unless: str = "") -> Self:
        """Return the step of a command as a shell reads it.

        Args:
            purpose: The first words of a sentence about the command.
            line: The command.
            unless: A command that succeeds if the step is done already.
        """
        return cls(purpose, tuple(shlex.split(line)), tuple(shlex.split(unless)))

    @property
    def line(self) -> str:
        """The command for a shell."""
        return shlex.join(self.argv)


def format_steps(steps: Iterable[Step]) -> str:
    """Return the commands as a script for a shell, with each purpose as a comment."""
    return "\n".join(f"# {step.purpose}.\n{_wrap(step.line)}" for step in steps)


def _wrap(line: str) -> str:
    """Continue a long command on the next line before an option that sets a value."""
    lines: list[str] = []
    for part in line.split(" --set "):
        setting = f"--set {part}" if lines else part
        if lines and len(lines[-1]) + len(setting) < _LINE_LENGTH:
            lines[-1] += f" {setting}"
        else:
            lines.append(setting)
    return " \\\n  ".join(lines)


@dataclass(frozen=True)
class Provider:
    """A way to get a cluster.

    Args:
        name: Its name on the command line.
        cluster: Creates the cluster with KServe.
        build: The command that builds an image, with places for ``kind`` and ``image``.
        load: The command that loads an image, before its name.
        store: Makes the object store and its Secret.
        endpoint: The object store's address for pods.
        enter: The prefix of a command that talks to the cluster.
        environment: The variables of each command.
        undo: Removes the cluster.
    """

    name: str
    cluster: tuple[Step, ...]
    build: str
    load: str
    store: tuple[Step, ...]
    endpoint: str
    enter: str
    environment: Mapping[str, str]
    undo: Step

    def prepare(self) -> Iterator[Step]:
        """Yield the steps until the cluster has a trained model; the last one prints its reference."""
        yield from self.cluster
        for kind in ("serving", "training"):
            image = f"{REGISTRY}/{kind}:{__version__}"
            yield Step.parse(f"Build the image for {kind}", self.build.format(kind=kind, image=image))
            yield Step.parse(f"Load the image for {kind}", f"{self.load} {image}")
        yield from self.store
        submit = f"{_TIDEGATE} submit examples/{MODEL}/train.yaml --store s3://models --channel stable"
        yield self._step("Train the model in the cluster", f"{submit} {self._settings('training')}")

    def serve(self, digest: str) -> Iterator[Step]:
        """Yield the steps until the served model has responded.

        Args:
            digest: The digest of the trained bundle.
        """
        install = f"helm upgrade --install {MODEL} helm/tidegate"
        model = f"--set model.uri=s3://models/{MODEL} --set model.digest={shlex.quote(digest)}"
        yield self._step("Serve the model", f"{install} {model} {self._settings('serving')}")
        yield self._step("Wait until it is ready", f"{_TIDEGATE} status {MODEL} --wait")
        yield self._step("Test it with its golden requests", f"helm test {MODEL}")
        pod = f"kubectl exec deployment/{MODEL}-predictor --container kserve-container --"
        predict = f"tidegate predict --protocol v2 --url http://{MODEL}-predictor"
        yield self._step("Request predictions by V2", f"{pod} {predict} --golden /mnt/models/bundle")

    def all_steps(self, digest: str = DIGEST) -> list[Step]:
        """Return every step."""
        return [*self.prepare(), *self.serve(digest)]

    def command(self, line: str) -> str:
        """Return a command that talks to the cluster, for a shell."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join(filter(None, [*variables, self.enter, line]))

    def _step(self, purpose: str, line: str) -> Step:
        return Step.parse(purpose, f"{self.enter} {line}")

    def _settings(self, image: str) -> str:
        settings = (
            f"image.repository={REGISTRY}/{image}",
            f"resources.requests.cpu={_CPU}",
            f"objectStore.secretName={_STORE_SECRET}",
            f"objectStore.endpoint={self.endpoint}",
            f"objectStore.region={REGION}",
        )
        return " ".join(f"--set {setting}" for setting in settings)


_CLUSTER = f"{_PYTHON} -m tools.cluster"
_ENTER = f"{_CLUSTER} exec"
_SECRET = f"kubectl create secret generic {_STORE_SECRET}" + "".join(
    f' --from-literal={name}="${name}"' for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
)

PROVIDERS = {
    KIND: Provider(
        name=KIND,
        cluster=(
            Step.parse(
                "Create the cluster",
                f"kind create cluster --name {_KIND_CLUSTER}",
                unless=f"kind export kubeconfig --name {_KIND_CLUSTER}",
            ),
            Step.parse("Install cert-manager, which KServe needs", f"kubectl apply -f {_CERT_MANAGER}"),
            Step.parse(
                "Wait for cert-manager",
                "kubectl wait --for=condition=available --timeout=5m "
                "--namespace cert-manager deployment --all",
            ),
            Step.parse(
                "Install KServe's definitions",
                f"helm upgrade --install kserve-crd {_KSERVE}/kserve-crd --version {_KSERVE_VERSION} --wait",
            ),
            Step.parse(
                "Install KServe in Standard mode",
                f"helm upgrade --install kserve {_KSERVE}/kserve-resources "
                f"--version {_KSERVE_VERSION} --wait "
                "--namespace kserve --create-namespace --set kserve.controller.deploymentMode=Standard "
                "--set kserve.controller.gateway.disableIstioVirtualHost=true",
            ),
        ),
        build="docker build --file images/Dockerfile --target {kind} --tag {image} .",
        load=f"kind load docker-image --name {_KIND_CLUSTER}",
        store=(
            Step.parse("Start an S3 server for trials", "kubectl apply -k manifests/object-store"),
            Step.parse(
                "Wait for the S3 server", "kubectl rollout status deployment/object-store --timeout=5m"
            ),
        ),
        endpoint="http://object-store:7070",
        enter="",
        environment={"KUBECONFIG": str(KUBECONFIG)},
        undo=Step.parse("Remove the cluster", f"kind delete cluster --name {_KIND_CLUSTER}"),
    ),
    BUILT: Provider(
        name=BUILT,
        cluster=(Step.parse("Start the cluster with KServe", f"{_CLUSTER} up"),),
        build=f"{_CLUSTER} build images/Dockerfile --target {{kind}} --tag {{image}}",
        load=f"{_CLUSTER} load",
        store=(
            Step.parse(
                "Give the pods the object store's credentials",
                f"{_ENTER} sh -c {shlex.quote(_SECRET)}",
                unless=f"{_ENTER} kubectl get secret {_STORE_SECRET}",
            ),
        ),
        endpoint=f"http://{network.NODE_ADDRESS}:{node.STORE_PORT}",
        enter=_ENTER,
        environment={},
        undo=Step.parse("Remove the cluster", f"{_CLUSTER} down"),
    ),
}
"""The providers by name."""
