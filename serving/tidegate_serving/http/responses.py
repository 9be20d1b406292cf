# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP responses: JSON, binary tensors and errors, for the application's endpoints and for the fast path.

The endpoints need Starlette's responses, the fast path the bytes of header lines. Both come from the same
status, headers and body here, so that a client cannot tell which of the two sent a response.
"""

from collections.abc import Mapping

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tidegate.protocol.constants import (
    BINARY_MEDIA_TYPE,
    INFERENCE_HEADER_CONTENT_LENGTH,
    JSON_MEDIA_TYPE,
)
from tidegate_serving.batching.admission import RETRY_AFTER_SECONDS
from tidegate_serving.errors import ErrorCode, RequestError

CONNECTION_CLOSE = (b"connection", b"close")
"""The header that ends a connection, in the form of uvicorn's default headers."""

ERROR_HEADERS: Mapping[ErrorCode, Mapping[str, str]] = {
    ErrorCode.RESOURCE_EXHAUSTED: {"Retry-After": str(RETRY_AFTER_SECONDS)}
}
"""Headers of an error response in addition to its content type."""


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a JSON body.

    Args:
        body: The JSON.
        status: The status code.
        headers: Headers in addition to content type and length.
    """
    return Response(body, status, headers, media_type=JSON_MEDIA_TYPE)


def inference_response(body: bytes, json_length: int | None) -> Response:
    """Return the response to an inference request.

    Args:
        body: JSON, with the binary tensors after it.
        json_length: The bytes of the JSON; None if no binary tensors follow.
    """
    if json_length is None:
        return json_response(body)
    headers = {INFERENCE_HEADER_CONTENT_LENGTH: str(json_length)}
    return Response(body, headers=headers, media_type=BINARY_MEDIA_TYPE)


def error_response(error: RequestError, *, close: bool = False) -> Response:
    """Return an error response.

    Args:
        error: The error.
        close: Whether the response ends the connection.
    """
    headers = dict(ERROR_HEADERS.get(error.code, {}))
    if close:
        headers["Connection"] = "close"
    return json_response(error_body(error), error.code.http_status, headers)


def error_body(error: RequestError) -> bytes:
    """Return the body of an error response."""
    return orjson.dumps({"error": str(error)})


async def http_exception_response(request: Request, error: Exception) -> Response:
    """Return the framework's own errors, such as an unknown path, in the form of all error responses.

    Args:
        request: The request.
        error: Starlette's ``HTTPException``; Starlette declares handlers for any exception.
    """
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path:.100}: {error.detail}."
    return json_response(orjson.dumps({"error": message}), error.status_code, error.headers)


def header_lines(headers: Mapping[str, str]) -> bytes:
    r"""Return header lines as bytes on the connection.

    >>> header_lines({"Retry-After": "1"})
    b'retry-after: 1\r\n'
    """
    return "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items()).encode()


JSON_LINES = header_lines({"Content-Type": JSON_MEDIA_TYPE})
"""The header lines of a response with a JSON body."""

ERROR_LINES: Mapping[ErrorCode, tuple[int, bytes]] = {
    code: (code.http_status, header_lines({"Content-Type": JSON_MEDIA_TYPE, **ERROR_HEADERS.get(code, {})}))
    for code in ErrorCode
}
"""Status and header lines of error responses: under overload, most responses are errors."""

BINARY_LINES = header_lines({INFERENCE_HEADER_CONTENT_LENGTH: "%d", "Content-Type": BINARY_MEDIA_TYPE})
"""The header lines of a response with binary tensors, with a gap for the bytes that are JSON."""
