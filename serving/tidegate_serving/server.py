# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The server: KServe's model server on uvloop, with its own endpoints, and one drain for REST and gRPC.

It overrides only public methods of KServe's class: ``start``, ``setup_event_loop`` and
``register_signal_handler``. One process serves one predictor; a deployment scales by replicas.
"""

import asyncio
import math
import socket
import warnings
from collections.abc import Callable
from typing import Any

import uvloop

from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import ModelServer, app
from tidegate_serving.config import DRAIN_SECONDS, SHUTDOWN_TIMEOUT
from tidegate_serving.drain import Drain
from tidegate_serving.grpc.server import GrpcServer
from tidegate_serving.http import endpoints
from tidegate_serving.http.server import HttpServer, create_http_server
from tidegate_serving.predictor import Predictor


def _no_notification(http_port: int, grpc_port: int) -> None:
    """Ignore that the server is ready."""


class Server(ModelServer):
    """Serves one predictor over REST and gRPC until a signal stops it.

    Args:
        host: The address to listen on.
        http_port: The port of REST; 0 selects a free one.
        grpc_port: The port of gRPC; 0 selects a free one.
        drain_seconds: The time after SIGTERM in which the server still accepts requests.
        shutdown_timeout: The seconds that requests in flight have after the drain.
        on_ready: Called with both ports when the server listens on both.

    Raises:
        ConfigurationError: If a port is not available.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        http_port: int = 8080,
        grpc_port: int = 8081,
        drain_seconds: float = DRAIN_SECONDS,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        on_ready: Callable[[int, int], None] = _no_notification,
    ) -> None:
        # gRPC binds its own socket, after the model is loaded; this finds out early whether it can.
        bind_socket(host, grpc_port, "--grpc-port").close()
        self._listener = bind_socket(host, http_port, "--http-port")
        http_port = self._listener.getsockname()[1]
        super().__init__(
            http_port=http_port,
            grpc_port=grpc_port,
            workers=1,
            enable_grpc=False,  # KServe's own servicer; setup_event_loop starts GrpcServer
            enable_latency_logging=False,
            event_loop="uvloop",
            grace_period=math.ceil(shutdown_timeout),  # uvicorn takes whole seconds
        )
        self._host = host
        self._on_ready = on_ready
        self._drain = Drain(drain_seconds)
        self._shutdown_timeout = shutdown_timeout
        self._predictor: Predictor | None = None

    def start(self, models: list[Predictor]) -> None:
        """Serve a loaded predictor until a signal stops the server.

        Raises:
            ConfigurationError: If there is not exactly one predictor, or gRPC's port is not available.
        """
        if len(models) != 1:
            raise ConfigurationError(f"models: expected one predictor per server, received {len(models)}.")
        # KServe's own endpoints use a response class that FastAPI has deprecated.
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
        self._predictor = models[0]
        endpoints.install(app, self._predictor)
        super().start(models)

    def setup_event_loop(self) -> None:
        """Install uvloop and the draining servers. KServe calls this last before the event loop runs."""
        assert self._predictor is not None
        # Not earlier: KServe's start() gets the current event loop, and uvloop's policy does not create one.
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        http_server = create_http_server(
            self._rest_server.config, self._predictor, self._listener, self._drain
        )
        self._rest_server._server = http_server
        grpc_server = GrpcServer(
            self._predictor, (self._host, self.grpc_port), self._drain, self._shutdown_timeout
        )
        self.servers += [grpc_server.serve(), self._drain.run(), self._notify_ready(http_server, grpc_server)]

    def register_signal_handler(self) -> None:
        """Leave signals to the drain."""

    async def _notify_ready(self, http_server: HttpServer, grpc_server: GrpcServer) -> None:
        handler: Any = self.default_exception_handler
        asyncio.get_running_loop().set_exception_handler(handler)
        await http_server.listening.wait()
        await grpc_server.listening.wait()
        self._on_ready(self.http_port, grpc_server.port)


def bind_socket(host: str, port: int, option: str) -> socket.socket:
    """Bind a socket before the model is loaded, so that a port in use is reported at once.

    Args:
        host: The address; with a colon, it is IPv6.
        port: The port; 0 selects a free one.
        option: The option that chooses another port, for the message.

    Raises:
        ConfigurationError: If the port is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Port {port} of {host} is not available: {error.strerror}; choose another with {option}."
        ) from None
    return listener
