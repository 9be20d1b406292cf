# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates of one cluster, from authorities that live no longer than it does.

Made by the openssl command with P-256 keys, readable by root alone. Nothing is renewed: a test cluster does
not get old.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from . import network
from .command import Runner

AUTHORITIES = ("ca", "front-proxy-ca", "webhook-ca")
WEBHOOK_HOST = "kserve-webhook-server-service.kserve.svc"

# The machine's own openssl.cnf would add extensions of its own choice.
_CONFIGURATION = "[req]\ndistinguished_name = subject\n[subject]\n"


@dataclass(frozen=True)
class Leaf:
    """A certificate that an authority signs.

    Args:
        name: of the files.
        common_name: the user, where Kubernetes reads one.
        organization: the group, where Kubernetes reads one.
        alternatives: subject alternative names, as openssl writes them; none for a client.
        authority: who signs.
    """

    name: str
    common_name: str
    organization: str = ""
    alternatives: tuple[str, ...] = ()
    authority: str = "ca"

    @property
    def subject(self) -> str:
        """The subject, as openssl takes it."""
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
    """Begin the command that makes a key and a certificate for it."""
    command = ["openssl", "req", "-x509", "-config", str(folder / "openssl.cnf"), "-noenc", "-days", "30"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]
    command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    for extension in extensions:
        command += ["-addext", extension]
    return command


def authority_command(folder: Path, name: str) -> list[str]:
    """Say how to make an authority."""
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign"]
    return request_command(folder, name, f"/CN=tidegate-{name}", extensions)


def leaf_command(folder: Path, leaf: Leaf) -> list[str]:
    """Say how to make a certificate that an authority has signed."""
    purpose = "serverAuth" if leaf.alternatives else "clientAuth"
    extensions = ["basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={purpose}"]
    if leaf.alternatives:
        extensions.append(f"subjectAltName={','.join(leaf.alternatives)}")
    signed = ["-CA", str(folder / f"{leaf.authority}.crt"), "-CAkey", str(folder / f"{leaf.authority}.key")]
    return [*request_command(folder, leaf.name, leaf.subject, extensions), *signed]


def make(folder: Path, runner: Runner) -> None:
    """Make every key and certificate of a cluster."""
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
    """Describe how a user reaches the API server; everything is in the file, so that it may be copied."""

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
