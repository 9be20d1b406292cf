# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The keys and certificates of one cluster, from authorities of its own.

The openssl command creates them with P-256 keys, readable by root only. They expire after 30 days without
renewal, because a test cluster does not run that long.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from . import network
from .command import Runner

AUTHORITIES = ("ca", "front-proxy-ca", "webhook-ca")
WEBHOOK_HOST = "kserve-webhook-server-service.kserve.svc"

# The machine's openssl.cnf would add extensions.
_CONFIGURATION = "[req]\ndistinguished_name = subject\n[subject]\n"


@dataclass(frozen=True)
class Leaf:
    """A certificate that an authority signs.

    Args:
        name: The file name without its suffix.
        common_name: The common name; for Kubernetes, the user.
        organization: The organization; for Kubernetes, the group.
        alternatives: The subject alternative names in openssl's syntax; none for a client certificate.
        authority: The name of the signing authority.
    """

    name: str
    common_name: str
    organization: str = ""
    alternatives: tuple[str, ...] = ()
    authority: str = "ca"

    @property
    def subject(self) -> str:
        """The subject in openssl's syntax."""
        return (f"/O={self.organization}" if self.organization else "") + f"/CN={self.common_name}"


LEAVES = (
    Leaf(
        "apiserver",
        "kube-apiserver",
        alternatives=(
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            "DNS:kubernetes.default.svc.cluster.local",
            "DNS:localhost",
            "IP:127.0.0.1",
            f"IP:{network.API_SERVICE_ADDRESS}",
            f"IP:{network.NODE_ADDRESS}",
        ),
    ),
    Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Leaf("admin", "tidegate-admin", "system:masters"),
    Leaf("controller-manager", "system:kube-controller-manager"),
    Leaf("scheduler", "system:kube-scheduler"),
    Leaf("kube-proxy", "system:kube-proxy"),
    Leaf("kubelet", f"system:node:{network.NODE_NAME}", "system:nodes"),
    Leaf("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
    Leaf(
        "webhook",
        WEBHOOK_HOST,
        alternatives=(f"DNS:{WEBHOOK_HOST}", f"DNS:{WEBHOOK_HOST}.cluster.local"),
        authority="webhook-ca",
    ),
)


def request_command(folder: Path, name: str, subject: str, extensions: list[str]) -> list[str]:
    """Return the command that creates a key and a self-signed certificate.

    Args:
        folder: The folder of both files.
        name: The file name without its suffix.
        subject: The subject in openssl's syntax.
        extensions: X.509 extensions in openssl's syntax.
    """
    command = ["openssl", "req", "-x509", "-config", str(folder / "openssl.cnf"), "-noenc", "-days", "30"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]
    command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    for extension in extensions:
        command += ["-addext", extension]
    return command


def authority_command(folder: Path, name: str) -> list[str]:
    """Return the command that creates an authority."""
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign"]
    return request_command(folder, name, f"/CN=tidegate-{name}", extensions)


def leaf_command(folder: Path, leaf: Leaf) -> list[str]:
    """Return the command that creates a certificate signed by its authority."""
    purpose = "serverAuth" if leaf.alternatives else "clientAuth"
    extensions = ["basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={purpose}"]
    if leaf.alternatives:
        extensions.append(f"subjectAltName={','.join(leaf.alternatives)}")
    signing = ["-CA", str(folder / f"{leaf.authority}.crt"), "-CAkey", str(folder / f"{leaf.authority}.key")]
    return [*request_command(folder, leaf.name, leaf.subject, extensions), *signing]


def create(folder: Path, runner: Runner) -> None:
    """Create all keys and certificates of a cluster."""
    folder.mkdir(parents=True, mode=0o700)
    (folder / "openssl.cnf").write_text(_CONFIGURATION)
    for name in AUTHORITIES:
        runner.run(authority_command(folder, name))
    for leaf in LEAVES:
        runner.run(leaf_command(folder, leaf))
    key, public = folder / "service-account.key", folder / "service-account.pub"
    runner.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])
    runner.run(["openssl", "ec", "-in", key, "-pubout", "-out", public])


def kubeconfig(folder: Path, user: str) -> dict[str, object]:
    """Return a user's kubeconfig, with all certificates inline so that the file can be copied."""

    def encoded(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    server = {
        "server": f"https://{network.NODE_ADDRESS}:6443",
        "certificate-authority-data": encoded("ca.crt"),
    }
    identity = {
        "client-certificate-data": encoded(f"{user}.crt"),
        "client-key-data": encoded(f"{user}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tidegate", "cluster": server}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": "tidegate", "context": {"cluster": "tidegate", "user": user}}],
        "current-context": "tidegate",
    }
