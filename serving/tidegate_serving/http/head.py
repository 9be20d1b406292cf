# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Request heads: the request line and the headers of plain inference requests.

A request is plain if the framework's endpoints would parse its body without looking further. The parser is
uvicorn's own, so that no head is read in two ways. A head that is not plain is left to the framework, which
serves or rejects the request.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import httptools

from tidegate.protocol.constants import (
    BINARY_MEDIA_TYPE,
    INFERENCE_HEADER_CONTENT_LENGTH,
    JSON_MEDIA_TYPE,
    REQUEST_TIMEOUT_HEADER,
)
from tidegate_serving.errors import RequestError
from tidegate_serving.headers import (
    ENVOY_TIMEOUT_HEADER,
    parse_json_length,
    parse_media_type,
    parse_timeout,
)

RestProtocol = Literal["v1", "v2"]
"""The protocol of a request, as the metrics name it."""

MAX_HEAD_BYTES = 65_536
"""Largest request line and headers, in bytes. Envoy accepts 60 KiB by default."""

_MAX_CACHED_HEADS = 1_024
_MAX_CACHED_HEAD_BYTES = 2_048

_JSON_LENGTH = INFERENCE_HEADER_CONTENT_LENGTH.lower().encode()
_CLIENT_TIMEOUT = REQUEST_TIMEOUT_HEADER.lower().encode()
_ENVOY_TIMEOUT = ENVOY_TIMEOUT_HEADER.lower().encode()

_TRACING_HEADERS = re.compile(
    rb"\r\n(?P<name>(?i:x-request-id|x-correlation-id|traceparent|tracestate|b3|x-b3-[a-z]+|x-amzn-trace-id"
    rb"|x-cloud-trace-context)): (?P<value>[!-~]{1,256})(?=\r\n[!-~\r])"
)
"""Headers whose values differ from request to request, because proxies trace requests with them.

The pattern is strict: the header is one line, and the next line does not continue it. Without such lines, the
parser reads all other headers as before.
"""

_SIGNIFICANT_HEADERS = frozenset(
    (
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"transfer-encoding",
        b"upgrade",
        _JSON_LENGTH,
        _CLIENT_TIMEOUT,
        _ENVOY_TIMEOUT,
    )
)
"""Headers that decide how a request is read. The framework's endpoints ignore all others, too."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a plain inference request."""

    protocol: RestProtocol
    content_length: int
    """Bytes of the body."""
    json_length: int | None
    """Bytes of the body that are JSON, if binary tensors may follow; None if all are."""
    timeout_seconds: float | None
    """The time from the request's arrival that the client waits; None without a limit."""
    recorded: Mapping[str, str] = field(default_factory=dict)
    """The headers of the request's context, by lower-case name; none without a recorder."""


class RequestHeadParser:
    """Parser of request heads, with a cache by their bytes.

    Args:
        paths: The protocol by path. The framework serves paths in any other spelling.
        max_body_bytes: The largest body of a plain request.
        recorded_headers: The headers of a request's context, by lower-case name.
    """

    def __init__(
        self,
        paths: dict[bytes, RestProtocol],
        max_body_bytes: int,
        recorded_headers: frozenset[str] = frozenset(),
    ) -> None:
        self._paths = paths
        self._max_body_bytes = max_body_bytes
        self._recorded_headers = frozenset(name.encode() for name in recorded_headers)
        self._cache: dict[bytes, RequestHead | None] = {}

    def parse(self, head: bytes) -> RequestHead | None:
        """Parse the bytes up to and including the empty line; None if the request is not plain.

        A client usually repeats the same bytes, except for the headers of tracing, and a dictionary finds
        them in a fraction of the parser's time.
        """
        try:
            return self._cache[head]
        except KeyError:
            return self._parse_traced(head)

    def _parse_traced(self, head: bytes) -> RequestHead | None:
        """Parse a head that is not cached in these bytes, but may be without the headers of tracing."""
        if len(head) > MAX_HEAD_BYTES:
            return None
        rest = _TRACING_HEADERS.sub(b"", head)
        try:
            parsed = self._cache[rest]
        except KeyError:
            parsed = self._parse_uncached(rest)
            if len(rest) <= _MAX_CACHED_HEAD_BYTES:
                if len(self._cache) >= _MAX_CACHED_HEADS:
                    self._cache.clear()
                self._cache[rest] = parsed
        if parsed is None or not self._recorded_headers:
            return parsed
        recorded = dict(parsed.recorded)
        for match in _TRACING_HEADERS.finditer(head):
            if (name := match["name"].lower()) in self._recorded_headers:
                recorded.setdefault(name.decode(), match["value"].decode())
        return replace(parsed, recorded=recorded)

    def _parse_uncached(self, head: bytes) -> RequestHead | None:
        callbacks = _ParserCallbacks(self._recorded_headers)
        parser = httptools.HttpRequestParser(callbacks)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        protocol = self._paths.get(callbacks.url)
        if (
            protocol is None
            or not callbacks.plain
            or not callbacks.headers_complete
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
        ):
            return None
        return self._interpret(protocol, callbacks.headers, callbacks.recorded)

    def _interpret(
        self, protocol: RestProtocol, headers: dict[bytes, str], recorded: dict[str, str]
    ) -> RequestHead | None:
        """Return the head if the framework's endpoints would read the body, too."""
        if b"transfer-encoding" in headers or b"expect" in headers or b"upgrade" in headers:
            return None
        if headers.get(b"connection", "keep-alive").lower() != "keep-alive":
            return None
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            return None
        try:
            json_length = parse_json_length(headers.get(_JSON_LENGTH)) if protocol == "v2" else None
            timeout_seconds = parse_timeout(headers.get(_CLIENT_TIMEOUT), headers.get(_ENVOY_TIMEOUT))
        except RequestError:
            return None
        accepted = (JSON_MEDIA_TYPE,) if json_length is None else (JSON_MEDIA_TYPE, BINARY_MEDIA_TYPE)
        if parse_media_type(headers.get(b"content-type")) not in accepted:
            return None
        content_length = int(headers.get(b"content-length", "0"))
        if not 0 < content_length <= self._max_body_bytes:
            return None
        return RequestHead(protocol, content_length, json_length, timeout_seconds, recorded)


class _ParserCallbacks:
    """The callbacks of httptools' parser for one head."""

    def __init__(self, recorded_headers: frozenset[bytes]) -> None:
        self._recorded_headers = recorded_headers
        self.recorded: dict[str, str] = {}
        self.url = b""
        self.headers: dict[bytes, str] = {}
        """Significant headers, by lower-case name."""
        self.plain = True
        self.headers_complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _SIGNIFICANT_HEADERS:
            # Request smuggling: programs differ in how they read a header that is repeated or folded.
            if name in self.headers or b"\n" in value or b"\r" in value:
                self.plain = False
            self.headers[name] = value.decode("latin-1")
        if name in self._recorded_headers:
            self.recorded.setdefault(name.decode(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, _: bytes) -> None:
        # The parser accepts bare line feeds, so the head ended before the first CRLF CRLF.
        self.plain = False

    def on_message_complete(self) -> None:
        self.plain = False
