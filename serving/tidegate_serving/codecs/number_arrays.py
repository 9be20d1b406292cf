# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Large JSON bodies with little else than one array of numbers, parsed without a Python object per number.

A body is cut around its array: simdjson parses the array, and orjson the rest. Every other body is left to
orjson alone, and so is every body that is not valid. Therefore both ways accept the same values, and an error
has one source.
"""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from tidegate.batch import Array
from tidegate.contract import Contract

MIN_BODY_BYTES = 4_096
"""The size of a body from which cutting it costs less than Python's numbers."""

MAX_KEPT_BYTES = 1 << 20
"""The largest array whose parser is kept for the next one, because a parser keeps its buffers."""

_MAX_REST_BYTES = 4_096
"""The largest body without its array."""

_FIRST_ROW = re.compile(rb"\[\s*\[")
_LAST_ROW = re.compile(rb"\]\s*\]")


def may_be_number_array(contract: Contract, body: bytes) -> bool:
    """Return whether a body is large enough, and the model's features are floats of one type."""
    datatype = contract.matrix_datatype
    return len(body) >= MIN_BODY_BYTES and datatype is not None and datatype.is_float


def parse_number_array(body: bytes, key: str) -> tuple[dict[str, Any], Array] | None:
    """Parse a JSON object that has one array of numbers as the value of a key, at any depth.

    Args:
        body: The JSON object.
        key: The array's key. It has no characters that JSON escapes.

    Returns:
        The object with an empty list in the array's place, and the array: float64 ``[elements]``, or ``[rows,
        width]`` if it consists of lists of one length. None if the body is not such an object.
    """
    if (opening := _opening(key).search(body)) is None:
        return None
    start = opening.end()
    if _FIRST_ROW.match(body, start) is None:
        end = body.find(b"]", start) + 1
    else:
        closing = _LAST_ROW.search(body, start)
        end = 0 if closing is None else closing.end()
    if end <= start or len(body) - (end - start) > _MAX_REST_BYTES:
        return None
    rest = b"%b[]%b" % (body[:start], body[end:])
    # Without escapes, a key has one spelling; so this occurrence is the key, and the only one.
    if b"\\" in rest or rest.count(b'"%b"' % key.encode()) != 1:
        return None
    try:
        document = orjson.loads(rest)
        array = _parse_array(body[start:end])
    except (RuntimeError, TypeError, ValueError):  # orjson parses the whole body, and reports an error
        return None
    return (document, array) if isinstance(document, dict) and array is not None else None


@lru_cache
def _opening(key: str) -> re.Pattern[bytes]:
    """Return the pattern of a key, up to before the bracket of a value that begins with a number."""
    return re.compile(rb'"%b"\s*:\s*(?=\[\s*(?:\[\s*)?[-0-9])' % key.encode())


def _parse_array(text: bytes) -> Array | None:
    """Parse an array of numbers; None if it has lists of several lengths, or lists in lists.

    Raises:
        ValueError: If the text is not valid JSON, or has a number beyond the range of a float.
        RuntimeError: If an integer exceeds 64 bits.
        TypeError: If an element is neither a number nor a list, or an array has both.
    """
    parser = _kept_parser() if len(text) <= MAX_KEPT_BYTES else _new_parser()
    parsed = parser.parse(text)
    numbers = np.frombuffer(parsed.as_buffer(of_type="d"), np.float64)
    brackets = text.count(b"[")
    if brackets == 1:
        return numbers
    widths = set(map(len, parsed))
    if brackets != len(parsed) + 1 or len(widths) != 1:
        return None
    return numbers.reshape(-1, widths.pop())


def _new_parser() -> Any:
    import simdjson  # here, because many servers never receive a large body

    return simdjson.Parser()


_kept_parser = lru_cache(maxsize=1)(_new_parser)
"""Return the parser that small arrays share, on the event loop."""
