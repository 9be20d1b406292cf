# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding: from the bytes of a V1 or V2 request to a question.

Sources: KServe's V1 protocol, and the Open Inference Protocol with its binary tensor data extension.
It knows no HTTP framework, and it never answers with another exception than a ``RequestError``.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import orjson

from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate_serving.codecs.inputs import UncheckedMatrix, check, matrix
from tidegate_serving.codecs.request import InferenceRequest, Limits, check_rows, new_id, select_outputs
from tidegate_serving.codecs.tensors import (
    Tensor,
    assemble,
    check_count,
    check_datatype,
    check_length,
    check_shape,
    from_raw,
)
from tidegate_serving.codecs.validation import Place, fit, from_json
from tidegate_serving.errors import RequestError, Violation, shown

_NOTHING = memoryview(b"")
_OBJECTS, _LISTS = {dict}, {list}


def parse_json(body: bytes | memoryview) -> Mapping[str, Any]:
    """A request's JSON object.

    Raises:
        RequestError: It is malformed, nested too deeply, or something else than an object.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"body: expected JSON, received something else: {error}.") from None
    if not isinstance(document, dict):
        raise RequestError(f"body: expected a JSON object, received {shown(document)}.")
    return document


def v1(contract: Contract, document: Mapping[str, Any], limits: Limits) -> InferenceRequest:
    """A question from a V1 request, its rows checked.

    Raises:
        RequestError: The request is not one that the contract allows.
    """
    return _checked(contract, parse_v1(contract, document, limits))


def _checked(contract: Contract, question: InferenceRequest) -> InferenceRequest:
    question.inputs = check(contract, [question.inputs])
    return question


def parse_v1(contract: Contract, document: Mapping[str, Any], limits: Limits) -> InferenceRequest:
    """A question from a V1 request: ``instances`` as rows of values or as objects with the features' names.

    The numbers of a matrix are left to be checked together with those of other requests.

    Raises:
        RequestError: The request is not one that the contract allows.
    """
    rows = document.get("instances")
    if not isinstance(rows, list):
        received = shown(rows) if "instances" in document else _keys(document)
        raise RequestError(f"instances: expected a list of rows, received {received}.")
    check_rows(len(rows), limits, "instances")
    kinds = set(map(type, rows))
    if kinds == _OBJECTS:
        rows = [_by_name(contract, row, index) for index, row in enumerate(rows)]
        place = _place_by_name(contract)
    elif kinds == _LISTS:
        place = _place_by_index(contract)
    else:
        index = next((i for i, row in enumerate(rows) if not isinstance(row, list | dict)), None)
        received = "both" if index is None else f"{shown(rows[index])} as instances[{index}]"
        raise RequestError(
            f"instances: expected each row as a list, or each as an object, received {received}."
        )
    width = len(contract.features)
    if set(map(len, rows)) != {width}:
        index = next(i for i, row in enumerate(rows) if len(row) != width)
        raise RequestError(
            f"instances[{index}]: expected {width} values, one a feature, received {len(rows[index])}.",
            violation=Violation.SHAPE,
        )
    return InferenceRequest(_part(contract, rows, place), "", (contract.prediction,))  # V1 has no ids


def _part(contract: Contract, rows: list[list[Any]], place: Place) -> UncheckedMatrix | Batch:
    if contract.matrix_datatype is not None:
        flat = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
        return matrix(contract, len(rows), flat, contract.matrix_datatype, place)
    width = len(contract.features)
    columns = {}
    for index, (feature, column) in enumerate(zip(contract.features, zip(*rows, strict=True), strict=True)):

        def here(row: int, index: int = index) -> str:
            return place(row * width + index)

        datatype = str(feature.datatype)
        elements = from_json(list(column), datatype, here, [feature])
        columns[feature.name] = fit([feature], elements, datatype, here).reshape(-1)
    return Batch.from_columns(contract, columns)


def _by_name(contract: Contract, row: dict[str, Any], index: int) -> list[Any]:
    """An object's values in the order of the features; a feature that may be missing may be left out."""
    names = contract.feature_names
    if not row.keys() <= set(names):
        unknown = next(key for key in row if key not in names)
        raise RequestError(
            f"instances[{index}]: expected only features of the model, received '{unknown:.60}'.",
            violation=Violation.UNEXPECTED_FEATURE,
        )
    for feature in contract.features:
        if feature.name not in row and not feature.missing:
            raise RequestError(
                f"instances[{index}]: expected the feature '{feature.name}', received an object without.",
                violation=Violation.MISSING_FEATURE,
                feature=feature.name,
            )
    return [row.get(name) for name in names]


def _place_by_index(contract: Contract) -> Place:
    width = len(contract.features)
    return lambda i: f"instances[{i // width}][{i % width}] (feature '{contract.feature_names[i % width]}')"


def _place_by_name(contract: Contract) -> Place:
    width = len(contract.features)
    return lambda i: f"instances[{i // width}]['{contract.feature_names[i % width]}']"


def v2(contract: Contract, body: bytes, header_length: int | None, limits: Limits) -> InferenceRequest:
    """A question from a V2 request, as :func:`read_v2` has it, its rows checked.

    Raises:
        RequestError: The request is not one that the contract allows.
    """
    return _checked(contract, parse_v2(contract, body, header_length, limits))


def parse_v2(contract: Contract, body: bytes, header_length: int | None, limits: Limits) -> InferenceRequest:
    """A question from a V2 request, its tensors in JSON or as bytes after it.

    The numbers of a matrix are left to be checked together with those of other requests.

    Args:
        contract: What the model takes.
        body: The request's body.
        header_length: The value of ``Inference-Header-Content-Length``: how many bytes of the body are JSON;
            None if all are.
        limits: How much a request may ask.

    Raises:
        RequestError: The request is not one that the contract allows.
    """
    if header_length is None:
        document, rest = parse_json(body), _NOTHING
    elif 0 <= header_length <= len(body):
        content = memoryview(body)
        document, rest = parse_json(content[:header_length]), content[header_length:]
    else:
        raise RequestError(
            f"Inference-Header-Content-Length: expected at most the body's {len(body)} bytes, received "
            f"{header_length}."
        )
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        received = shown(inputs) if "inputs" in document else _keys(document)
        raise RequestError(f"inputs: expected a list of tensors, received {received}.")
    check_count(contract, len(inputs))
    tensors = []
    for index, entry in enumerate(inputs):
        tensor, rest = _tensor(contract, f"inputs[{index}]", entry, rest)
        tensors.append(tensor)
    if len(rest):
        raise RequestError(f"body: expected no bytes after the last binary tensor, received {len(rest)}.")
    names, binary = _requested(contract, document)
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise RequestError(f"id: expected a string, received {shown(identifier)}.")
    outputs = select_outputs(contract, names)
    return InferenceRequest(assemble(contract, tensors, limits), identifier or new_id(), outputs, binary)


def _tensor(contract: Contract, where: str, entry: object, rest: memoryview) -> tuple[Tensor, memoryview]:
    """One input, and what is left of the binary part after it."""
    if not isinstance(entry, dict):
        raise RequestError(f"{where}: expected an object, received {shown(entry)}.")
    name, shape, data = entry.get("name"), entry.get("shape"), entry.get("data")
    if not isinstance(name, str):
        raise RequestError(f"{where}.name: expected a string, received {shown(name)}.")
    if not isinstance(shape, list):
        raise RequestError(f"{where}.shape: expected a list of integers, received {shown(shape)}.")
    sizes, datatype = check_shape(where, shape), check_datatype(where, entry.get("datatype"))
    size = _parameters(where, entry).get("binary_data_size") if "parameters" in entry else None
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(rest):
            raise RequestError(
                f"{where}.parameters.binary_data_size: expected at most the {len(rest)} bytes that follow, "
                f"received {shown(size)}."
            )
        if data is not None:
            raise RequestError(f"{where}: expected either data or binary_data_size, received both.")
        elements = from_raw(where, datatype, sizes, rest[:size])
        return Tensor(where, name, datatype, sizes, elements, lambda i: f"{where} element {i}"), rest[size:]
    if not isinstance(data, list):
        raise RequestError(f"{where}.data: expected a list, received {shown(data)}.")
    if datatype == "FP16":
        raise RequestError(
            f"{where}.datatype: expected FP16 as binary data, which JSON cannot hold, received a list."
        )

    def place(index: int) -> str:
        return f"{where}.data[{index}]"

    flat = _flatten(f"{where}.data", data, sizes) if data and isinstance(data[0], list) else data
    check_length(where, sizes, len(flat))
    return Tensor(where, name, datatype, sizes, flat, place), rest


def _flatten(where: str, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Nested elements row by row. The protocol has the nested form and the flat one, and nothing between."""
    for size in shape[1:]:
        for index, part in enumerate(data):
            if not isinstance(part, list) or len(part) != size:
                received = f"{len(part)} elements" if isinstance(part, list) else shown(part)
                raise RequestError(
                    f"{where}: expected nested lists of the shape {list(shape)}, received {received} "
                    f"where a list of {size} belongs (part {index})."
                )
        data = list(chain.from_iterable(data))
    return data


def _requested(contract: Contract, document: Mapping[str, Any]) -> tuple[list[str], frozenset[str]]:
    """The names of the outputs asked for (none for all), and those wanted as bytes."""
    if "outputs" not in document and "parameters" not in document:
        return [], frozenset()
    default = _switch("request", document, "binary_data_output", False)
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
        if _switch(where, entry, "binary_data", default):
            binary.add(entry["name"])
    if not names and default:
        binary.update(output.name for output in contract.outputs)
    return names, frozenset(binary)


def _switch(where: str, entry: Mapping[str, Any], name: str, default: bool) -> bool:
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


def _keys(document: Mapping[str, Any]) -> str:
    return (
        f"an object with {', '.join(repr(key[:60]) for key in list(document)[:5])}"
        if document
        else "an empty object"
    )
