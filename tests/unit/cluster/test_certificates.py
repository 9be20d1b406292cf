# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from tools.cluster import certificates


def test_client_certificate_names_user_and_group() -> None:
    [kubelet] = [leaf for leaf in certificates.LEAVES if leaf.name == "kubelet"]
    command = certificates.leaf_command(Path("/c"), kubelet)
    assert "/O=system:nodes/CN=system:node:tidegate" in command
    assert "extendedKeyUsage=clientAuth" in command
    assert not any("subjectAltName" in word for word in command)


def test_server_certificate_names_its_hosts() -> None:
    [webhook] = [leaf for leaf in certificates.LEAVES if leaf.name == "webhook"]
    command = certificates.leaf_command(Path("/c"), webhook)
    assert "extendedKeyUsage=serverAuth" in command
    assert any("DNS:kserve-webhook-server-service.kserve.svc" in word for word in command)
    assert "/c/webhook-ca.key" in command
