# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The fast path: plain inference requests, served below the framework.

A subclass of uvicorn's protocol class takes a request that is complete, alone on its connection and plain by
its head. It passes every other request to uvicorn, unchanged, and so to KServe's application. Both parse,
compute and encode with the same functions, so their responses are equal. The fast path saves a task, a scope,
request and response objects and some thirty calls per request.

A connection has at most one request here at a time. Bytes that arrive meanwhile are buffered until its
response is written.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from tidegate_serving.batching.runner import Outcome
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.codecs.request import InferenceRequest
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError, internal_error
from tidegate_serving.hold import ResponseHold
from tidegate_serving.http.connection import LINGER_BYTES, HttpConnection
from tidegate_serving.http.head import MAX_HEAD_BYTES, RequestHead, RequestHeadParser
from tidegate_serving.http.responses import (
    BINARY_LINES,
    CONNECTION_CLOSE,
    ERROR_LINES,
    JSON_LINES,
    error_body,
)
from tidegate_serving.observability.request_metrics import CLIENT_CLOSED_REQUEST
from tidegate_serving.request_context import REQUEST_ID_HEADER, RequestContext
from tidegate_serving.service import Served
from tidegate_serving.timeouts import ConnectionTimeouts

logger = logging.getLogger("tidegate.serving")

_CODES = {status: str(status) for status in STATUS_LINE}
"""Labels of the metrics by status code. A str() for each response would be a fifth of its recording."""


class FastPath:
    """The state that all connections of a server share.

    Args:
        served: The loaded model.
        timeouts: The timeouts of connections; None for the defaults.
    """

    def __init__(self, served: Served, timeouts: ConnectionTimeouts | None = None) -> None:
        self.service = service = served.service
        self.served = served
        self.metrics = service.metrics
        self.lane = service.lane
        self.note_connection = service.batcher.note_connection
        self.timeouts = timeouts or ConnectionTimeouts()
        self.hold = ResponseHold()
        # So that a client can send a body somewhat above any limit, and then read why it is rejected.
        self.linger_bytes = max(LINGER_BYTES, 2 * service.limits.body_bytes)
        model = f"/v2/models/{service.name}"
        self.head_parser = RequestHeadParser(
            {
                f"/v1/models/{service.name}:predict".encode(): "v1",
                f"{model}/infer".encode(): "v2",
                f"{model}/versions/{service.model.version}/infer".encode(): "v2",
            },
            service.limits.body_bytes,
            self._recorded_headers(),
        )
        self.create_request = SampledRequest if service.samples_requests else FastPathRequest
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_header_count = -1
        self._default_lines = b""
        self._draining = False

    def _recorded_headers(self) -> frozenset[str]:
        """Return the headers that the recorder or a sample needs, by lower-case name."""
        if self.metrics.recorder is not None:
            return self.metrics.recorder.headers
        return frozenset((REQUEST_ID_HEADER.lower(),)) if self.service.samples_requests else frozenset()

    def default_lines(self, state: ServerState) -> tuple[bytes, bool]:
        """Return the lines of uvicorn's default headers, and whether they end the connection.

        uvicorn replaces its list every second, and the drain appends to the current one, so the lines are
        cached by the list's identity and length.
        """
        headers = state.default_headers
        if headers is not self._default_headers or len(headers) != self._default_header_count:
            self._default_headers, self._default_header_count = headers, len(headers)
            self._draining = CONNECTION_CLOSE in headers
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._default_lines, self._draining


class FastPathRequest:
    """A plain request in the batcher's queue or in the engine."""

    __slots__ = (
        "arrived_at",
        "cancelled",
        "connection",
        "deadline",
        "enqueued_at",
        "inputs",
        "outputs",
        "protocol",
        "request",
        "rows",
    )

    def __init__(
        self, connection: "FastPathProtocol", head: RequestHead, request: InferenceRequest, arrived_at: float
    ) -> None:
        self.connection = connection
        self.protocol = head.protocol
        self.request = request
        self.inputs: Inputs = request.inputs
        self.rows = len(self.inputs)
        self.outputs = request.outputs
        self.arrived_at = arrived_at
        self.enqueued_at = time.perf_counter()
        self.deadline = None if head.timeout_seconds is None else arrived_at + head.timeout_seconds
        self.cancelled = False

    def resolve(self, outcome: Outcome) -> None:
        """Send the response."""
        service = self.connection.fast_path.service
        try:
            if isinstance(outcome, RequestError):
                self.connection.send_error(self.protocol, outcome, self.rows, self.arrived_at)
                return
            encode = service.encode_v1 if self.protocol == "v1" else service.encode_v2
            body, json_length = encode(self.request, outcome)
        except Exception:  # the log receives the cause, the client a general message
            logger.exception("Inference request failed (protocol %s).", self.protocol)
            self.connection.send_error(self.protocol, internal_error(), self.rows, self.arrived_at)
        else:
            lines = JSON_LINES if json_length is None else BINARY_LINES % json_length
            self.connection.send_response(self.protocol, 200, lines, body, self.rows, self.arrived_at)


class SampledRequest(FastPathRequest):
    """A plain request that may be sampled, after its response."""

    __slots__ = ("request_id",)

    def __init__(
        self, connection: "FastPathProtocol", head: RequestHead, request: InferenceRequest, arrived_at: float
    ) -> None:
        super().__init__(connection, head, request, arrived_at)
        self.request_id = head.recorded.get(REQUEST_ID_HEADER.lower())

    def resolve(self, outcome: Outcome) -> None:
        """Send the response, and sample the request."""
        super().resolve(outcome)
        if isinstance(outcome, ResultSlice):
            self.connection.fast_path.service.sample(self.request_id, self.request, outcome)


class RejectedRequest:
    """A rejected request whose response is held, so that a client that retries at once uses little CPU.

    Args:
        connection: The connection, which reads no further request meanwhile.
        protocol: The request's protocol, for the metrics.
        error: The reason.
        rows: The request's rows; 0 if they are unknown.
        arrived_at: The time of the request's last byte.
    """

    __slots__ = ("arrived_at", "cancelled", "connection", "error", "protocol", "rows")

    def __init__(
        self,
        connection: "FastPathProtocol",
        protocol: str,
        error: RequestError,
        rows: int,
        arrived_at: float,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self.error = error.without_frames()
        self.rows = rows
        self.arrived_at = arrived_at
        self.cancelled = False
        fast_path = connection.fast_path
        fast_path.hold.add(self, fast_path.lane.rejection_seconds, connection.loop)

    def send(self) -> None:
        """Send the response, unless the client has disconnected."""
        if not self.cancelled:
            self.connection.send_error(self.protocol, self.error, self.rows, self.arrived_at)


class FastPathProtocol(HttpConnection):
    """A connection: uvicorn's protocol with the fast path for plain requests.

    Args:
        fast_path: The state that connections share.
        *args: The arguments of uvicorn's protocol.
        **kwargs: The same.
    """

    def __init__(self, fast_path: FastPath, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, linger_bytes=fast_path.linger_bytes, **kwargs)

        # Global state
        self.fast_path = fast_path
        self._timeouts = fast_path.timeouts

        # Per-connection state
        self._last_activity = 0.0
        """The time of the last sweep before bytes arrived."""
        self._expires_at = 0.0
        """The time from which on the next response ends the connection."""
        self._close_after_response = False
        self._write_paused = False
        """Whether reading is paused because the client does not read its responses."""

        # Per-request state
        self._partial_request: list[bytes] = []
        """The chunks of a request that is not complete."""
        self._bytes_remaining = 0
        """The number of bytes that complete it, or 1 while its head is not complete."""
        self._partial_head: RequestHead | None = None
        """Its head; None while the head is not complete."""
        self._body_start = 0
        """The place of its body in the first chunk."""
        self._request: FastPathRequest | RejectedRequest | None = None
        """The request whose response is not written yet."""
        self._buffered = b""
        """The bytes that arrived after it."""
        self.context: RequestContext | None = None
        """Its context, if the server has a recorder."""

    def connection_made(self, transport: Any) -> None:
        """Start the connection's timeouts."""
        super().connection_made(transport)
        self.fast_path.note_connection()
        self._expires_at = self._timeouts.add(self, self.loop)
        self._last_activity = self._timeouts.now

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request, because its response has no reader."""
        self._timeouts.discard(self)
        self._partial_request, self._buffered = [], b""
        if (request := self._request) is not None:
            self._request = None
            request.cancelled = True
            self.fast_path.metrics.record_response(
                request.protocol, CLIENT_CLOSED_REQUEST, request.rows, request.arrived_at, self.context
            )
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Serve a plain request, or pass the bytes to uvicorn."""
        self._last_activity = self._timeouts.now
        if self._request is not None:
            # From RFC 9112, section 9.3.2: responses are sent in the order of the requests.
            self._buffered += data
            self.flow.pause_reading()
            return
        cycle = self.cycle
        if self.in_message or (cycle is not None and not cycle.response_complete):
            super().data_received(data)
            return
        if self._partial_request:
            self._partial_request.append(data)
            self._bytes_remaining -= len(data)
            if self._bytes_remaining > 0:
                return
            chunks, self._partial_request = self._partial_request, []
            head = self._partial_head
            if head is not None and self._bytes_remaining == 0 and self.fast_path.served.ready:
                self._submit(head, chunks[0], self._body_start, chunks[1:])
                return
            data = b"".join(chunks)
        self._start_request(data)

    def _start_request(self, data: bytes) -> None:
        """Take the beginning of a request, if it may be plain."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) <= MAX_HEAD_BYTES and b"POST ".startswith(data[:5]):
                self._wait_for_bytes(data, 1)
            else:
                super().data_received(data)
            return
        head = self.fast_path.head_parser.parse(data[:end])
        if head is None or not self.fast_path.served.ready:
            super().data_received(data)
            return
        bytes_remaining = end + head.content_length - len(data)
        if bytes_remaining > 0:
            self._wait_for_bytes(data, bytes_remaining, head, end)
        elif bytes_remaining < 0:  # pipelined requests: uvicorn keeps the order of the responses
            super().data_received(data)
        else:
            self._submit(head, data, end)

    def _wait_for_bytes(
        self, data: bytes, bytes_remaining: int, head: RequestHead | None = None, body_start: int = 0
    ) -> None:
        self._unset_keepalive_if_required()
        self._partial_request, self._bytes_remaining = [data], bytes_remaining
        self._partial_head, self._body_start = head, body_start

    def _submit(self, head: RequestHead, data: bytes, body_start: int, rest: Sequence[bytes] = ()) -> None:
        """Parse the body and submit the request to the batcher.

        Args:
            head: The request's head.
            data: The bytes of the head, and of the body's beginning.
            body_start: The place of the body in them.
            rest: The further chunks of the body, which are joined only after admission.
        """
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        fast_path = self.fast_path
        arrived_at = time.perf_counter()
        fast_path.metrics.in_flight.start(arrived_at)
        rows = 0
        try:
            fast_path.lane.reject_if_overloaded(arrived_at)
            if rest:
                data, body_start = b"".join((memoryview(data)[body_start:], *rest)), 0
            if head.protocol == "v1":
                parsed = fast_path.service.parse_v1(data[body_start:])
            elif head.json_length is None:
                parsed = fast_path.service.parse_v2(data[body_start:], None)
            else:
                # Tensors in raw bytes stay where they are, because a copy takes longer than their parsing.
                parsed = fast_path.service.parse_v2(memoryview(data)[body_start:], head.json_length)
            request = fast_path.create_request(self, head, parsed, arrived_at)
            rows = request.rows
            fast_path.metrics.record_parse(request.enqueued_at - arrived_at)
            fast_path.lane.submit(request)
        except RequestError as error:
            if error.code is ErrorCode.RESOURCE_EXHAUSTED:
                self._request = RejectedRequest(self, head.protocol, error, rows, arrived_at)
            else:
                self.send_error(head.protocol, error, rows, arrived_at)
        except Exception:  # the log receives the cause, the client a general message
            logger.exception("Inference request failed (protocol %s).", head.protocol)
            self.send_error(head.protocol, internal_error(), rows, arrived_at)
        else:
            self._request = request

    def send_error(self, protocol: str, error: RequestError, rows: int, arrived_at: float) -> None:
        """Send an error response.

        Args:
            protocol: The request's protocol, for the metrics.
            error: The error.
            rows: The request's rows; 0 if they are unknown.
            arrived_at: The time of the request's last byte.
        """
        self.fast_path.service.record_error(error)
        status, lines = ERROR_LINES[error.code]
        self.send_response(protocol, status, lines, error_body(error), rows, arrived_at)

    def send_response(
        self, protocol: str, status: int, lines: bytes, body: bytes, rows: int, arrived_at: float
    ) -> None:
        """Send a response, and continue with the bytes that the client has sent meanwhile.

        Args:
            protocol: The request's protocol, for the metrics.
            status: The status code.
            lines: The header lines in addition to the default headers and the body's length.
            body: The body.
            rows: The request's rows, for the metrics.
            arrived_at: The time of the request's last byte.
        """
        self._request = None
        default_lines, close = self.fast_path.default_lines(self.server_state)
        if self._close_after_response and not close:
            close = True
            lines += b"connection: close\r\n"
        if self.transport.is_closing():  # the client disconnected in this event-loop iteration
            code = CLIENT_CLOSED_REQUEST
        else:
            code = _CODES[status]
            self.transport.write(
                b"%b%bcontent-length: %d\r\n%b\r\n%b"
                % (STATUS_LINE[status], default_lines, len(body), lines, body)
            )
        self.server_state.total_requests += 1
        self.fast_path.metrics.record_response(protocol, code, rows, arrived_at, self.context)
        if close:
            self._buffered = b""
            self.transport.close()
        elif self._buffered:
            buffered, self._buffered = self._buffered, b""
            if not self._write_paused:
                self.flow.resume_reading()
            self.data_received(buffered)

    def on_headers_complete(self) -> None:
        """End the connection with the application's response, if the connection is to end."""
        super().on_headers_complete()
        if self._close_after_response and self.cycle is not None:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its responses, because they would fill the memory."""
        super().pause_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._write_paused = True
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Read from the client again."""
        super().resume_writing()
        if self._write_paused:
            self._write_paused = False
            if not self._buffered:
                self.flow.resume_reading()

    def shutdown(self) -> None:
        """Close the connection, after the response to a request that is complete or has begun."""
        if self._request is not None or self._partial_request:
            self._close_after_response = True
        else:
            super().shutdown()

    def check_timeouts(self, now: float) -> None:
        """End the connection with its next response if it is too old; close it if it is idle for too long.

        A connection within a partial request is idle, too, because its client may be gone.
        """
        if self.transport.get_protocol() is not self:  # upgraded to another protocol
            self._timeouts.discard(self)
            return
        if now > self._expires_at:
            self._close_after_response = True
        idle = (
            self._request is None
            and not self.in_message
            and (self.cycle is None or self.cycle.response_complete)
        )
        if idle and now - self._last_activity > self.timeout_keep_alive:
            self.transport.close()
