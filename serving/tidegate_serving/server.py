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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import uvloop

from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import ModelServer, app
from tidegate_serving.config import (
    ALL_ADDRESSES,
    DRAIN_SECONDS,
    SHUTDOWN_TIMEOUT,
    GrpcTransport,
    Recording,
)
from tidegate_serving.drain import Drain
from tidegate_serving.grpc.base import GrpcServer
from tidegate_serving.grpc.server import server_class
from tidegate_serving.http import endpoints
from tidegate_serving.http.server import (
    HttpServer,
    create_http_server,
    create_metrics_server,
    create_pairs_server,
    create_shadow_server,
)
from tidegate_serving.listener import bind_socket
from tidegate_serving.observability.pairs import PairRecorder
from tidegate_serving.observability.recorder import Model, ResponseRecorder
from tidegate_serving.observability.spans import SpanRecorder, create_provider
from tidegate_serving.predictor import Predictor
from tidegate_serving.tls import CertificateFiles

LOOPBACK_ADDRESS = "127.0.0.1"
"""An address that only the containers of the same pod reach, and clients that may forward its ports."""

SHADOW_GRACE = 1.0
"""Seconds that mirrored calls in flight have after the drain: no client waits for them."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address and the ports on which a server listens."""

    host: str
    http_port: int
    grpc_port: int
    metrics_port: int | None
    """The port of the metrics; None if REST's port serves them."""
    shadow_http_port: int | None = None
    """The port of mirrored requests over REST."""
    shadow_grpc_port: int | None = None
    """The port of mirrored requests over gRPC."""
    pairs_port: int | None = None
    """The port of the sampled predictions, on the loopback interface; None if none are sampled."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        ports = {
            "http": (host, self.http_port),
            "grpc": (host, self.grpc_port),
            "metrics": (host, self.metrics_port),
            "shadow-http": (host, self.shadow_http_port),
            "shadow-grpc": (host, self.shadow_grpc_port),
            "pairs": (LOOPBACK_ADDRESS, self.pairs_port),
        }
        return " ".join(f"{name}={host}:{port}" for name, (host, port) in ports.items() if port is not None)


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
        shadow_http_port: The port of mirrored requests over REST; 0 selects a free one, and None has none.
        shadow_grpc_port: The port of mirrored requests over gRPC, in the same way.
        certificate: The certificate of REST and gRPC, also for mirrored requests; None for connections
            without TLS. The other ports have no TLS.
        grpc_transport: The implementation of gRPC's protocol, also for mirrored requests.

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
        shadow_http_port: int | None = None,
        shadow_grpc_port: int | None = None,
        certificate: CertificateFiles | None = None,
        grpc_transport: GrpcTransport = GrpcTransport.ASYNCIO,
    ) -> None:
        self._certificate = certificate
        self._grpc_server_class = server_class(grpc_transport)
        self._recording = recording or Recording()
        self._span_provider = create_provider() if self._recording.traces else None
        pairs_port = self._recording.pairs_port if self._recording.pairs_sample_rate else None
        _check_ports_differ(
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            shadow_http_port=shadow_http_port,
            shadow_grpc_port=shadow_grpc_port,
            pairs_port=pairs_port,
        )
        # gRPC binds its own socket, after the model is loaded; this finds out early whether it can.
        with bind_socket(host, grpc_port, "--grpc-port") as free:
            host = free.getsockname()[0]
        with ExitStack() as listeners:

            def bind(host: str, port: int | None, option: str) -> socket.socket | None:
                return None if port is None else listeners.enter_context(bind_socket(host, port, option))

            if (free_socket := bind(host, shadow_grpc_port, "--shadow-grpc-port")) is not None:
                free_socket.close()
            self._listener = listeners.enter_context(bind_socket(host, http_port, "--http-port"))
            self._metrics_listener = bind(host, metrics_port, "--metrics-port")
            self._shadow_listener = bind(host, shadow_http_port, "--shadow-http-port")
            self._pairs_listener = bind(LOOPBACK_ADDRESS, pairs_port, "--pairs-port")
            listeners.pop_all()
        http_port = self._listener.getsockname()[1]
        super().__init__(
            http_port=http_port,
            grpc_port=grpc_port,
            workers=1,
            enable_grpc=False,  # KServe's own servicer; setup_event_loop starts ours
            enable_latency_logging=False,
            event_loop="uvloop",
            grace_period=math.ceil(shutdown_timeout),  # uvicorn takes whole seconds
            # Not KServe's TLS, which leaves out gRPC, and which KServe reads from the environment by default.
            ssl_certfile=None,
            ssl_keyfile=None,
        )
        self._host = host
        self._on_ready = on_ready
        self._drain = Drain(drain_seconds)
        self._shutdown_timeout = shutdown_timeout
        self._shadow_grpc_port = shadow_grpc_port
        self._predictor: Predictor | None = None

    def start(self, models: list[Predictor]) -> None:
        """Serve a loaded predictor until a signal stops the server.

        Raises:
            ConfigurationError: If there is not exactly one predictor, gRPC's port is not available, or the
                contract does not allow a request sample.
        """
        if len(models) != 1:
            raise ConfigurationError(f"models: expected one predictor per server, received {len(models)}.")
        # KServe's own endpoints use a response class that FastAPI has deprecated.
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
        self._predictor = models[0]
        service = self._predictor.service
        service.metrics.recorder = self._create_recorder(self._predictor)
        if self._pairs_listener is not None:
            service.pairs = PairRecorder(
                service.contract, self._recording.pairs_sample_rate, key=self._recording.pairs_key
            )
        if (options := self._recording.request_sample) is not None:
            self._predictor.sample_requests(options)
        endpoints.install(app, self._predictor, exposes_metrics=self._metrics_listener is None)
        try:
            super().start(models)
        finally:
            if service.request_sample is not None:
                service.request_sample.close()

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
            self._rest_server.config, self._predictor, self._listener, self._drain, self._certificate
        )
        self._rest_server._server = http_server
        grpc_server = self._grpc_server_class(
            self._predictor,
            (self._host, self.grpc_port),
            self._drain,
            self._shutdown_timeout,
            certificate=self._certificate,
        )
        side_servers = list(self._create_side_servers())
        shadow_grpc_server = next((each for each in side_servers if isinstance(each, GrpcServer)), None)
        self.servers += [grpc_server.serve(), self._drain.run(), *(each.serve() for each in side_servers)]
        listening = [each.listening for each in (http_server, grpc_server, *side_servers)]
        self.servers.append(self._notify_ready(grpc_server, shadow_grpc_server, listening))

    def _create_side_servers(self) -> Iterator[HttpServer | GrpcServer]:
        """Create the servers of the metrics, of mirrored requests and of the sampled predictions."""
        assert self._predictor is not None
        if self._metrics_listener is not None:
            yield create_metrics_server(self._metrics_listener, self._drain)
        if self._pairs_listener is not None:
            yield create_pairs_server(self._predictor.service, self._pairs_listener, self._drain)
        if self._shadow_listener is None and self._shadow_grpc_port is None:
            return
        shadow = self._predictor.create_shadow()
        if self._shadow_listener is not None:
            keep_alive = self._rest_server.config.timeout_keep_alive
            yield create_shadow_server(
                shadow, self._shadow_listener, self._drain, keep_alive, self._certificate
            )
        if self._shadow_grpc_port is not None:
            address = self._host, self._shadow_grpc_port
            yield self._grpc_server_class(
                shadow, address, self._drain, SHADOW_GRACE, "--shadow-grpc-port", self._certificate
            )

    def register_signal_handler(self) -> None:
        """Leave signals to the drain."""

    async def _notify_ready(
        self, grpc_server: GrpcServer, shadow_grpc_server: GrpcServer | None, listening: list[asyncio.Event]
    ) -> None:
        handler: Any = self.default_exception_handler
        asyncio.get_running_loop().set_exception_handler(handler)
        for event in listening:
            await event.wait()
        self._on_ready(
            Address(
                self._host,
                self.http_port,
                grpc_server.port,
                _port(self._metrics_listener),
                _port(self._shadow_listener),
                None if shadow_grpc_server is None else shadow_grpc_server.port,
                _port(self._pairs_listener),
            )
        )


def _port(listener: socket.socket | None) -> int | None:
    return None if listener is None else int(listener.getsockname()[1])


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
