# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The server: KServe's model server on uvloop, with its own endpoints, and one drain for REST and gRPC.

It overrides only public methods of KServe's class: ``start``, ``setup_event_loop`` and
``register_signal_handler``. One process serves one predictor; a deployment scales by replicas.
"""

import asyncio
import errno
import math
import socket
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import uvloop

from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import ModelServer, app
from tidegate_serving.config import ALL_ADDRESSES, DRAIN_SECONDS, SHUTDOWN_TIMEOUT, Recording
from tidegate_serving.drain import Drain
from tidegate_serving.grpc.server import GrpcServer
from tidegate_serving.http import endpoints
from tidegate_serving.http.server import create_http_server, create_metrics_server
from tidegate_serving.observability.recorder import Model, ResponseRecorder
from tidegate_serving.observability.spans import SpanRecorder, create_provider
from tidegate_serving.predictor import Predictor

ALL_IPV4_ADDRESSES = "0.0.0.0"

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""The errors of a kernel without IPv6, and of one that has it disabled for every interface."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address and the ports on which a server listens."""

    host: str
    http_port: int
    grpc_port: int
    metrics_port: int | None
    """The port of the metrics; None if REST's port serves them."""

    def __str__(self) -> str:
        ports = {"http": self.http_port, "grpc": self.grpc_port, "metrics": self.metrics_port}
        host = f"[{self.host}]" if ":" in self.host else self.host
        return " ".join(f"{name}={host}:{port}" for name, port in ports.items() if port is not None)


def _no_notification(address: Address) -> None:
    """Ignore that the server is ready."""


class Server(ModelServer):
    """Serves one predictor over REST and gRPC until a signal stops it.

    Args:
        host: The address to listen on.
        http_port: The port of REST; 0 selects a free one.
        grpc_port: The port of gRPC; 0 selects a free one.
        metrics_port: The port of the metrics; 0 selects a free one, and None is REST's port.
        drain_seconds: The time after SIGTERM in which the server still accepts requests.
        shutdown_timeout: The seconds that requests in flight have after the drain.
        on_ready: Called when the server listens on all ports.
        recording: The records of each response in addition to the metrics.

    Raises:
        ConfigurationError: If a port is not available, or OpenTelemetry is not installed for spans.
    """

    def __init__(
        self,
        host: str = ALL_ADDRESSES,
        http_port: int = 8080,
        grpc_port: int = 8081,
        metrics_port: int | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        on_ready: Callable[[Address], None] = _no_notification,
        recording: Recording | None = None,
    ) -> None:
        self._recording = recording or Recording()
        self._span_provider = create_provider() if self._recording.traces else None
        _check_ports_differ(http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port)
        # gRPC binds its own socket, after the model is loaded; this finds out early whether it can.
        with bind_socket(host, grpc_port, "--grpc-port") as free:
            host = free.getsockname()[0]
        with ExitStack() as listeners:
            self._listener = listeners.enter_context(bind_socket(host, http_port, "--http-port"))
            self._metrics_listener = (
                None
                if metrics_port is None
                else listeners.enter_context(bind_socket(host, metrics_port, "--metrics-port"))
            )
            listeners.pop_all()
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
        self._predictor.service.metrics.recorder = self._create_recorder(self._predictor)
        endpoints.install(app, self._predictor, exposes_metrics=self._metrics_listener is None)
        super().start(models)

    def _create_recorder(self, predictor: Predictor) -> ResponseRecorder | None:
        recording, provider = self._recording, self._span_provider
        if not recording.access_log and provider is None:
            return None
        model = Model(predictor.name, predictor.service.model.bundle.digest)
        return ResponseRecorder(
            model,
            recording.logged_headers,
            access_log=recording.access_log,
            record_span=None if provider is None else SpanRecorder(provider, model).record,
        )

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
        self.servers += [grpc_server.serve(), self._drain.run()]
        listening = [http_server.listening, grpc_server.listening]
        if self._metrics_listener is not None:
            metrics_server = create_metrics_server(self._metrics_listener, self._drain)
            self.servers.append(metrics_server.serve())
            listening.append(metrics_server.listening)
        self.servers.append(self._notify_ready(grpc_server, listening))

    def register_signal_handler(self) -> None:
        """Leave signals to the drain."""

    async def _notify_ready(self, grpc_server: GrpcServer, listening: list[asyncio.Event]) -> None:
        handler: Any = self.default_exception_handler
        asyncio.get_running_loop().set_exception_handler(handler)
        for event in listening:
            await event.wait()
        metrics_port = None if self._metrics_listener is None else self._metrics_listener.getsockname()[1]
        self._on_ready(Address(self._host, self.http_port, grpc_server.port, metrics_port))


def _check_ports_differ(**ports: int | None) -> None:
    """Check that no two options name one port: it could be bound twice, but not listened on twice."""
    options: dict[int, str] = {}
    for name, port in ports.items():
        option = f"--{name.replace('_', '-')}"
        if port and options.setdefault(port, option) != option:
            raise ConfigurationError(
                f"{option}: expected a port of its own, received {port} as for {options[port]}; choose "
                "another."
            )


def bind_socket(host: str, port: int, option: str) -> socket.socket:
    """Bind a socket before the model is loaded, so that a port in use is reported at once.

    The address ``::`` accepts IPv4 and IPv6, and IPv4 alone on a machine without IPv6.

    Args:
        host: The address; with a colon, it is IPv6.
        port: The port; 0 selects a free one.
        option: The option that chooses another port, for the message.

    Raises:
        ConfigurationError: If the port is not available.
    """
    try:
        return _bind(host, port)
    except OSError as error:
        if host == ALL_ADDRESSES and error.errno in _NO_IPV6:
            return bind_socket(ALL_IPV4_ADDRESSES, port, option)
        raise ConfigurationError(
            f"Port {port} of {host} is not available: {error.strerror}; choose another with {option}."
        ) from None


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == ALL_ADDRESSES:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
