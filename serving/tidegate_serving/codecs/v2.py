# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol over REST, with its binary tensor data extension.

It parses requests and encodes responses; it knows no HTTP framework. Over gRPC, the protocol has messages
instead.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson

from tidegate.contract import Contract, Output
from tidegate.protocol.requests import encode_raw_tensor
from tidegate_serving.codecs.inputs import ARRAY_VALUES, Inputs, UncheckedRows
from tidegate_serving.codecs.json_rows import encode_elements, parse_object, shown_keys
from tidegate_serving.codecs.number_arrays import may_be_number_array, parse_number_array
from tidegate_serving.codecs.request import InferenceRequest, Limits, select_outputs
from tidegate_serving.codecs.tensors import (
    Tensor,
    assemble_inputs,
    check_element_count,
    check_tensor_count,
    parse_datatype,
    parse_raw_tensor,
    parse_shape,
)
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import RequestError, shown
from tidegate_serving.request_context import new_request_id

_NO_BYTES = memoryview(b"")

_PLAIN_KEYS = ("name", "shape", "datatype", "data")

_MAX_TEMPLATES = 64
"""The number of row counts for which a response's template is kept."""


def parse(
    contract: Contract, body: bytes | memoryview, header_length: int | None, limits: Limits
) -> InferenceRequest:
    """Parse a request, whose tensors are in JSON or in raw bytes after it.

    The numbers of a matrix are validated later, together with those of other requests.

    Args:
        contract: The model's contract.
        body: The request's body.
        header_length: The value of ``Inference-Header-Content-Length``: how many bytes of the body are JSON;
            None if all are.
        limits: The server's limits.

    Raises:
        RequestError: If the protocol, the contract or the limits do not allow the request.
    """
    document: Mapping[str, Any] | None
    if header_length is None:
        body = bytes(body)  # no copy of bytes
        document = _parse_matrix_object(body) if may_be_number_array(contract, body) else None
        document, raw = document or parse_object(body), _NO_BYTES
    elif 0 <= header_length <= len(body):
        content = memoryview(body)
        document, raw = parse_object(content[:header_length]), content[header_length:]
    else:
        raise RequestError(
            f"Inference-Header-Content-Length: expected at most the body's {len(body)} bytes, received "
            f"{header_length}."
        )
    entries = document.get("inputs")
    if not isinstance(entries, list):
        received = shown(entries) if "inputs" in document else shown_keys(document)
        raise RequestError(f"inputs: expected a list of tensors, received {received}.")
    check_tensor_count(contract, len(entries))
    inputs: Inputs | None = _parse_plain_columns(contract, entries, limits)
    tensors = []
    for index, entry in enumerate(entries if inputs is None else ()):
        tensor, raw = _parse_tensor(f"inputs[{index}]", entry, raw)
        tensors.append(tensor)
    if len(raw):
        raise RequestError(f"body: expected no bytes after the last binary tensor, received {len(raw)}.")
    names, binary = _parse_outputs(contract, document)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise RequestError(f"id: expected a string, received {shown(request_id)}.")
    outputs = select_outputs(contract, names)
    if inputs is None:
        inputs = assemble_inputs(contract, tensors, limits)
    return InferenceRequest(inputs, request_id or new_request_id(), outputs, binary)


def _parse_matrix_object(body: bytes) -> Mapping[str, Any] | None:
    """Parse the JSON object of a request with a large matrix, whose data is an array; None for any other.

    The array ``[elements]`` holds what the data type makes of JSON's numbers.
    """
    match parse_number_array(body, "data"):
        case (
            {
                "inputs": [{"data": [], "datatype": "FP32" | "FP64", "shape": list(shape)} as entry]
            } as document,
            array,
        ) if array.ndim == 1 or shape == [*array.shape]:
            entry["data"] = array.reshape(-1)
            return document
    return None


def _parse_plain_columns(contract: Contract, entries: list[Any], limits: Limits) -> UncheckedRows | None:
    """Return the rows of the usual request for a model with several data types; None for any other request.

    The usual request has one tensor per feature, in the features' order and data types, with few elements in
    one list. Its tensors need no object and no array each, and its values are validated with those of other
    requests.

    Args:
        contract: The model's contract.
        entries: The request's tensors, not validated yet.
        limits: The server's limits.
    """
    features = contract.features
    if contract.matrix_datatype is not None or len(entries) != len(features):
        return None
    columns = []
    for entry, feature in zip(entries, features, strict=True):
        if type(entry) is not dict or len(entry) != len(_PLAIN_KEYS):
            return None
        shape, data = entry.get("shape"), entry.get("data")
        if (
            type(data) is not list
            or type(shape) is not list
            or len(shape) != 1
            or type(shape[0]) is not int
            or shape[0] != len(data)
            or entry.get("name") != feature.name
            or entry.get("datatype") != feature.datatype
        ):
            return None
        columns.append(data)
    rows, width = len(columns[0]), len(columns)
    if not 1 <= rows <= limits.rows or rows * width >= ARRAY_VALUES or {*map(len, columns)} != {rows}:
        return None
    if any(type(column[0]) is list for column in columns):
        return None
    return UncheckedRows(
        [*zip(*columns, strict=True)], lambda index: f"inputs[{index % width}].data[{index // width}]"
    )


def _parse_tensor(where: str, entry: object, raw: memoryview) -> tuple[Tensor, memoryview]:
    """Parse one tensor, and return it with the raw bytes that follow its own."""
    if not isinstance(entry, dict):
        raise RequestError(f"{where}: expected an object, received {shown(entry)}.")
    name, shape, data = entry.get("name"), entry.get("shape"), entry.get("data")
    if not isinstance(name, str):
        raise RequestError(f"{where}.name: expected a string, received {shown(name)}.")
    if not isinstance(shape, list):
        raise RequestError(f"{where}.shape: expected a list of integers, received {shown(shape)}.")
    sizes, datatype = parse_shape(where, shape), parse_datatype(where, entry.get("datatype"))
    raw_size = _parameters(where, entry).get("binary_data_size") if "parameters" in entry else None
    if raw_size is not None:
        if type(raw_size) is not int or not 0 <= raw_size <= len(raw):
            raise RequestError(
                f"{where}.parameters.binary_data_size: expected at most the {len(raw)} bytes that follow, "
                f"received {shown(raw_size)}."
            )
        if data is not None:
            raise RequestError(f"{where}: expected either data or binary_data_size, received both.")
        elements = parse_raw_tensor(where, datatype, sizes, raw[:raw_size])
        return Tensor(where, name, datatype, sizes, elements, lambda i: f"{where} element {i}"), raw[
            raw_size:
        ]
    if not isinstance(data, list | np.ndarray):
        raise RequestError(f"{where}.data: expected a list, received {shown(data)}.")
    if datatype == "FP16":
        raise RequestError(
            f"{where}.datatype: expected FP16 as binary data, because JSON cannot hold it, received a list."
        )

    def place(index: int) -> str:
        return f"{where}.data[{index}]"

    flat = data
    if isinstance(data, list) and data and isinstance(data[0], list):
        flat = _flatten(f"{where}.data", data, sizes)
    check_element_count(where, sizes, len(flat))
    return Tensor(where, name, datatype, sizes, flat, place), raw


def _flatten(where: str, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Flatten lists that are nested like the shape. The protocol allows this form and the flat one."""
    for size in shape[1:]:
        for index, row in enumerate(data):
            if not isinstance(row, list) or len(row) != size:
                received = f"{len(row)} elements" if isinstance(row, list) else shown(row)
                raise RequestError(
                    f"{where}: expected nested lists of shape {list(shape)}, received {received} instead of "
                    f"a list of {size} at index {index}."
                )
        data = list(chain.from_iterable(data))
    return data


def _parse_outputs(contract: Contract, document: Mapping[str, Any]) -> tuple[list[str], frozenset[str]]:
    """Parse the requested outputs: their names (empty for all), and the names of those as raw bytes."""
    if "outputs" not in document and "parameters" not in document:
        return [], frozenset()
    default = _boolean("request", document, "binary_data_output", False)
    entries = document.get("outputs")
    if entries is None:
        return [], frozenset(output.name for output in contract.outputs) if default else frozenset()
    if not isinstance(entries, list):
        raise RequestError(f"outputs: expected a list, received {shown(entries)}.")
    names, binary = [], set()
    for index, entry in enumerate(entries):
        where = f"outputs[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise RequestError(f"{where}: expected an object with a name, received {shown(entry)}.")
        names.append(entry["name"])
        if _boolean(where, entry, "binary_data", default):
            binary.add(entry["name"])
    if not names and default:
        binary.update(output.name for output in contract.outputs)
    return names, frozenset(binary)


def _boolean(where: str, entry: Mapping[str, Any], name: str, default: bool) -> bool:
    value = _parameters(where, entry).get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"{where}.parameters.{name}: expected true or false, received {shown(value)}.")
    return value


def _parameters(where: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(f"{where}.parameters: expected an object, received {shown(parameters)}.")
    return parameters


class ResponseEncoder:
    """The encoder of one model's responses.

    Args:
        name: The model's name in requests.
        version: The model's version.
        outputs: All outputs of the model.
    """

    def __init__(self, name: str, version: str, outputs: tuple[Output, ...]) -> None:
        self._head = b'{"model_name":%b,"model_version":%b,"id":' % (
            orjson.dumps(name),
            orjson.dumps(version),
        )
        self._outputs = outputs
        self._names = [output.name for output in outputs]
        self._templates: dict[int, bytes] = {}
        """By number of rows, a JSON response of all outputs, with gaps for the id and each output's
        elements."""

    def encode(self, request: InferenceRequest, result: ResultSlice) -> tuple[bytes, int | None]:
        """Encode a response.

        Returns:
            The body, and how many of its bytes are JSON; None if all are.
        """
        outputs, rows = request.outputs, result.stop - result.start
        if outputs is self._outputs and not request.binary:  # the usual request
            template = self._templates.get(rows) or self._make_template(rows)
            elements = [encode_elements(result, name) for name in self._names]
            return template % (orjson.dumps(request.id), *elements), None
        content = [self._head, orjson.dumps(request.id), b',"outputs":[']
        binary: list[bytes] = []
        for output, opening in zip(outputs, _openings(outputs, rows), strict=True):
            content.append(opening)
            if output.name in request.binary:
                binary.append(encode_raw_tensor(result.array(output.name)))
                content.append(b'"parameters":{"binary_data_size":%d}}' % len(binary[-1]))
            else:
                content += (b'"data":[', encode_elements(result, output.name), b"]}")
        content.append(b"]}")
        header = b"".join(content)
        return (b"".join([header, *binary]), len(header)) if binary else (header, None)

    def _make_template(self, rows: int) -> bytes:
        head, *openings = (
            text.replace(b"%", b"%%") for text in (self._head, *_openings(self._outputs, rows))
        )
        tensors = b"".join(b'%b"data":[%%b]}' % opening for opening in openings)
        template = b'%b%%b,"outputs":[%b]}' % (head, tensors)
        if len(self._templates) < _MAX_TEMPLATES:
            self._templates[rows] = template
        return template


def _openings(outputs: tuple[Output, ...], rows: int) -> list[bytes]:
    """Encode the beginning of each tensor, up to its data: name, shape and data type."""
    return [
        b'%b{"name":%b,"shape":%b,"datatype":"%b",'
        % (
            b"," if index else b"",
            orjson.dumps(output.name),
            orjson.dumps([rows] if output.width is None else [rows, output.width]),
            output.datatype.encode(),
        )
        for index, output in enumerate(outputs)
    ]
