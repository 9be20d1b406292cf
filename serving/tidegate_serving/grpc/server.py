# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The boundary between the server and gRPC's transports, of which each serves the same servicer."""

import asyncio
from typing import Protocol

from tidegate_serving.config import GrpcTransport
from tidegate_serving.drain import Drain
from tidegate_serving.service import Served
from tidegate_serving.tls import CertificateFiles


class GrpcServer(Protocol):
    """A server of gRPC calls, stopped by a drain."""

    port: int
    """The port; that of the socket as soon as the server listens."""
    listening: asyncio.Event

    async def serve(self) -> None:
        """Serve until the drain is over and the calls in flight have their responses.

        Raises:
            ConfigurationError: If the port is not available.
        """


def create_grpc_server(
    transport: GrpcTransport,
    served: Served,
    address: tuple[str, int],
    drain: Drain,
    grace_seconds: float,
    option: str = "--grpc-port",
    certificate: CertificateFiles | None = None,
) -> GrpcServer:
    """Create a server of gRPC calls.

    Args:
        transport: The implementation of gRPC's protocol.
        served: The loaded model.
        address: The host and the port to listen on; port 0 selects a free one.
        drain: The states of the shutdown.
        grace_seconds: The time that calls in flight have after the drain.
        option: The option that chooses another port, for a message.
        certificate: The certificate; None for connections without TLS.
    """
    # Each is imported when it is chosen, because the other one takes time and memory.
    if transport is GrpcTransport.GRPCIO:
        from tidegate_serving.grpc.grpcio import GrpcioServer

        return GrpcioServer(served, address, drain, grace_seconds, option, certificate)
    from tidegate_serving.grpc.http2.server import Http2Server

    return Http2Server(served, address, drain, grace_seconds, option, certificate)
