# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import socket
from typing import Any

import grpc
import pytest

from tests.support.stub_service import make_predictor
from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import pb
from tidegate_serving.drain import Drain
from tidegate_serving.grpc.server import GrpcServer, server_options
from tidegate_serving.grpc.servicer import SERVICE


def test_server_options_allow_twice_the_limit() -> None:
    assert dict(server_options(1_000, 0, 5))["grpc.max_receive_message_length"] == 2_000


def test_server_options_end_connections_within_the_drain() -> None:
    options = dict(server_options(1_000, 10, 15))
    jitter = 1.1
    assert options["grpc.max_connection_age_ms"] * jitter < 10_000
    assert options["grpc.max_connection_age_grace_ms"] == 15_000


def test_server_options_without_a_drain_keep_connections() -> None:
    assert not [name for name, _ in server_options(1_000, 0, 5) if "connection_age" in name]


def test_serve_until_the_drain_is_finished() -> None:
    predictor: Any = make_predictor()

    async def main() -> None:
        drain = Drain(0)
        server = GrpcServer(predictor, ("127.0.0.1", 0), drain, 0)
        serving = asyncio.create_task(server.serve())
        await server.listening.wait()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            ready = await channel.unary_unary(f"/{SERVICE}/ServerReady")(b"")
            assert pb.ServerReadyResponse.FromString(ready).ready
        drain.finished.set()
        await serving

    asyncio.run(asyncio.wait_for(main(), 60))
    predictor.service.close()


def test_serve_on_a_port_in_use_raises() -> None:
    predictor: Any = make_predictor()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = GrpcServer(predictor, ("127.0.0.1", port), Drain(0), 0)
        with pytest.raises(ConfigurationError, match=f"{port} of 127.0.0.1 .*--grpc-port"):
            asyncio.run(asyncio.wait_for(server.serve(), 60))
    predictor.service.close()
