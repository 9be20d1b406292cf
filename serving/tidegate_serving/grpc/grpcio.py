# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The transport of the package grpcio: grpc.aio around the servicer, stopped by the drain.

It configures channels and limits. Calls are in :mod:`tidegate_serving.grpc.servicer`.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

import grpc

from tidegate.errors import ConfigurationError
from tidegate_serving.drain import wait_for_first
from tidegate_serving.errors import RequestError
from tidegate_serving.grpc.base import GrpcServer, max_connection_age
from tidegate_serving.grpc.coalescing import CallCoalescer
from tidegate_serving.grpc.servicer import MODEL_INFER, SERVICE, Method, Servicer

_MESSAGE_LIMIT_FACTOR = 2
"""gRPC rejects messages above this multiple of the limit, unread and uncounted.

Up to there the servicer rejects them. gRPC's own status is ``RESOURCE_EXHAUSTED``, after which clients retry.
"""

Handler = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]
"""A call's handler, from bytes to bytes."""


class GrpcioServer(GrpcServer):
    """gRPC's own server."""

    async def serve(self) -> None:
        """Serve by grpc.aio, as :meth:`GrpcServer.serve` says."""
        server = grpc.aio.server(
            options=server_options(self._served.service.limits.body_bytes, self._drain.seconds)
        )
        server.add_generic_rpc_handlers((generic_handler(Servicer(self._served)),))
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


def generic_handler(servicer: Servicer) -> grpc.GenericRpcHandler:
    """Return the methods of a servicer as gRPC's server dispatches them."""
    coalescer = CallCoalescer()
    handlers = {
        path.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(
            _handler(method, coalescer if path == MODEL_INFER else None)
        )
        for path, method in servicer.methods.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _handler(method: Method, coalescer: CallCoalescer | None) -> Handler:
    """Return a handler for gRPC's server, with errors as status codes."""

    async def handle(content: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if coalescer is not None:
            await coalescer.wait()
        call = GrpcioCall(context)
        pending = method.start(content, call)
        del content  # while a rejection is held, its message is not
        try:
            outcome = await call.outcome
        except asyncio.CancelledError:
            if pending is not None and call.outcome.cancelled():
                pending.cancel()
            raise
        if call.trailing_metadata:
            context.set_trailing_metadata(call.trailing_metadata)
        if isinstance(outcome, RequestError):
            await context.abort(grpc.StatusCode[outcome.code.grpc_status], str(outcome))  # always raises
        assert isinstance(outcome, bytes)
        return outcome

    return handle


class GrpcioCall:
    """A call of gRPC's server, whose response a coroutine awaits.

    Args:
        context: gRPC's context.
    """

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context
        self.outcome: asyncio.Future[bytes | RequestError] = asyncio.get_running_loop().create_future()
        self.trailing_metadata: tuple[tuple[str, str], ...] = ()
        remaining = context.time_remaining()
        self.deadline = None if remaining is None else time.perf_counter() + remaining

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's metadata by key; of a key that occurs twice, the last value."""
        return {
            key: value if isinstance(value, str) else value.decode("latin-1")
            for key, value in self._context.invocation_metadata() or ()
        }

    @property
    def client(self) -> str:
        """The address of the connection's other side; empty if it is unknown."""
        # From gRPC's naming document: ipv4:127.0.0.1:80, ipv6:%5B::1%5D:80 or unix:path.
        family, _, address = unquote(self._context.peer()).partition(":")
        return address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""

    def respond(self, message: bytes) -> bool:
        """Send the response's message; return whether the client still waits for it."""
        return self._set(message)

    def reject(self, error: RequestError) -> bool:
        """Send an error; return whether the client still waits for it."""
        return self._set(error)

    def _set(self, outcome: bytes | RequestError) -> bool:
        if self.outcome.done():  # the call is cancelled in this event-loop iteration
            return False
        self.outcome.set_result(outcome)
        return True


def server_options(max_body_bytes: int, drain_seconds: float) -> list[tuple[str, int]]:
    """Return the options of gRPC's server.

    Args:
        max_body_bytes: The largest message that the servicer accepts.
        drain_seconds: The time from SIGTERM until the server stops listening.
    """
    return [
        ("grpc.max_receive_message_length", _MESSAGE_LIMIT_FACTOR * max_body_bytes),
        ("grpc.max_send_message_length", -1),
        # With it, two servers on one port would share its connections without an error.
        ("grpc.so_reuseport", 0),
        *_connection_age_options(drain_seconds),
    ]


def _connection_age_options(drain_seconds: float) -> list[tuple[str, int]]:
    """Return the maximum connection age.

    gRPC's server cancels calls that reach it at the moment in which it stops. A connection that reaches its
    maximum age loses no call: a first GOAWAY announces the end of the connection, and a second one ends it
    when the client must have received the first (gRFC A9; RFC 9113, section 6.8).
    """
    age = max_connection_age(drain_seconds)
    if math.isinf(age):
        return []
    # Without an age's grace: a connection ends when its calls are complete, and the shutdown has a grace.
    return [("grpc.max_connection_age_ms", round(age * 1000))]  # gRPC varies it by a tenth
