# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The server: KServe's model server with truthful endpoints, uvloop, one drain for REST and gRPC.

It overrides only what KServe's class offers in public: ``start``, ``setup_event_loop`` and
``register_signal_handler``. One process serves one predictor; pods are how it scales.
"""

import asyncio
import math
import socket
import warnings
from collections.abc import Callable
from typing import Any

import uvloop
from starlette.exceptions import HTTPException

from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import ModelServer, app
from tidegate_serving.config import DRAIN_SECONDS, SHUTDOWN_TIMEOUT
from tidegate_serving.drain import Drain, DrainingServer
from tidegate_serving.grpc.servicer import GrpcServer
from tidegate_serving.http.endpoints import refuse_http, routes
from tidegate_serving.http.fastpath import FastPath
from tidegate_serving.predictor import Predictor


class Server(ModelServer):
    """Serves one predictor over REST and gRPC until it is told to stop.

    Args:
        host: The address to listen on.
        http_port: REST's port; 0 takes a free one.
        grpc_port: gRPC's port; 0 takes a free one.
        drain_seconds: How long to go on answering after SIGTERM.
        shutdown_timeout: How long what is in flight may take after that.
        on_ready: Called with the two ports when both are listening.

    Raises:
        ConfigurationError: A port is taken.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        http_port: int = 8080,
        grpc_port: int = 8081,
        drain_seconds: float = DRAIN_SECONDS,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        on_ready: Callable[[int, int], None] = lambda http_port, grpc_port: None,
    ) -> None:
        # gRPC binds its own socket, and only once the loop runs: this asks beforehand whether it can.
        _listen(host, grpc_port, "--grpc-port").close()
        self._listener = _listen(host, http_port, "--http-port")
        http_port = self._listener.getsockname()[1]
        super().__init__(
            http_port=http_port,
            grpc_port=grpc_port,
            workers=1,
            enable_grpc=False,  # KServe's own; ours is started beside it
            enable_latency_logging=False,
            event_loop="uvloop",
            grace_period=math.ceil(shutdown_timeout),  # uvicorn takes whole seconds
        )
        self._host = host
        self._on_ready = on_ready
        self._drain = Drain(drain_seconds)
        self._request_seconds = shutdown_timeout
        self._predictor: Predictor | None = None

    def start(self, models: list[Predictor]) -> None:
        """Serve a loaded predictor until stopped.

        Raises:
            ConfigurationError: There is not exactly one predictor, or gRPC's port is taken.
        """
        if len(models) != 1:
            raise ConfigurationError(f"A server serves one predictor: expected one, received {len(models)}.")
        # KServe's own endpoints use a response class that FastAPI has deprecated.
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
        self._predictor = models[0]
        # KServe's description of itself would be wrong of the endpoints that are replaced here.
        kept = [route for route in app.router.routes if getattr(route, "path", "") != app.openapi_url]
        app.router.routes[:] = [*routes(self._predictor), *kept]
        app.add_exception_handler(HTTPException, refuse_http)
        super().start(models)

    def setup_event_loop(self) -> None:
        """Put uvloop and the draining servers in place. KServe calls it last before the loop runs."""
        assert self._predictor is not None
        # Here and not earlier: KServe's start() asks for a loop before, which uvloop's policy refuses.
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        # The application has nothing to do at start and stop, and a forced stop would trip over waiting.
        self._rest_server.config.lifespan = "off"
        self._rest_server.config.http = FastPath(self._predictor).protocol
        rest = DrainingServer(self._rest_server.config, self._listener, self._drain)
        self._rest_server._server = rest
        grpc = GrpcServer(self._predictor, (self._host, self.grpc_port), self._drain, self._request_seconds)
        self.servers += [grpc.serve(), self._drain.watch(), self._announce(rest, grpc)]

    def register_signal_handler(self) -> None:
        """Leave signals to the drain."""

    async def _announce(self, rest: DrainingServer, grpc: GrpcServer) -> None:
        handler: Any = self.default_exception_handler
        asyncio.get_running_loop().set_exception_handler(handler)
        await rest.listening.wait()
        await grpc.listening.wait()
        self._on_ready(self.http_port, grpc.port)


def _listen(host: str, port: int, option: str) -> socket.socket:
    """A socket bound before anything is loaded, so that a taken port is told at once and in a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"The port {port} of {host} cannot be used: {error.strerror}; choose another with {option}."
        ) from None
    return listener
