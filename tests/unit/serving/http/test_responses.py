# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.http.responses import (
    BINARY_LINES,
    ERROR_LINES,
    JSON_LINES,
    error_body,
    error_response,
    http_exception_response,
    inference_response,
)


def lines(response: Any) -> dict[str, str]:
    headers = dict(response.headers)
    headers.pop("content-length")
    return headers


def parsed(content: bytes) -> dict[str, str]:
    return dict(line.split(": ") for line in content.decode().splitlines())


@pytest.mark.parametrize("code", ErrorCode)
def test_error_response_equals_the_fast_path_lines(code: ErrorCode) -> None:
    error = RequestError("instances: expected a list, received null.", code)
    response = error_response(error)
    status, content = ERROR_LINES[code]
    assert (response.status_code, lines(response)) == (status, parsed(content))
    assert response.body == error_body(error)
    assert json.loads(error_body(error)) == {"error": str(error)}


def test_error_response_of_overload_has_retry_after() -> None:
    assert lines(error_response(RequestError("", ErrorCode.RESOURCE_EXHAUSTED)))["retry-after"] == "1"


def test_error_response_that_closes_has_the_header() -> None:
    error = RequestError("", ErrorCode.CONTENT_TOO_LARGE)
    assert error_response(error, close=True).headers["connection"] == "close"
    assert "connection" not in error_response(error).headers


def test_inference_response_equals_the_fast_path_lines() -> None:
    assert lines(inference_response(b"{}", None)) == parsed(JSON_LINES)
    assert lines(inference_response(b"{}\x00\x00", 2)) == parsed(BINARY_LINES % 2)


def test_http_exception_response_names_the_method_and_the_path() -> None:
    request = Request({"type": "http", "method": "PUT", "path": "/v2/" + "x" * 200, "headers": []})
    error = HTTPException(405, headers={"Allow": "POST"})
    response = asyncio.run(http_exception_response(request, error))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    message = json.loads(bytes(response.body))["error"]
    assert message.startswith("PUT /v2/xxx")
    assert message.endswith(": Method Not Allowed.")
    assert len(message) < 150
