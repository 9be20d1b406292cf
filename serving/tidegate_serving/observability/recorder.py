# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The recorder: one record per response, in the access log and as an OpenTelemetry span.

Metrics count; the recorder says which client received which response from which bundle. It records no value
of a request or of a response. A server without access log and spans has no recorder.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tidegate_serving.request_context import (
    MAX_VALUE_LENGTH,
    REQUEST_ID_HEADER,
    TRACE_HEADERS,
    RequestContext,
)

access = logging.getLogger("tidegate.access")


@dataclass(frozen=True, slots=True)
class Response:
    """A response, as the recorder records it."""

    protocol: str
    """``v1``, ``v2`` or ``grpc``."""
    code: str
    """The HTTP status code, or the name of the gRPC status code."""
    rows: int
    """The rows of the request; 0 if they are unknown."""
    seconds: float
    """The time from the last byte of the request to the response."""
    context: RequestContext


@dataclass(frozen=True, slots=True)
class Model:
    """The model that computes the responses."""

    name: str
    digest: str
    """The digest of its bundle."""


RecordSpan = Callable[[Response], str]
"""Records a span and returns its trace id."""


class ResponseRecorder:
    """Records responses.

    Args:
        model: The served model.
        logged_headers: Headers whose values the access log has, such as a client's name that a gateway sets.
        access_log: Whether to write the access log.
        record_span: Records a response as a span; None without spans.
    """

    def __init__(
        self,
        model: Model,
        logged_headers: Iterable[str] = (),
        *,
        access_log: bool = True,
        record_span: RecordSpan | None = None,
    ) -> None:
        self._model = model
        self._logged_headers = tuple(name.lower() for name in logged_headers)
        self._access_log = access_log
        self._record_span = record_span
        self.headers = frozenset((REQUEST_ID_HEADER.lower(), *TRACE_HEADERS, *self._logged_headers))
        """The headers that a request's context needs, by lower-case name."""

    def record(self, response: Response) -> None:
        """Record a response."""
        context = response.context
        trace_id = context.trace_id if self._record_span is None else self._record_span(response)
        if self._access_log:
            access.info(orjson.dumps(self._line(response, trace_id)).decode())

    def _line(self, response: Response, trace_id: str | None) -> dict[str, Any]:
        context = response.context
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "protocol": response.protocol,
            "code": response.code,
            "rows": response.rows,
            "duration_ms": round(response.seconds * 1000, 3),
            "model": self._model.name,
            "digest": self._model.digest,
            "request_id": context.request_id,
            "trace_id": trace_id,
            "client": context.client,
            "headers": {
                name: context.headers[name][:MAX_VALUE_LENGTH]
                for name in self._logged_headers
                if name in context.headers
            },
        }
