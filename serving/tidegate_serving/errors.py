# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rejections: why a request gets no answer, as REST and gRPC both say it.

A rejection is one sentence and a kind; the kind decides the HTTP status, the gRPC code and the label in
the metrics. It knows neither framework, and nothing of a stack trace ever reaches it.
"""

import json
from enum import Enum, StrEnum
from http import HTTPStatus

_SHOWN = 60
_LONGEST = 500
"""Characters of a sentence: gRPC sends it as metadata, escaped to three times its bytes, and takes 8 KiB."""


class ErrorCode(Enum):
    """What is wrong: the HTTP status and the name of the gRPC status code that say so."""

    INVALID_ARGUMENT = (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")
    NOT_FOUND = (HTTPStatus.NOT_FOUND, "NOT_FOUND")
    CONTENT_TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "INVALID_ARGUMENT")
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
        """The value of the metrics' label ``reason``."""
        return self.name.lower()


class Violation(StrEnum):
    """What is wrong with an input that the contract does not allow."""

    MISSING_FEATURE = "missing_feature"
    """No value, or no such feature, where there has to be one."""
    UNEXPECTED_FEATURE = "unexpected_feature"
    """A feature that the model has not."""
    SHAPE = "shape"
    """Not a value a feature, or not as many rows as the other features."""
    TYPE = "type"
    OUT_OF_RANGE = "out_of_range"
    """A number beyond its type."""
    NON_FINITE = "non_finite"
    UNKNOWN_CATEGORY = "unknown_category"
    """One that training never saw."""


class RequestError(Exception):
    """A request that gets no answer. Its text is the sentence that the client reads.

    Args:
        sentence: What was wrong, where, what was expected and what came.
        code: The status that says so.
        violation: What is wrong with an input, if that is the reason.
        feature: The feature that it is about, in the client's words; None if it is about no single one.
    """

    def __init__(
        self,
        sentence: str,
        code: ErrorCode = ErrorCode.INVALID_ARGUMENT,
        *,
        violation: Violation | None = None,
        feature: str | None = None,
    ) -> None:
        super().__init__(sentence if len(sentence) <= _LONGEST else sentence[:_LONGEST] + "…")
        self.code = code
        self.violation = violation
        self.feature = feature


def shown(value: object) -> str:
    """A client's value as an error sentence shows it: as JSON, and never long.

    >>> shown(None), shown(True), shown("1.5"), shown([[1, 2]])
    ('null', 'true', 'the string "1.5"', 'a list')
    """
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        return f"the string {json.dumps(text, ensure_ascii=False)}"
    return json.dumps(value)
