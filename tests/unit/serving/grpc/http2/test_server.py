# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import math
import select
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop

from tests.support.certificates import create_pair
from tests.support.grpc_calls import infer_request
from tests.support.stub_service import BlockingEngine, make_predictor
from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import pb
from tidegate_serving.config import GrpcTransport
from tidegate_serving.drain import Drain
from tidegate_serving.grpc.base import max_connection_age
from tidegate_serving.grpc.grpcio import GrpcioServer
from tidegate_serving.grpc.http2.server import Http2Server
from tidegate_serving.grpc.server import server_class
from tidegate_serving.grpc.servicer import MODEL_INFER, SERVICE
from tidegate_serving.listener import ACCEPTS_PER_ITERATION
from tidegate_serving.tls import CertificateFiles

Scenario = Callable[[Http2Server, Drain, Any], Awaitable[None]]


def run(
    scenario: Scenario,
    certificate: CertificateFiles | None = None,
    grace_seconds: float = 30,
    engine: Any = None,
    run_loop: Callable[..., Any] = asyncio.run,
) -> None:
    """Serve a stub during a scenario, which begins the end of the drain."""
    predictor: Any = make_predictor(engine)

    async def main() -> None:
        drain = Drain(0)
        server = Http2Server(predictor, ("127.0.0.1", 0), drain, grace_seconds, certificate=certificate)
        serving = asyncio.create_task(server.serve())
        await server.listening.wait()
        await scenario(server, drain, predictor)
        drain.finished.set()
        await serving

    run_loop(asyncio.wait_for(main(), 60))
    predictor.service.close()
    assert predictor.service.metrics.in_flight.count == 0


async def infer(channel: grpc.aio.Channel) -> Any:
    return pb.ModelInferResponse.FromString(await channel.unary_unary(MODEL_INFER)(infer_request(1, 2)))


def test_serve_calls_of_grpcs_own_client() -> None:
    async def scenario(server: Http2Server, _: Drain, predictor: Any) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            ready = await channel.unary_unary(f"/{SERVICE}/ServerReady")(b"")
            assert pb.ServerReadyResponse.FromString(ready).ready
            assert list((await infer(channel)).outputs[0].contents.int64_contents) == [2, 4]
        assert predictor.counts("tidegate_requests_total") == {("OK", "grpc"): 1}

    run(scenario)


def test_iteration_accepts_several_connections() -> None:
    async def scenario(server: Http2Server, _: Drain, predictor: Any) -> None:
        clients = [
            socket.create_connection(("127.0.0.1", server.port)) for _ in range(4 * ACCEPTS_PER_ITERATION)
        ]
        iterations = 0
        while len(select.select(clients, [], [], 0)[0]) < len(clients):  # each gets the server's settings
            await asyncio.sleep(0)
            iterations += 1
        for client in clients:
            client.close()
        assert predictor.service.batcher._accepted
        assert iterations < len(clients) / 2  # libuv accepts one connection per socket and iteration

    run(scenario, run_loop=uvloop.run)


def test_serve_calls_with_tls(tmp_path: Path) -> None:
    chain, key = create_pair()
    (tmp_path / "chain").write_bytes(chain)
    (tmp_path / "key").write_bytes(key)

    async def scenario(server: Http2Server, _: Drain, __: Any) -> None:
        credentials = grpc.ssl_channel_credentials(chain)
        async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
            assert (await infer(channel)).id == "7"

    run(scenario, CertificateFiles(tmp_path / "chain", tmp_path / "key"))


def test_end_of_the_drain_waits_for_calls_in_flight() -> None:
    engine = BlockingEngine()

    async def scenario(server: Http2Server, drain: Drain, _: Any) -> None:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        call = asyncio.ensure_future(infer(channel))
        await asyncio.to_thread(engine.started.wait, 20)
        drain.finished.set()
        await asyncio.sleep(0)
        engine.released.set()
        assert (await call).id == "7"
        await channel.close()

    run(scenario, engine=engine)


@pytest.mark.parametrize("forced", [False, True])
def test_end_of_the_drain_is_bounded(forced: bool) -> None:
    clients: list[socket.socket] = []

    async def scenario(server: Http2Server, drain: Drain, _: Any) -> None:
        clients.append(socket.create_connection(("127.0.0.1", server.port)))
        await asyncio.get_running_loop().run_in_executor(None, clients[0].recv, 1)  # it is accepted
        if forced:
            drain.forced.set()

    run(scenario, grace_seconds=600 if forced else 0)
    clients[0].close()


def test_serve_on_a_port_in_use_raises() -> None:
    predictor: Any = make_predictor()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Http2Server(predictor, ("127.0.0.1", port), Drain(0), 0)
        with pytest.raises(ConfigurationError, match=f"{port} of 127.0.0.1 .*--grpc-port"):
            asyncio.run(asyncio.wait_for(server.serve(), 60))
    predictor.service.close()


def test_connections_end_within_the_drain() -> None:
    assert max_connection_age(10) == 5
    assert max_connection_age(0) == math.inf


def test_server_class_is_that_of_the_transport() -> None:
    assert server_class(GrpcTransport.ASYNCIO) is Http2Server
    assert server_class(GrpcTransport.GRPCIO) is GrpcioServer
