# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The boundary between the server and gRPC's transports, of which each serves the same servicer."""

import asyncio
import math
from abc import ABC, abstractmethod

from tidegate_serving.drain import Drain
from tidegate_serving.service import Served
from tidegate_serving.tls import CertificateFiles


class GrpcServer(ABC):
    """A server of gRPC calls, stopped by a drain.

    Args:
        served: The loaded model.
        address: The host and the port to listen on; port 0 selects a free one.
        drain: The states of the shutdown.
        grace_seconds: The time that calls in flight have after the drain.
        option: The option that chooses another port, for a message.
        certificate: The certificate; None for connections without TLS.
    """

    def __init__(
        self,
        served: Served,
        address: tuple[str, int],
        drain: Drain,
        grace_seconds: float,
        option: str = "--grpc-port",
        certificate: CertificateFiles | None = None,
    ) -> None:
        self._served = served
        self._host, self.port = address
        """The port is that of the socket as soon as the server listens."""
        self._drain = drain
        self._grace_seconds = grace_seconds
        self._option = option
        self._certificate = certificate
        self.listening = asyncio.Event()

    @abstractmethod
    async def serve(self) -> None:
        """Serve until the drain is over and the calls in flight have their responses.

        Raises:
            ConfigurationError: If the port is not available.
        """


def max_connection_age(drain_seconds: float) -> float:
    """Return the maximum age of a connection: half of the drain, so that all end before the server stops.

    The client connects again, after SIGTERM to another pod. For the same reason, new pods receive calls from
    clients that keep their channel. Without a drain, connections end with the server.
    """
    return drain_seconds / 2 or math.inf
