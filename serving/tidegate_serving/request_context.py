# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The context of a request: its id, its client and its trace, for the access log and for spans.

Servers that record neither build no context. It has no part of the request's body.
"""

import itertools
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

REQUEST_ID_HEADER = "X-Request-Id"
"""Envoy, Kubernetes' ingress controllers and KServe's clients call the header so."""

TRACE_HEADERS = ("traceparent", "tracestate")
"""From W3C Trace Context, section 3, and in the metadata of gRPC calls."""

MAX_VALUE_LENGTH = 256
"""Characters of a header's value that are recorded."""

_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"(?P<rest>-.*)?"
)
_REQUEST_ID = re.compile(rf"[!-~]{{1,{MAX_VALUE_LENGTH}}}")
_IPV4_AS_IPV6 = "::ffff:"

_PROCESS_ID = uuid.uuid4().hex
_NUMBERS = itertools.count(1)


def new_request_id() -> str:
    """Return a request id that is unique among all processes."""
    # The process has one UUID, because a UUID per request would cost as much as parsing a small request.
    return f"{_PROCESS_ID}-{next(_NUMBERS)}"


def is_request_id(text: str) -> bool:
    """Return whether a client's text is recorded as an id: plain ASCII, and not too long."""
    return _REQUEST_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The context of one request."""

    request_id: str
    """The client's, or a new one if the client's is absent, too long or not plain ASCII."""
    client: str
    """The address of the connection's other side, which may be a proxy's; empty if it is unknown."""
    headers: Mapping[str, str]
    """The recorded headers, by lower-case name."""

    @classmethod
    def of(cls, headers: Mapping[str, str], client: str) -> "RequestContext":
        """Return the context of a request.

        Args:
            headers: The recorded headers, by lower-case name.
            client: The address of the connection's other side.
        """
        request_id = headers.get(REQUEST_ID_HEADER.lower(), "")
        if not is_request_id(request_id):
            request_id = new_request_id()
        return cls(request_id, client.removeprefix(_IPV4_AS_IPV6), headers)

    @property
    def trace_id(self) -> str | None:
        """The id of the client's trace; None without a valid ``traceparent``."""
        return parse_trace_id(self.headers.get("traceparent", ""))


def parse_trace_id(traceparent: str) -> str | None:
    """Return the trace id of a ``traceparent``; None if it is invalid.

    From W3C Trace Context, section 3.2: later versions may append fields, and ids of zeros are invalid.

    >>> parse_trace_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    >>> parse_trace_id("00-00000000000000000000000000000000-00f067aa0ba902b7-01")
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match["version"] == "00" and match["rest"]):
        return None
    return match["trace_id"]
