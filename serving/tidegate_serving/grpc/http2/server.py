# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The server of our own transport: a listener, TLS, the age of connections, and the end with the drain."""

import asyncio
import socket

from tidegate_serving.drain import wait_for_first
from tidegate_serving.grpc.base import GrpcServer, max_connection_age
from tidegate_serving.grpc.http2.calls import GrpcApplication
from tidegate_serving.grpc.http2.connection import Connections
from tidegate_serving.grpc.http2.limits import CLOSE_SECONDS, HANDSHAKE_SECONDS
from tidegate_serving.grpc.servicer import Servicer
from tidegate_serving.listener import bind_socket, duplicate
from tidegate_serving.timeouts import ConnectionTimeouts
from tidegate_serving.tls import HTTP_2

BACKLOG = 2048
"""Connections that may wait to be accepted, as in uvicorn."""


class Http2Server(GrpcServer):
    """A server of gRPC calls on asyncio."""

    async def serve(self) -> None:
        """Serve on the running event loop, as :meth:`GrpcServer.serve` says."""
        max_message_bytes = self._served.service.limits.body_bytes
        connections = Connections(
            GrpcApplication(Servicer(self._served).methods, max_message_bytes),
            ConnectionTimeouts(max_connection_age(self._drain.seconds)),
            max_message_bytes,
            requires_tls=self._certificate is not None,
        )
        connections.on_accept = self._served.service.batcher.note_connection
        listener = bind_socket(self._host, self.port, self._option)
        # Accepted connections inherit it. It finds clients that have gone without a word.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.port = int(listener.getsockname()[1])
        certificate = self._certificate
        context = None if certificate is None else certificate.create_context(HTTP_2)
        servers = [
            await asyncio.get_running_loop().create_server(
                connections.create,
                sock=one,
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=None if context is None else CLOSE_SECONDS,
            )
            for one in duplicate(listener)
        ]
        self.listening.set()
        await self._drain.finished.wait()
        for server in servers:
            server.close()
        await self._close(connections)

    async def _close(self, connections: Connections) -> None:
        """End all connections without the loss of a call, at the latest after the grace."""
        closed = asyncio.Event()

        def note_closed() -> None:
            if not connections.open:
                closed.set()

        connections.on_close = note_closed
        note_closed()
        for connection in list(connections.open):
            connection.shut_down()
        await wait_for_first(closed.wait(), self._drain.forced.wait(), asyncio.sleep(self._grace_seconds))
        for connection in list(connections.open):
            connection.abort()
