# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' API server with etcd on this machine, without nodes and controllers.

It validates and stores objects as in a cluster, and rejects a change of an immutable field. A kind that it
lacks is defined without a schema.
"""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import free_port
from tools.cluster.command import Runner, last_lines
from tools.cluster.errors import ClusterError
from tools.cluster.progress import Progress

START_SECONDS = 60
_TOKEN = "upgrade"


class ApiServer:
    """A running API server.

    Args:
        kubectl: The command kubectl.
        kubeconfig: The kubeconfig of its administrator.
    """

    def __init__(self, kubectl: Path, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its standard output."""
        return Runner().run([self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def define(self, kinds: Iterable[tuple[str, str]]) -> None:
        """Define the kinds that the server lacks, each given by its API version and its name."""
        rows = map(str.split, self.kubectl("api-resources", "--no-headers").splitlines())
        served = {(row[-3], row[-1]) for row in rows}
        missing = [definition(version, kind) for version, kind in sorted(set(kinds) - served)]
        if missing:
            self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(missing))
            self.kubectl("wait", "--for=condition=established", "--timeout=30s", "crd", "--all")


def definition(api_version: str, kind: str) -> dict[str, Any]:
    """Return the definition of a namespaced kind that accepts any object.

    >>> definition("example.com/v1", "TrafficPolicy")["metadata"]["name"]
    'trafficpolicies.example.com'
    """
    group, version = api_version.split("/")
    singular = kind.lower()
    plural = f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Kubernetes reserves groups below k8s.io, such as that of the Gateway API.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
            ],
        },
    }


@contextmanager
def run_api_server(binaries: Path, folder: Path, progress: Progress) -> Iterator[ApiServer]:
    """Run an API server for the time of a `with` block.

    Args:
        binaries: The folder of etcd, kube-apiserver and kubectl.
        folder: A folder for its files.
        progress: Reports the wait.

    Raises:
        ClusterError: If it does not become ready.
    """
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url, peer_url = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    key = folder / "service-account.key"
    Runner().run(["openssl", "genrsa", "-out", key, "2048"])
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{_TOKEN},admin,admin,system:masters\n")
    etcd = [
        *(binaries / "etcd", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync"),
        *(f"--listen-client-urls={etcd_url}", f"--advertise-client-urls={etcd_url}"),
        *(f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}"),
        f"--initial-cluster=default={peer_url}",
    ]
    api_server = [
        *(binaries / "kube-apiserver", f"--etcd-servers={etcd_url}", "--authorization-mode=RBAC"),
        *("--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={folder / 'certificates'}"),
        *(f"--token-auth-file={tokens}", "--service-cluster-ip-range=10.96.0.0/16"),
        *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
        "--service-account-issuer=https://kubernetes.default.svc",
        # No controller creates the accounts' tokens, or the accounts of new namespaces.
        "--disable-admission-plugins=ServiceAccount",
    ]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(administrator(f"https://127.0.0.1:{port}")))
    with ExitStack() as processes:
        logs = [processes.enter_context(_process(argv, folder)) for argv in (etcd, api_server)]
        server = ApiServer(binaries / "kubectl", kubeconfig)
        _wait_until_ready(server, logs[-1], progress)
        yield server


def administrator(url: str) -> dict[str, Any]:
    """Return the kubeconfig of the administrator."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }


@contextmanager
def _process(argv: Sequence[str | Path], folder: Path) -> Iterator[Path]:
    """Run a program for the time of a `with` block, and yield the path of its log."""
    log = folder / f"{Path(argv[0]).name}.log"
    with log.open("w") as output, subprocess.Popen(argv, stdout=output, stderr=output) as process:
        try:
            yield log
        finally:
            process.kill()


def _wait_until_ready(server: ApiServer, log: Path, progress: Progress) -> None:
    def missing() -> str | None:
        server.kubectl("get", "--raw=/readyz")
        return None

    try:
        progress.wait("the API server", missing, timeout=START_SECONDS)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{last_lines(log.read_text())}") from error
