# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""uvicorn's server with the fast path, stopped by the drain.

It configures uvicorn, listens, and finishes the requests in flight. Signals and the time of the drain are in
:mod:`tidegate_serving.drain`.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from socket import socket

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from tidegate_serving._kserve import metrics_handler
from tidegate_serving.drain import Drain, wait_for_first
from tidegate_serving.http.connection import HttpConnection
from tidegate_serving.http.endpoints import routes
from tidegate_serving.http.fastpath import FastPath, FastPathProtocol
from tidegate_serving.http.pairs import pairs_route
from tidegate_serving.http.recorded import RecordedFastPathProtocol
from tidegate_serving.http.responses import CONNECTION_CLOSE, http_exception_response
from tidegate_serving.listener import duplicate
from tidegate_serving.service import Served, Service
from tidegate_serving.tls import CertificateFiles

LINGER_SECONDS = 0.2
"""The time between the end of listening and the closing of idle connections.

The request of a connection that was accepted last may still be in transit.
"""


class HttpServer(uvicorn.Server):
    """uvicorn's server, stopped by a drain instead of by its own signal handlers.

    Args:
        config: uvicorn's configuration.
        listener: A bound socket.
        drain: The states of the shutdown.
    """

    def __init__(self, config: uvicorn.Config, listener: socket, drain: Drain) -> None:
        super().__init__(config)
        self._listener = listener
        self._drain = drain
        self.listening = asyncio.Event()

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve until the drain is over and the requests in flight have their responses."""
        announcing = asyncio.create_task(self._announce_close())
        try:
            await super().serve(sockets or duplicate(self._listener))
        finally:
            announcing.cancel()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop. uvicorn calls it ten times per second."""
        return await super().on_tick(counter) or self._drain.finished.is_set()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop listening and finish the requests in flight, unless a second signal forces the end."""
        forcing = asyncio.create_task(self._force_exit())
        try:
            for server in self.servers:
                server.close()
            await wait_for_first(asyncio.sleep(LINGER_SECONDS), self._drain.forced.wait())
            await super().shutdown(sockets)
        finally:
            forcing.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the drain."""
        yield

    async def _announce_close(self) -> None:
        await self._drain.started.wait()
        # uvicorn copies the configuration's list into the server's list once per second.
        self.config.encoded_headers.append(CONNECTION_CLOSE)
        self.server_state.default_headers.append(CONNECTION_CLOSE)

    async def _force_exit(self) -> None:
        await self._drain.forced.wait()
        self.force_exit = True


def create_http_server(
    config: uvicorn.Config,
    served: Served,
    listener: socket,
    drain: Drain,
    certificate: CertificateFiles | None = None,
) -> HttpServer:
    """Create the server of KServe's application with the fast path.

    Args:
        config: KServe's configuration of uvicorn; it is changed.
        served: The loaded model.
        listener: A bound socket.
        drain: The states of the shutdown.
        certificate: The certificate; None for connections without TLS.
    """
    if certificate is not None:
        context = certificate.create_context()
        config.ssl_context_factory = lambda *_: context
    # The application does nothing at startup and shutdown, and a forced exit would fail while it waits.
    config.lifespan = "off"
    config.http = protocol_factory(FastPath(served))  # type: ignore[assignment]
    return HttpServer(config, listener, drain)


def protocol_factory(fast_path: FastPath) -> partial[FastPathProtocol]:
    """Return what ``uvicorn.Config(http=…)`` calls for a new connection; with a recorder, it has contexts."""
    protocol = FastPathProtocol if fast_path.metrics.recorder is None else RecordedFastPathProtocol
    return partial(protocol, fast_path)


def create_shadow_server(
    served: Served,
    listener: socket,
    drain: Drain,
    timeout_keep_alive: int,
    certificate: CertificateFiles | None = None,
) -> HttpServer:
    """Create the server of mirrored requests, with the fast path and the endpoints of the model alone.

    Args:
        served: The model as mirrored requests see it.
        listener: A bound socket.
        drain: The states of the shutdown.
        timeout_keep_alive: The seconds after which an idle connection is closed.
        certificate: The certificate; None for connections without TLS.
    """
    config = _side_config(routes(served))
    config.timeout_keep_alive = timeout_keep_alive
    return create_http_server(config, served, listener, drain, certificate)


def create_metrics_server(listener: socket, drain: Drain) -> HttpServer:
    """Create a server of the metrics alone, so that a network policy can keep them to Prometheus.

    It runs on the event loop of the counters, because they are plain numbers without locks.

    Args:
        listener: A bound socket.
        drain: The states of the shutdown.
    """
    return HttpServer(_side_config([Route("/metrics", metrics_handler)]), listener, drain)


def create_pairs_server(service: Service, listener: socket, drain: Drain) -> HttpServer:
    """Create a server of the sampled predictions alone.

    Args:
        service: The service of the model, which samples.
        listener: A socket that is bound to the loopback interface.
        drain: The states of the shutdown.
    """
    return HttpServer(_side_config([pairs_route(service)]), listener, drain)


def _side_config(endpoints: Sequence[BaseRoute]) -> uvicorn.Config:
    """Return the configuration of a server in addition to that of KServe's application.

    The shutdown does not wait long for its responses, because none of them is a prediction for a user.
    """
    app = Starlette(routes=endpoints, exception_handlers={HTTPException: http_exception_response})
    return uvicorn.Config(
        app, http=HttpConnection, lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
