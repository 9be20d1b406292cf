# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop

from tests.support.http_client import Response, read_response
from tests.support.stub_service import make_predictor
from tidegate_serving.drain import Drain
from tidegate_serving.http.fastpath import FastPathProtocol
from tidegate_serving.http.responses import CONNECTION_CLOSE
from tidegate_serving.http.server import HttpServer, create_http_server
from tidegate_serving.listener import ACCEPTS_PER_ITERATION

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def run(scenario: Callable[[HttpServer, Drain, Any], Awaitable[None]], drain_seconds: float = 600) -> None:
    """Serve the application until the scenario ends, and then stop by two signals."""

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        drain = Drain(drain_seconds)
        config = uvicorn.Config(application, lifespan="off", log_level="error")
        server = HttpServer(config, listener, drain)
        tasks = asyncio.gather(server.serve(), drain.run())
        await server.listening.wait()
        await scenario(server, drain, listener.getsockname())
        for _ in range(2):
            drain.handle_signal(signal.SIGTERM)
        await tasks

    uvloop.run(asyncio.wait_for(main(), 60))


async def get(address: tuple[str, int]) -> Response:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    response = await read_response(reader)
    writer.close()
    return response


def test_iteration_accepts_several_connections() -> None:
    clients = 4 * ACCEPTS_PER_ITERATION

    async def scenario(server: HttpServer, _: Drain, address: Any) -> None:
        connections = [socket.create_connection(address) for _ in range(clients)]
        iterations = 0
        while len(server.server_state.connections) < clients:
            await asyncio.sleep(0)
            iterations += 1
        for connection in connections:
            connection.close()
        assert iterations < clients / 2  # libuv accepts one connection per socket and iteration

    run(scenario)


def test_responses_during_the_drain_announce_the_close() -> None:
    async def scenario(_: HttpServer, drain: Drain, address: Any) -> None:
        assert not (await get(address)).closes
        drain.handle_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        assert (await get(address)).closes

    run(scenario)


def test_serve_listens_until_the_drain_is_finished() -> None:
    async def scenario(server: HttpServer, drain: Drain, address: Any) -> None:
        drain.finished.set()
        while True:
            try:
                await get(address)
            except ConnectionError:
                break
        assert server.should_exit is False  # the drain stopped it, and not a signal handler of uvicorn

    run(scenario)


def test_create_http_server_installs_the_fast_path() -> None:
    predictor: Any = make_predictor()

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(application, log_config=None)
            server = create_http_server(config, predictor, listener, Drain(0))
            config.load()
            create_protocol: Any = config.http_protocol_class
            protocol = create_protocol(config=config, server_state=server.server_state, app_state={})
            assert isinstance(protocol, FastPathProtocol)
            assert config.lifespan == "off"
            assert CONNECTION_CLOSE not in config.encoded_headers

    asyncio.run(main())
    predictor.service.close()
