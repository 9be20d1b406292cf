# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The gRPC connection of one user, on gevent's event loop. Requests and responses are encoded messages."""

from collections.abc import Mapping
from typing import Any

import grpc
from grpc.experimental.gevent import init_gevent

init_gevent()

_HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""The HTTP status by gRPC status code, from google/rpc/code.proto; any other code is 500."""


class GrpcConnection:
    """A channel with a connection of its own, which carries one call at a time.

    Args:
        address: Host and port.
        headers: Headers of each call; ``Host`` becomes the authority, by which a gateway routes.
    """

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        options: list[tuple[str, Any]] = [
            ("grpc.use_local_subchannel_pool", 1),  # otherwise equal channels share one connection
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self._metadata = []
        for name, value in headers.items():
            if name.lower() == "host":
                options.append(("grpc.default_authority", value))
            else:
                self._metadata.append((name.lower(), value))
        self._channel = grpc.insecure_channel(address, options)

    def call(self, method: str, message: bytes, timeout: float) -> tuple[int, bytes, str | None]:
        """Send a message and wait for the response.

        Args:
            method: The method's path, ``/package.Service/Method``.
            message: The encoded request.
            timeout: Seconds until the call fails.

        Returns:
            The HTTP status that corresponds to the gRPC status code, the encoded response, and the error.
        """
        try:
            content = self._channel.unary_unary(method)(message, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code()
            return _HTTP_STATUS.get(code, 500), b"", f"{code.name}: {error.details()}"
        return 200, content, None
