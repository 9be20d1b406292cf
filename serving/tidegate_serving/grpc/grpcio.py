# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC's server around the servicer, stopped by the drain.

It configures channels and limits. Calls are in :mod:`tidegate_serving.grpc.servicer`.
"""

import asyncio

import grpc

from tidegate.errors import ConfigurationError
from tidegate_serving.drain import Drain, wait_for_first
from tidegate_serving.grpc.servicer import Servicer
from tidegate_serving.service import Served
from tidegate_serving.tls import CertificateFiles

_MESSAGE_LIMIT_FACTOR = 2
"""gRPC rejects messages above this multiple of the limit, unread and uncounted.

Up to there the servicer rejects them. gRPC's own status is ``RESOURCE_EXHAUSTED``, after which clients retry.
"""


class GrpcServer:
    """gRPC's server, stopped by a drain.

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
        self._certificate = certificate
        self._served = served
        self._host, self.port = address
        self._drain = drain
        self._grace_seconds = grace_seconds
        self._option = option
        self.listening = asyncio.Event()

    async def serve(self) -> None:
        """Serve until the drain is over and the calls in flight have their responses.

        Raises:
            ConfigurationError: If the port is not available.
        """
        server = grpc.aio.server(
            options=server_options(
                self._served.service.limits.body_bytes, self._drain.seconds, self._grace_seconds
            )
        )
        server.add_generic_rpc_handlers((Servicer(self._served).handlers(),))
        address = f"{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"
        try:
            self.port = (
                server.add_insecure_port(address)
                if self._certificate is None
                else server.add_secure_port(address, self._certificate.create_grpc_credentials())
            )
        except RuntimeError:
            raise ConfigurationError(
                f"gRPC port {self.port} of {self._host} is not available, possibly because another server "
                f"uses it; choose another with {self._option}."
            ) from None
        await server.start()
        self.listening.set()
        await self._drain.finished.wait()
        await wait_for_first(server.stop(self._grace_seconds), self._drain.forced.wait())


def server_options(max_body_bytes: int, drain_seconds: float, grace_seconds: float) -> list[tuple[str, int]]:
    """Return the options of gRPC's server.

    Args:
        max_body_bytes: The largest message that the servicer accepts.
        drain_seconds: The time from SIGTERM until the server stops listening.
        grace_seconds: The time that calls in flight have then.
    """
    return [
        ("grpc.max_receive_message_length", _MESSAGE_LIMIT_FACTOR * max_body_bytes),
        ("grpc.max_send_message_length", -1),
        # With it, two servers on one port would share its connections without an error.
        ("grpc.so_reuseport", 0),
        *_connection_age_options(drain_seconds, grace_seconds),
    ]


def _connection_age_options(drain_seconds: float, grace_seconds: float) -> list[tuple[str, int]]:
    """Return a maximum connection age of half the drain, so that all connections end before the server stops.

    gRPC's server cancels calls that reach it at the moment in which it stops. A connection that reaches its
    maximum age loses no call: a first GOAWAY announces the end of the connection, and a second one ends it
    when the client must have received the first (gRFC A9; RFC 9113, section 6.8). The client connects again,
    after SIGTERM to another pod. For the same reason, new pods receive calls from clients that keep their
    channel.
    """
    if not drain_seconds:
        return []
    return [
        ("grpc.max_connection_age_ms", round(drain_seconds * 1000 / 2)),  # gRPC varies it by a tenth
        ("grpc.max_connection_age_grace_ms", round(grace_seconds * 1000)),
    ]
