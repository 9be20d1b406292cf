# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Headers that decide how a request is read: media type, length of the JSON part, and timeouts.

The functions parse values only. The transports decide which headers a request may have, and the batcher
decides what a deadline means.
"""

from tidegate.protocol.constants import (
    INFERENCE_HEADER_CONTENT_LENGTH,
    JSON_MEDIA_TYPE,
    REQUEST_TIMEOUT_HEADER,
)
from tidegate_serving.errors import RequestError

ENVOY_TIMEOUT_HEADER = "X-Envoy-Expected-Rq-Timeout-Ms"
"""Envoy's timeout for the upstream response, in milliseconds; 0 means none.

From Envoy's documentation, "HTTP header manipulation", x-envoy-expected-rq-timeout-ms.
"""

_MAX_TIMEOUT_DIGITS = 9
_MAX_LENGTH_DIGITS = 18


def parse_timeout(client_value: str | None, envoy_value: str | None) -> float | None:
    """Return the time that a request has from its arrival, in seconds; None without a limit.

    Args:
        client_value: The value of ``X-Request-Timeout-Ms``.
        envoy_value: The value of ``X-Envoy-Expected-Rq-Timeout-Ms``. A proxy sets it, so an unusable value is
            ignored, because the client cannot correct it.

    Raises:
        RequestError: If the client's value is not a number of milliseconds.
    """
    timeouts = []
    if client_value is not None:
        if not is_number(client_value, _MAX_TIMEOUT_DIGITS):
            raise RequestError(
                f"{REQUEST_TIMEOUT_HEADER}: expected a whole number of milliseconds of at most "
                f"{_MAX_TIMEOUT_DIGITS} digits, received '{client_value:.60}'."
            )
        timeouts.append(int(client_value) / 1000)
    if envoy_value is not None and is_number(envoy_value, _MAX_TIMEOUT_DIGITS) and int(envoy_value):
        timeouts.append(int(envoy_value) / 1000)
    return min(timeouts, default=None)


def parse_media_type(content_type: str | None) -> str:
    """Return the media type of a ``Content-Type``, without its parameters; JSON if the header is absent.

    >>> parse_media_type("Application/JSON; charset=utf-8")
    'application/json'
    """
    return JSON_MEDIA_TYPE if content_type is None else content_type.partition(";")[0].strip().lower()


def parse_json_length(value: str | None) -> int | None:
    """Return the value of ``Inference-Header-Content-Length`` in bytes; None if the header is absent.

    Raises:
        RequestError: If the value is not a number.
    """
    if value is None:
        return None
    if not is_number(value, _MAX_LENGTH_DIGITS):
        raise RequestError(
            f"{INFERENCE_HEADER_CONTENT_LENGTH}: expected a number of bytes, received '{value:.60}'."
        )
    return int(value)


def is_number(text: str, max_digits: int) -> bool:
    """Return whether a text is a number of at most so many ASCII digits."""
    # isdecimal alone accepts the digits of other scripts, and int() any number of digits.
    return text.isascii() and text.isdecimal() and len(text) <= max_digits
