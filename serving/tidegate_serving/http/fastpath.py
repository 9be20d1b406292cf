# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The hot path: plain requests for predictions, answered below the framework.

A subclass of uvicorn's own protocol class takes a request that is whole, alone on its connection and known
by its head; everything else it hands on, untouched, to uvicorn and so to KServe's application. Reading,
computing and writing are those of the application's endpoints, so both ways give the same answers. What it
leaves out is what costs: a task, a scope, a request and a response object and some thirty calls a request.

One connection has at most one request here at a time. What arrives while it is answered is held and read
after.
"""

import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from tidegate_serving.batching.batcher import Outcome
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.codecs.request import InferenceRequest
from tidegate_serving.drain import CLOSE
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.http.endpoints import (
    BINARY,
    HEADER_LENGTH,
    JSON,
    REFUSAL_HEADERS,
    error_body,
    internal_error,
)
from tidegate_serving.http.head import RequestHead, RequestHeadParser
from tidegate_serving.observability.metrics import CLIENT_CLOSED_REQUEST
from tidegate_serving.predictor import Predictor

logger = logging.getLogger("tidegate.serving")

AGE_SECONDS = 60.0
"""How old a connection becomes before an answer ends it, give or take a tenth.

Clients keep connections for as long as they may, so a new replica would get no share of the load until they
open others. Once a minute costs a client nothing, and is sooner than the next step of an autoscaler."""

_HEAD_BYTES = 65_536
"""A head that is longer is left to uvicorn's parser, which has a limit of its own."""

_SWEEP_SECONDS = 1.0


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items()).encode()


_REFUSALS = {
    code: (code.http_status, _lines({"content-type": JSON, **REFUSAL_HEADERS.get(code, {})}))
    for code in ErrorCode
}
"""Status and header lines by the reason: under overload refusals are most of the answers."""


class FastPath:
    """What all connections of a server share.

    Args:
        predictor: What answers. Its model is loaded.
        age_seconds: How old a connection becomes.
    """

    def __init__(self, predictor: Predictor, age_seconds: float = AGE_SECONDS) -> None:
        self.service = service = predictor.service
        self.predictor = predictor
        self.metrics = service.metrics
        self.batcher = service.batcher
        self.age_seconds = age_seconds
        model = f"/v2/models/{service.name}"
        self.heads = RequestHeadParser(
            {
                f"/v1/models/{service.name}:predict".encode(): "v1",
                f"{model}/infer".encode(): "v2",
                f"{model}/versions/{service.model.version}/infer".encode(): "v2",
            },
            service.limits.body_bytes,
        )
        self.now = 0.0
        """The loop's time at the last sweep: exact to a second, and free to read."""
        self.open: set[FastPathProtocol] = set()
        self._sweeping = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._count = -1
        self._closing = False
        self._prefix = b""

    def protocol(self, *args: Any, **kwargs: Any) -> "FastPathProtocol":
        """A protocol for a new connection, as ``uvicorn.Config(http=…)`` takes it."""
        return FastPathProtocol(self, *args, **kwargs)

    def opened(self, protocol: "FastPathProtocol") -> None:
        """Look after a connection."""
        if not self._sweeping:
            self._sweeping = True
            self.now = protocol.loop.time()
            protocol.loop.call_later(_SWEEP_SECONDS, self._sweep, protocol.loop)
        self.open.add(protocol)

    def _sweep(self, loop: Any) -> None:
        """Let connections age. One timer for all: one a connection and request is 2 % of a request's cost."""
        self.now = loop.time()
        for protocol in list(self.open):
            protocol.grow_older(self.now)
        self._sweeping = bool(self.open)
        if self._sweeping:
            loop.call_later(_SWEEP_SECONDS, self._sweep, loop)

    def head(self, state: ServerState) -> tuple[bytes, bool]:
        """An answer's first lines after the status, and whether they end the connection.

        uvicorn makes a new list of them every second, and the drain adds to it.
        """
        headers = state.default_headers
        if headers is not self._headers or len(headers) != self._count:
            self._headers, self._count = headers, len(headers)
            self._closing = CLOSE in headers
            self._prefix = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._prefix, self._closing


class _Request:
    """A plain request that is being answered."""

    __slots__ = (
        "arrived",
        "deadline",
        "cancelled",
        "outputs",
        "inputs",
        "protocol",
        "question",
        "enqueued_at",
        "rows",
        "way",
    )

    def __init__(
        self, protocol: "FastPathProtocol", plan: RequestHead, question: InferenceRequest, arrived: float
    ) -> None:
        self.protocol = protocol
        self.way = plan.protocol
        self.question = question
        self.inputs: Inputs = question.inputs
        self.rows = len(self.inputs)
        self.outputs = question.outputs
        self.arrived = arrived
        self.enqueued_at = time.perf_counter()
        self.deadline = None if plan.seconds is None else arrived + plan.seconds
        self.cancelled = False

    def resolve(self, outcome: Outcome) -> None:
        """Write the answer."""
        service = self.protocol.hot.service
        try:
            if isinstance(outcome, RequestError):
                self.protocol.error_response(self.way, outcome, self.rows, self.arrived)
                return
            write = service.encode_v1 if self.way == "v1" else service.encode_v2
            body, length = write(self.question, outcome)
        except Exception:  # a fault of ours: the log has it, the client gets a sentence
            logger.exception("A %s request failed.", self.way)
            self.protocol.error_response(self.way, internal_error(), self.rows, self.arrived)
        else:
            kind = b"content-type: application/json\r\n"
            if length is not None:
                kind = f"{HEADER_LENGTH.lower()}: {length}\r\ncontent-type: {BINARY}\r\n".encode()
            self.protocol.answer(self.way, 200, kind, body, self.rows, self.arrived)


class FastPathProtocol(HttpToolsProtocol):
    """One connection: uvicorn's, with a shorter way for plain requests."""

    def __init__(self, hot: FastPath, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hot = hot
        self._request: _Request | None = None
        """The request that is being answered here."""
        self._part: list[bytes] = []
        """What has come of a request that is not whole yet."""
        self._missing = 0
        """How many bytes of it are missing at least."""
        self._held = b""
        """What came after the request that is being answered."""
        self._inside = False
        """Whether uvicorn's parser is within a message."""
        self._choked = False
        """Whether reading is paused because the client does not read."""
        self._last = False
        """Whether the next answer ends the connection."""
        self._heard = self._retires = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin, and begin to age."""
        super().connection_made(transport)
        self.hot.opened(self)
        self._heard = self.hot.now
        self._retires = self.hot.now + self.hot.age_seconds * random.uniform(0.9, 1.1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was under way: nobody reads the answer."""
        self.hot.open.discard(self)
        self._part, self._held = [], b""
        if (request := self._request) is not None:
            self._request = None
            request.cancelled = True
            seconds = time.perf_counter() - request.arrived
            self.hot.metrics.record_response(request.way, CLIENT_CLOSED_REQUEST, request.rows, seconds)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a plain request, or hand on what it is not."""
        self._heard = self.hot.now
        if self._request is not None:
            # Of one connection the answers must come in order: this is for when the first is written.
            self._held += data
            self.flow.pause_reading()
            return
        cycle = self.cycle
        if self._inside or (cycle is not None and not cycle.response_complete):
            super().data_received(data)
            return
        if self._part:
            self._part.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._part)
            self._part = []
        self._begin(data)

    def _begin(self, data: bytes) -> None:
        """Take what begins a request, if it is plain."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) <= _HEAD_BYTES and b"POST ".startswith(data[:5]):
                self._wait_for(data, 1)
            else:
                super().data_received(data)
            return
        plan = self.hot.heads.plan(data[:end])
        if plan is None or not self.hot.predictor.ready:
            super().data_received(data)
            return
        missing = end + plan.length - len(data)
        if missing > 0:
            self._wait_for(data, missing)
        elif missing < 0:  # pipelined: uvicorn keeps the order
            super().data_received(data)
        else:
            self._ask(plan, data, end)

    def _wait_for(self, data: bytes, missing: int) -> None:
        self._unset_keepalive_if_required()
        self._part, self._missing = [data], missing

    def _ask(self, plan: RequestHead, data: bytes, end: int) -> None:
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        hot = self.hot
        arrived = time.perf_counter()
        hot.metrics.in_flight += 1
        rows = 0
        try:
            hot.batcher.reject_if_overloaded(arrived)
            body = data[end:]
            if plan.protocol == "v1":
                question = hot.service.parse_v1(body)
            else:
                question = hot.service.parse_v2(body, plan.header_length)
            request = _Request(self, plan, question, arrived)
            rows = request.rows
            hot.metrics.record_parse(request.enqueued_at - arrived)
            hot.batcher.submit(request)
        except RequestError as error:
            self.error_response(plan.protocol, error, rows, arrived)
        except Exception:  # a fault of ours: the log has it, the client gets a sentence
            logger.exception("A %s request failed.", plan.protocol)
            self.error_response(plan.protocol, internal_error(), rows, arrived)
        else:
            self._request = request

    def error_response(self, way: str, error: RequestError, rows: int, arrived: float) -> None:
        """Say why there is no answer."""
        self.hot.service.record_error(error)
        status, lines = _REFUSALS[error.code]
        self.answer(way, status, lines, error_body(error), rows, arrived)

    def answer(self, way: str, status: int, lines: bytes, body: bytes, rows: int, arrived: float) -> None:
        """Write an answer, and go on with what the client has sent meanwhile."""
        self._request = None
        prefix, last = self.hot.head(self.server_state)
        if self._last and not last:
            last = True
            lines += b"connection: close\r\n"
        if self.transport.is_closing():  # the client has hung up in this very turn of the loop
            status = int(CLIENT_CLOSED_REQUEST)
        else:
            self.transport.write(
                b"%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], prefix, len(body), lines, body)
            )
        self.server_state.total_requests += 1
        self.hot.metrics.record_response(way, str(status), rows, time.perf_counter() - arrived)
        if last:
            self._held = b""
            self.transport.close()
        elif self._held:
            held, self._held = self._held, b""
            if not self._choked:
                self.flow.resume_reading()
            self.data_received(held)

    def on_message_begin(self) -> None:
        """Notice that the parser is within a message."""
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Notice that it is between two."""
        self._inside = False
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Make the application's answer the connection's last too, if it is to be."""
        super().on_headers_complete()
        if self._last and self.cycle is not None:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """Read no further while the client does not read: its answers would fill our memory."""
        super().pause_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._choked = True
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        super().resume_writing()
        if self._choked:
            self._choked = False
            if not self._held:
                self.flow.resume_reading()

    def shutdown(self) -> None:
        """Close, once what is under way is answered."""
        if self._request is not None or self._part:
            self._last = True
        else:
            super().shutdown()

    def grow_older(self, now: float) -> None:
        """Retire when old, and close when silent for the keep-alive timeout, as a lost client's would be."""
        if self.transport.get_protocol() is not self:  # another speaks on this connection now
            self.hot.open.discard(self)
            return
        if now > self._retires:
            self._last = True
        idle = (
            self._request is None
            and not self._inside
            and (self.cycle is None or self.cycle.response_complete)
        )
        if idle and now - self._heard > self.timeout_keep_alive:
            self.transport.close()
