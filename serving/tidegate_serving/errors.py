# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of requests: the status, the message and the metric's reason that REST and gRPC share.

A :class:`RequestError` becomes an error response. Its :class:`ErrorCode` decides the HTTP status, the gRPC
status and the reason in the metrics. This module knows neither transport, and no stack trace enters a
message.
"""

import json
from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Self

_MAX_SHOWN_CHARACTERS = 60
_MAX_MESSAGE_CHARACTERS = 500
"""gRPC sends the message as metadata, escaped to up to three times its bytes, and accepts 8 KiB."""


class ErrorCode(Enum):
    """The kind of an error, as an HTTP status and the name of a gRPC status code."""

    INVALID_ARGUMENT = (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")
    NOT_FOUND = (HTTPStatus.NOT_FOUND, "NOT_FOUND")
    CONTENT_TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "INVALID_ARGUMENT")
    """Not ``RESOURCE_EXHAUSTED``: clients retry after it, and the same request is never accepted."""
    UNSUPPORTED_MEDIA_TYPE = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "INVALID_ARGUMENT")
    RESOURCE_EXHAUSTED = (HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED")
    UNAVAILABLE = (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE")
    UNIMPLEMENTED = (HTTPStatus.NOT_IMPLEMENTED, "UNIMPLEMENTED")
    DEADLINE_EXCEEDED = (HTTPStatus.GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED")
    INTERNAL = (HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL")

    @property
    def http_status(self) -> int:
        """The HTTP status code."""
        return int(self.value[0])

    @property
    def grpc_status(self) -> str:
        """The name of the gRPC status code."""
        return self.value[1]

    @property
    def reason(self) -> str:
        """The value of the label ``reason`` in the metrics."""
        return self.name.lower()


class Violation(StrEnum):
    """The way in which an input violates the contract; the value of the label ``kind`` in the metrics."""

    MISSING_FEATURE = "missing_feature"
    """A required value or feature is absent."""
    UNEXPECTED_FEATURE = "unexpected_feature"
    """The contract has no such feature."""
    SHAPE = "shape"
    """A row does not have one value per feature, or the features have different numbers of rows."""
    TYPE = "type"
    """The value's type does not fit the feature's."""
    OUT_OF_RANGE = "out_of_range"
    """The number exceeds the range of its data type."""
    NON_FINITE = "non_finite"
    """The number is infinite or NaN."""
    UNKNOWN_CATEGORY = "unknown_category"
    """The training data had no such category."""


class RequestError(Exception):
    """A request that receives an error response, with the message for the client.

    Args:
        message: The place, the expected value, the received value and the way out.
        code: The status of the response.
        violation: The violation of the contract, if that is the cause.
        feature: The feature concerned, in the client's words; None if it is not exactly one.
    """

    def __init__(
        self,
        message: str,
        code: ErrorCode = ErrorCode.INVALID_ARGUMENT,
        *,
        violation: Violation | None = None,
        feature: str | None = None,
    ) -> None:
        truncated = len(message) > _MAX_MESSAGE_CHARACTERS
        super().__init__(message[:_MAX_MESSAGE_CHARACTERS] + "…" if truncated else message)
        self.code = code
        self.violation = violation
        self.feature = feature

    def without_frames(self) -> Self:
        """Return the error without its traceback and context. An error that is kept or queued is kept so.

        A traceback has the frames that the error has passed. Their variables are the bytes of the request and
        the inputs of its batch, and one of them is often the error itself: then only the garbage collector
        would free them.
        """
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class BodyTooLargeError(RequestError):
    """A body or a message that exceeds the limit, and of which the rest is not read.

    Args:
        max_bytes: The limit.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"body: expected at most {max_bytes} bytes, received more; send several smaller requests.",
            ErrorCode.CONTENT_TOO_LARGE,
        )


def internal_error() -> RequestError:
    """Return the error of a request that failed in the server. Only the log receives the cause."""
    return RequestError(
        "Internal error: the server failed on this request, and its log has the cause.", ErrorCode.INTERNAL
    )


def unimplemented(operation: str) -> RequestError:
    """Return the error of an operation that KServe's protocol has and this server does not offer."""
    return RequestError(
        f"The operation '{operation:.60}' is not implemented: a server serves one immutable bundle; deploy "
        "another bundle to change the model.",
        ErrorCode.UNIMPLEMENTED,
    )


def model_not_ready(name: str) -> RequestError:
    """Return the error of a request that arrives before the model is ready."""
    return RequestError(f"The model {name} is not ready; retry when it is.", ErrorCode.UNAVAILABLE)


def shown(value: object) -> str:
    """Format a client's value for an error message: as JSON, and at most a line long.

    >>> shown(None), shown(True), shown("1.5"), shown([[1, 2]])
    ('null', 'true', 'the string "1.5"', 'a list')
    """
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        text = value if len(value) <= _MAX_SHOWN_CHARACTERS else value[:_MAX_SHOWN_CHARACTERS] + "…"
        return f"the string {json.dumps(text, ensure_ascii=False)}"
    return json.dumps(value)
