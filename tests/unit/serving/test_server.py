# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import socket
from typing import Any

import pytest

from tidegate.errors import ConfigurationError
from tidegate_serving import Server
from tidegate_serving.server import bind_socket


def free_server() -> Server:
    return Server("127.0.0.1", 0, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_bind_socket_port_zero_selects_a_free_port(host: str) -> None:
    with bind_socket(host, 0, "--http-port") as listener:
        assert listener.getsockname()[:1] == (host,)
        assert listener.getsockname()[1] > 0


def test_bind_socket_port_in_use_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            bind_socket("127.0.0.1", port, "--http-port")
    message = str(caught.value)
    assert f"{port} of 127.0.0.1" in message
    assert "Address already in use" in message
    assert "--http-port" in message


def test_server_grpc_port_in_use_is_reported_before_loading() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigurationError, match="--grpc-port"),
    ):
        Server("127.0.0.1", 0, taken.getsockname()[1])


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
