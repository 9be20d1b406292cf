# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP connections without sockets: the test writes a client's bytes and reads the server's."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from tests.support.http_client import Response, parse_responses
from tests.support.stub_service import StubPredictor
from tidegate_serving.http import endpoints
from tidegate_serving.http.connection import HttpConnection
from tidegate_serving.http.fastpath import FastPath
from tidegate_serving.http.server import protocol_factory

_FRAMEWORK_ITERATIONS = 12
"""Event-loop iterations in which the framework rejects a request whose body is not read."""


class FakeTransport:
    """A transport whose other end is the test."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self.written = b""
        self.reading_paused = False
        self.half_closed = False
        self.closing = False
        self.lost = False
        self._changed = asyncio.Event()

    @property
    def responses(self) -> list[Response]:
        """The responses so far, which are complete."""
        return parse_responses(self.written)

    async def wait_for_change(self) -> None:
        """Wait for the next write or close."""
        self._changed.clear()
        await self._changed.wait()

    def lose(self) -> None:
        """Disconnect the client."""
        if not self.lost:
            self.closing = self.lost = True
            self.protocol.connection_lost(None)
            self._changed.set()

    def write(self, data: bytes) -> None:
        assert not self.half_closed
        if not self.closing:
            self.written += data
        self._changed.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.lose)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.Protocol:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class FakeHttpServer:
    """The server's connections, with the fast path or without, on the application of the endpoints.

    Args:
        predictor: The model.
        fast_path: Whether plain requests take the fast path.
    """

    def __init__(self, predictor: StubPredictor, *, fast_path: bool = True) -> None:
        stub: Any = predictor
        self.predictor = predictor
        app = Starlette()
        endpoints.install(app, stub)
        self.config = uvicorn.Config(app, log_config=None, lifespan="off")
        self.config.load()
        self.state = ServerState()
        self.fast_path = FastPath(stub)
        self._create_protocol: Any = protocol_factory(self.fast_path) if fast_path else HttpConnection

    def connect(self) -> FakeTransport:
        protocol = self._create_protocol(config=self.config, server_state=self.state, app_state={})
        transport = FakeTransport(protocol)
        protocol.connection_made(transport)
        return transport

    async def settle(self, transport: FakeTransport) -> None:
        """Wait until the connection has no request, except one whose body is not complete."""
        protocol: Any = transport.protocol
        while True:
            for _ in range(_FRAMEWORK_ITERATIONS):
                await asyncio.sleep(0)
            cycle = getattr(protocol, "cycle", None)  # none while the connection lingers
            body_missing = cycle is not None and cycle.more_body and not transport.lost
            if getattr(protocol, "_request", None) is not None:
                await transport.wait_for_change()
            elif self.state.tasks and not body_missing:
                await asyncio.wait(self.state.tasks, return_when=asyncio.FIRST_COMPLETED)
            elif transport.closing == transport.lost:
                return

    def close(self) -> None:
        """Close the service, and verify that nothing has leaked."""
        service = self.predictor.service
        service.close()
        assert service.batcher.queued_rows == 0
        assert service.metrics.in_flight.count == 0
        assert not self.state.tasks
        assert len(self.fast_path.timeouts) == 0


async def wait_until(condition: Callable[[], bool]) -> None:
    """Run the event loop until a condition holds."""
    while not condition():
        await asyncio.sleep(0)
