# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from http import HTTPStatus

import grpc
import pytest

from tidegate_serving.errors import (
    BodyTooLargeError,
    ErrorCode,
    RequestError,
    internal_error,
    model_not_ready,
    shown,
    unimplemented,
)


@pytest.mark.parametrize(
    ("code", "http_status", "grpc_status", "reason"),
    [
        (ErrorCode.INVALID_ARGUMENT, 400, "INVALID_ARGUMENT", "invalid_argument"),
        (ErrorCode.NOT_FOUND, 404, "NOT_FOUND", "not_found"),
        (ErrorCode.CONTENT_TOO_LARGE, 413, "INVALID_ARGUMENT", "content_too_large"),
        (ErrorCode.UNSUPPORTED_MEDIA_TYPE, 415, "INVALID_ARGUMENT", "unsupported_media_type"),
        (ErrorCode.RESOURCE_EXHAUSTED, 429, "RESOURCE_EXHAUSTED", "resource_exhausted"),
        (ErrorCode.INTERNAL, 500, "INTERNAL", "internal"),
        (ErrorCode.UNIMPLEMENTED, 501, "UNIMPLEMENTED", "unimplemented"),
        (ErrorCode.UNAVAILABLE, 503, "UNAVAILABLE", "unavailable"),
        (ErrorCode.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED", "deadline_exceeded"),
    ],
)
def test_error_code_has_its_statuses_and_reason(
    code: ErrorCode, http_status: int, grpc_status: str, reason: str
) -> None:
    assert (code.http_status, code.grpc_status, code.reason) == (http_status, grpc_status, reason)


def test_error_codes_are_known_to_http_and_grpc() -> None:
    for code in ErrorCode:
        assert 400 <= HTTPStatus(code.http_status) < 600
        assert code.grpc_status in grpc.StatusCode.__members__


def test_request_error_long_message_is_truncated() -> None:
    message = str(RequestError("é" * 20_000))
    assert message == "é" * 500 + "…"
    assert str(RequestError("é" * 500)) == "é" * 500


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (internal_error(), ErrorCode.INTERNAL, ["log"]),
        (unimplemented("load"), ErrorCode.UNIMPLEMENTED, ["'load'", "deploy"]),
        (model_not_ready("m"), ErrorCode.UNAVAILABLE, ["m is not ready", "retry"]),
        (BodyTooLargeError(7), ErrorCode.CONTENT_TOO_LARGE, ["body", "at most 7 bytes", "received", "send"]),
    ],
)
def test_shared_error_names_the_way_out(error: RequestError, code: ErrorCode, words: list[str]) -> None:
    assert error.code is code
    assert all(word in str(error) for word in words)
    assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("é", 'the string "é"'),
        ("x" * 61, f'the string "{"x" * 60}…"'),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_shown_formats_a_value_as_json(value: object, expected: str) -> None:
    assert shown(value) == expected
