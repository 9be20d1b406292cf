# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import errno
import os
import socket
from typing import Any

import pytest

from tests.support.ports import ipv6_is_available
from tidegate.errors import ConfigurationError
from tidegate_serving import Server
from tidegate_serving.config import ALL_ADDRESSES, Recording
from tidegate_serving.server import Address, bind_socket

NEEDS_IPV6 = pytest.mark.skipif(not ipv6_is_available(), reason="this machine has no IPv6")


def free_server() -> Server:
    return Server("127.0.0.1", 0, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=NEEDS_IPV6)])
def test_bind_socket_port_zero_selects_a_free_port(host: str) -> None:
    with bind_socket(host, 0, "--http-port") as listener:
        assert listener.getsockname()[:1] == (host,)
        assert listener.getsockname()[1] > 0


@NEEDS_IPV6
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_bind_socket_all_addresses_accepts_both_families(client: str) -> None:
    with bind_socket(ALL_ADDRESSES, 0, "--http-port") as listener:
        listener.listen()
        with socket.create_connection((client, listener.getsockname()[1])):
            connection, (peer, *_) = listener.accept()
            connection.close()
    assert peer.removeprefix("::ffff:") == client


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_bind_socket_without_ipv6_listens_on_ipv4(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ipv4Socket(socket.socket):
        def __init__(self, family: int, kind: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(number, os.strerror(number))
            super().__init__(family, kind)

    monkeypatch.setattr("tidegate_serving.server.socket.socket", Ipv4Socket)
    with bind_socket(ALL_ADDRESSES, 0, "--http-port") as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
    with pytest.raises(ConfigurationError, match=f"of ::1 is not available: {os.strerror(number)}"):
        bind_socket("::1", 0, "--http-port")


@NEEDS_IPV6
def test_bind_socket_port_in_use_on_ipv4_is_reported() -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as taken,
        pytest.raises(ConfigurationError, match="Address already in use"),
    ):
        bind_socket(ALL_ADDRESSES, taken.getsockname()[1], "--http-port")


def test_bind_socket_port_in_use_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            bind_socket("127.0.0.1", port, "--http-port")
    message = str(caught.value)
    assert f"{port} of 127.0.0.1" in message
    assert "Address already in use" in message
    assert "--http-port" in message


@pytest.mark.parametrize("option", ["grpc_port", "metrics_port", "shadow_http_port", "shadow_grpc_port"])
def test_server_port_in_use_is_reported_before_loading(option: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigurationError, match=f"--{option}".replace("_", "-")),
    ):
        Server(**{"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, option: taken.getsockname()[1]})


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ((8080, 8080, None), "--grpc-port: .* as for --http-port"),
        ((8080, 8081, 8080), "--metrics-port: .* as for --http-port"),
        ((8080, 8081, 8081), "--metrics-port: .* as for --grpc-port"),
        ((8080, 8081, 8085), "--pairs-port: .* as for --metrics-port"),
    ],
)
def test_server_equal_ports_are_rejected(ports: tuple[int, int, int | None], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Server("127.0.0.1", *ports, recording=Recording(pairs_sample_rate=0.1))


@pytest.mark.parametrize("option", ["shadow_http_port", "shadow_grpc_port"])
def test_server_ports_of_both_lanes_differ(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--{option.replace('_', '-')}: .* as for --grpc-port"):
        Server("127.0.0.1", **{option: 8081})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("::1", 80, 81, None), "http=[::1]:80 grpc=[::1]:81"),
        (Address("0.0.0.0", 80, 81, 9090), "http=0.0.0.0:80 grpc=0.0.0.0:81 metrics=0.0.0.0:9090"),
        (
            Address("::1", 80, 81, None, 82, 83, 85),
            "http=[::1]:80 grpc=[::1]:81 shadow-http=[::1]:82 shadow-grpc=[::1]:83 pairs=127.0.0.1:85",
        ),
    ],
)
def test_address_as_text_names_each_port(address: Address, text: str) -> None:
    assert str(address) == text


def test_server_port_zero_is_replaced_by_the_bound_port() -> None:
    server = free_server()
    assert server.http_port == server._listener.getsockname()[1] > 0
    server._listener.close()


@pytest.mark.parametrize("count", [0, 2])
def test_start_other_than_one_predictor_raises(count: int) -> None:
    server, models = free_server(), [None] * count
    anything: Any = models
    with pytest.raises(ConfigurationError, match=f"expected one predictor .*received {count}"):
        server.start(anything)
    server._listener.close()
