# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""TLS of the server's own listeners: handshakes over REST and gRPC, and certificates that are replaced."""

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.certificates import MountedSecret, create_pair
from tests.support.servers import GRPC_TRANSPORTS, LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.errors import ServerError
from tidegate.protocol.constants import Protocol
from tidegate.protocol.samples import sample_rows
from tidegate_serving.client import predict

MAX_BODY_BYTES = 100_000


@dataclass(frozen=True)
class TlsServer:
    """A server with TLS, and the Secret with its certificate."""

    live: LiveServer
    secret: MountedSecret

    @property
    def http(self) -> str:
        """The URL of REST."""
        return self.live.http.replace("http://", "https://")

    @property
    def grpc(self) -> str:
        """The address of gRPC."""
        return f"https://{self.live.grpc}"

    def certificates(self) -> list[bytes]:
        """Return the certificate that each listener has in a new handshake."""
        addresses = [urlsplit(url) for url in (self.http, self.grpc)]
        return [
            ssl.get_server_certificate((str(url.hostname), int(url.port or 0)), timeout=10).encode()
            for url in addresses
        ]


@pytest.fixture(scope="module", params=GRPC_TRANSPORTS)
def shared_server(
    request: pytest.FixtureRequest, numeric_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    secret = MountedSecret(folder / "secret")
    options = ["--ssl-certfile", str(secret.chain), "--ssl-keyfile", str(secret.key), "--metrics-port", "0"]
    options += ["--max-body-bytes", str(MAX_BODY_BYTES)]
    with serving(numeric_bundle, folder / "log", *options, transport=request.param) as live:
        yield TlsServer(live, secret)


@pytest.fixture
def server(shared_server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> TlsServer:
    """A server with a new certificate, which clients of this process trust."""
    shared_server.secret.replace(*create_pair())
    monkeypatch.setenv("SSL_CERT_FILE", str(shared_server.secret.chain))
    return shared_server


def test_tls_serves_all_protocols_and_rejects_other_clients(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, rows = server.live.name, sample_rows(server.live.bundle.contract, 3, seed=1)
    outputs = [
        predict(server.grpc if protocol is Protocol.GRPC else server.http, name, protocol, rows).outputs
        for protocol in (Protocol.V2, Protocol.V2_BINARY, Protocol.GRPC)
    ]
    assert outputs[0] == outputs[1] == outputs[2]
    v1 = predict(server.http, name, Protocol.V1, rows).outputs
    assert v1.items() <= outputs[0].items()
    assert "tidegate_model_info" in httpx.get(server.live.metrics, timeout=30).text

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{server.live.http}/v2/health/ready", timeout=30)  # without TLS
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ServerError, match="self-signed certificate"):
        predict(server.http, name, Protocol.V2, rows)


def test_tls_replaced_certificate_is_used_and_a_wrong_one_is_not(server: TlsServer) -> None:
    first = server.secret.chain.read_bytes()
    assert server.certificates() == [first, first]
    logged = len(server.live.log.read_text())

    chain, key = create_pair()
    server.secret.replace(chain, key)
    assert server.certificates() == [chain, chain]

    server.secret.replace(first, key)  # the key of another certificate
    assert server.certificates() == [chain, chain]
    warnings = re.findall(r"WARNING tidegate\.serving: (.*)", server.live.log.read_text()[logged:])
    assert ["has changed" in line for line in warnings] == [True, False]
    assert "stays in use" in warnings[1]


def test_tls_body_over_the_limit_gets_413(server: TlsServer) -> None:
    url = urlsplit(server.http)
    body = bytes(20 * MAX_BODY_BYTES)
    head = f"POST /v2/models/{server.live.name}/infer HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    context = ssl.create_default_context()
    with (
        socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(head.encode() + body)  # a client that reads only after it has written everything
        assert connection.recv(12) == b"HTTP/1.1 413"
