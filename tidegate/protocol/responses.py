# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Inference responses: the outputs in the body of a V1, a V2 or a V2 binary response.

It verifies that a body has the protocol's form. Whether the outputs are correct is the caller's decision.
"""

import math
from typing import Any

import numpy as np
import orjson

from tidegate.contract import Datatype
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH, Protocol

V1_OUTPUT = "predictions"
"""The output's name in a V1 response, which has exactly one output."""

_SCALAR_TYPES = {bool, int, float, str, type(None)}
_TEXT_LENGTH_BYTES = 4


def parse_outputs(protocol: Protocol, body: bytes, header_length: str | None = None) -> dict[str, list[Any]]:
    """Parse the outputs of a successful response.

    Args:
        protocol: The request's protocol; gRPC responses are messages of KServe's SDK.
        body: The response's body.
        header_length: The response's ``Inference-Header-Content-Length``; None if it has no such header.

    Returns:
        By output name, the values in row-major order without nesting. V1's one output is ``predictions``.

    Raises:
        ValueError: If the body is not a response of this protocol.
    """
    match protocol:
        case Protocol.V1:
            predictions = _member(_json(body), V1_OUTPUT, "the body")
            return {V1_OUTPUT: _flatten(predictions, V1_OUTPUT)}
        case Protocol.V2 | Protocol.V2_BINARY:
            return _parse_v2(body, header_length)
        case Protocol.GRPC:
            raise ValueError(f"protocol: expected v1, v2 or v2-binary, received {protocol}")


def decode_raw_tensor(content: bytes, datatype: str) -> list[Any]:
    """Decode a raw tensor: the reverse of :func:`tidegate.protocol.requests.encode_raw_tensor`.

    >>> decode_raw_tensor(bytes([1, 0, 0, 0, 2, 0, 0, 0]), "INT32")
    [1, 2]

    Args:
        content: The tensor's bytes.
        datatype: A :class:`~tidegate.contract.Datatype` or its name.

    Returns:
        The values in row-major order, as Python's own types.

    Raises:
        ValueError: If the data type is unknown, or the bytes are not a tensor of this type.
    """
    kind = _datatype(datatype, "datatype")
    if kind is Datatype.BYTES:
        return _decode_texts(content)
    size = kind.dtype.itemsize
    if len(content) % size:
        raise ValueError(f"raw {kind} tensor: expected a multiple of {size} bytes, received {len(content)}")
    return list(np.frombuffer(content, kind.dtype.newbyteorder("<")).tolist())


def _decode_texts(content: bytes) -> list[str]:
    texts: list[str] = []
    position = 0
    while position < len(content):
        place = f"raw BYTES tensor, element {len(texts)}"
        start = position + _TEXT_LENGTH_BYTES
        if start > len(content):
            received = len(content) - position
            raise ValueError(f"{place}: expected {_TEXT_LENGTH_BYTES} bytes of length, received {received}")
        position = start + int.from_bytes(content[position:start], "little")
        if position > len(content):
            raise ValueError(
                f"{place}: expected {position - start} bytes of text, received {len(content) - start}"
            )
        try:
            texts.append(content[start:position].decode())
        except UnicodeDecodeError as error:
            shown = content[start:position][:20]
            raise ValueError(f"{place}: expected UTF-8, received {shown!r} ({error.reason})") from None
    return texts


def _parse_v2(body: bytes, header_length: str | None) -> dict[str, list[Any]]:
    # From the Open Inference Protocol: raw tensors follow the JSON in the order of the outputs.
    position = _json_length(body, header_length)
    document = _json(body[:position])
    entries = _member(document, "outputs", "the body")
    if not isinstance(entries, list):
        raise ValueError(f"outputs: expected a list, received {_shown(entries)}")
    outputs: dict[str, list[Any]] = {}
    for index, entry in enumerate(entries):
        place = f"outputs[{index}]"
        name = _member(entry, "name", place)
        if not isinstance(name, str) or name in outputs:
            raise ValueError(
                f"{place}.name: expected a text that no other output has, received {_shown(name)}"
            )
        size = _binary_size(entry, place)
        if size is None:
            values = _flatten(_member(entry, "data", place), f"{place}.data")
        else:
            content = body[position : position + size]
            if len(content) != size:
                raise ValueError(f"{place}: expected {size} bytes of binary data, received {len(content)}")
            position += size
            datatype = _datatype(_member(entry, "datatype", place), f"{place}.datatype")
            try:
                values = decode_raw_tensor(content, datatype)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
        expected = _element_count(_member(entry, "shape", place), f"{place}.shape")
        if len(values) != expected:
            raise ValueError(f"{place}: expected {expected} values by its shape, received {len(values)}")
        outputs[name] = values
    if position != len(body):
        raise ValueError(f"the body: expected {position} bytes, received {len(body)}")
    return outputs


def _json_length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    try:
        length = int(header_length)
    except ValueError:
        length = -1
    if not 0 <= length <= len(body):
        raise ValueError(
            f"header {INFERENCE_HEADER_CONTENT_LENGTH}: expected an integer from 0 to {len(body)}, the "
            f"body's length in bytes, received {header_length!r}"
        )
    return length


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body: expected JSON, received {content[:40]!r} ({error})") from None


def _member(value: Any, key: str, place: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise ValueError(f"{place}: expected an object with the key '{key}', received {_shown(value)}")
    return value[key]


def _binary_size(entry: dict[str, Any], place: str) -> int | None:
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ValueError(f"{place}.parameters: expected an object, received {_shown(parameters)}")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError(
            f"{place}.parameters.binary_data_size: expected an integer of at least 0, received {_shown(size)}"
        )
    return size


def _datatype(value: Any, place: str) -> Datatype:
    try:
        return Datatype(value)
    except ValueError:
        raise ValueError(
            f"{place}: expected one of {', '.join(Datatype)}, received {_shown(value)}"
        ) from None


def _element_count(shape: Any, place: str) -> int:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{place}: expected a list of integers of at least 0, received {_shown(shape)}")
    return math.prod(shape)


def _flatten(values: Any, place: str) -> list[Any]:
    """Return the scalars of a list. The protocol allows data to be nested as the shape is, or flat."""
    if not isinstance(values, list):
        raise ValueError(f"{place}: expected a list, received {_shown(values)}")
    types = set(map(type, values))  # load generators parse each response: no loop in Python over flat data
    if types <= _SCALAR_TYPES:
        return values
    if types == {list}:
        return [scalar for index, row in enumerate(values) for scalar in _flatten(row, f"{place}[{index}]")]
    raise ValueError(f"{place}: expected scalars or lists of one depth, received {_shown(values)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
