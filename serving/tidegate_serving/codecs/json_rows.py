# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""JSON in both directions, as far as V1 and V2 share it: a request's object, and a response's rows.

Floats are written in the shortest form that reads back as the same FP32: 0.1, not 0.10000000149011612. The
rows of a batch are encoded once for all requests in it. Outputs are trusted: they come from the engine.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from tidegate.batch import Array
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import RequestError, shown

_MAX_JOINED_ROWS = 8
"""The largest request whose elements are joined from rows that are encoded for the whole batch."""

_MAX_SHOWN_KEYS = 5

_encode_label = lru_cache(maxsize=4096)(orjson.dumps)
"""Encode a label as JSON. There are few labels, and responses repeat them."""


def parse_object(body: bytes | memoryview) -> Mapping[str, Any]:
    """Parse a request's JSON object.

    Raises:
        RequestError: If the body is not valid JSON, is nested too deeply, or is not an object.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"body: expected JSON, received something else: {error}.") from None
    if not isinstance(document, dict):
        raise RequestError(f"body: expected a JSON object, received {shown(document)}.")
    return document


def shown_keys(document: Mapping[str, Any]) -> str:
    """Describe an object in an error, by its first keys."""
    if not document:
        return "an empty object"
    return f"an object with {', '.join(repr(key[:60]) for key in list(document)[:_MAX_SHOWN_KEYS])}"


def encode_elements(result: ResultSlice, name: str) -> bytes:
    """Encode an output's values as JSON elements in row-major order, without the enclosing brackets."""
    start, stop = result.start, result.stop
    if stop - start <= _MAX_JOINED_ROWS:
        batch_result = result.result
        rows = batch_result.json_rows.get(name)
        if rows is None:
            rows = batch_result.json_rows[name] = encode_rows(batch_result.outputs[name])
        return rows[start] if stop - start == 1 else b",".join(rows[start:stop])
    flat = result.array(name).reshape(-1)
    content = flat.tolist() if flat.dtype.kind == "O" else np.ascontiguousarray(flat)
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def encode_rows(array: Array) -> list[bytes]:
    """Encode each row of an output, shape ``[rows]`` or ``[rows, width]``, as JSON without brackets."""
    if array.dtype.kind == "O":
        if array.ndim == 1:
            return [_encode_label(value) for value in array.tolist()]
        return [b",".join(map(_encode_label, row)) for row in array.tolist()]
    content = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    # The text of a number contains no comma and no bracket, so the text can be split at them.
    return content[1:-1].split(b",") if array.ndim == 1 else content[2:-2].split(b"],[")
