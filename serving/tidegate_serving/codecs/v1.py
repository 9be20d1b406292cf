# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's V1 protocol: ``instances`` in a request, ``predictions`` in a response.

V1 has no request ids. A response holds the prediction of each row, or the outputs that
``parameters.outputs`` names: of one output its values, of several an object per row, as TensorFlow Serving's
row format has it.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from tidegate.contract import Contract, Output
from tidegate_serving.codecs.inputs import Inputs, UncheckedMatrix, unchecked_matrix, unchecked_rows
from tidegate_serving.codecs.json_rows import encode_elements, encode_rows, parse_object, shown_keys
from tidegate_serving.codecs.number_arrays import may_be_number_array, parse_number_array
from tidegate_serving.codecs.request import InferenceRequest, Limits, check_row_count, select_outputs
from tidegate_serving.codecs.validation import Place
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import RequestError, Violation, shown

_OBJECTS, _LISTS = {dict}, {list}


def parse_body(contract: Contract, body: bytes, limits: Limits) -> InferenceRequest:
    """Parse a request's body. Many numbers become an array at once.

    Args:
        contract: The model's contract.
        body: The request's body.
        limits: The server's limits.

    Raises:
        RequestError: If the contract or the limits do not allow the request.
    """
    if may_be_number_array(contract, body):
        match parse_number_array(body, "instances"):
            case {"instances": []} as document, array if array.shape[1:] == (len(contract.features),):
                check_row_count(len(array), limits, "instances")
                outputs = _parse_outputs(contract, document)
                datatype, place = str(contract.matrix_datatype), _place_by_index(contract)
                return InferenceRequest(
                    UncheckedMatrix(len(array), array.reshape(-1), datatype, place), "", outputs
                )
    return parse(contract, parse_object(body), limits)


def parse(contract: Contract, document: Mapping[str, Any], limits: Limits) -> InferenceRequest:
    """Parse a request: ``instances`` as lists of values, or as objects by feature name.

    The numbers of a matrix are validated later, together with those of other requests.

    Args:
        contract: The model's contract.
        document: The request's JSON object.
        limits: The server's limits.

    Raises:
        RequestError: If the contract or the limits do not allow the request.
    """
    rows = document.get("instances")
    if not isinstance(rows, list):
        received = shown(rows) if "instances" in document else shown_keys(document)
        raise RequestError(f"instances: expected a list of rows, received {received}.")
    check_row_count(len(rows), limits, "instances")
    types = set(map(type, rows))
    if types == _OBJECTS:
        rows = _rows_by_name(contract, rows)
        place = _place_by_name(contract)
    elif types == _LISTS:
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
            f"instances[{index}]: expected {width} values, one per feature, received {len(rows[index])}.",
            violation=Violation.SHAPE,
        )
    outputs = _parse_outputs(contract, document)
    return InferenceRequest(_inputs(contract, rows, place), "", outputs)


def _parse_outputs(contract: Contract, document: Mapping[str, Any]) -> tuple[Output, ...]:
    """Return the outputs that the request names, and the prediction if it names none."""
    if "parameters" not in document:
        return (contract.prediction,)
    parameters = document["parameters"]
    if not isinstance(parameters, dict):
        raise RequestError(f"parameters: expected an object, received {shown(parameters)}.")
    if "outputs" not in parameters:
        return (contract.prediction,)
    names = parameters["outputs"]
    if not isinstance(names, list) or not names:
        received = "an empty list" if names == [] else shown(names)
        raise RequestError(f"parameters.outputs: expected a list of names of outputs, received {received}.")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise RequestError(f"parameters.outputs[{index}]: expected a name, received {shown(name)}.")
    return select_outputs(contract, names, "parameters.outputs[{}]")


def _inputs(contract: Contract, rows: list[list[Any]], place: Place) -> Inputs:
    if contract.matrix_datatype is not None:
        flat = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
        return unchecked_matrix(contract, len(rows), flat, contract.matrix_datatype, place)
    return unchecked_rows(contract, rows, place)


def _rows_by_name(contract: Contract, rows: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the values of each object in the order of the features."""
    names = contract.feature_names
    known = set(names)
    return [
        [row[name] for name in names] if row.keys() == known else _values_by_name(contract, row, index)
        for index, row in enumerate(rows)
    ]


def _values_by_name(contract: Contract, row: dict[str, Any], index: int) -> list[Any]:
    """Return the values of an object with other keys than all features; a missing value may be omitted."""
    names = contract.feature_names
    known = set(names)
    if not row.keys() <= known:
        unknown = next(key for key in row if key not in known)
        raise RequestError(
            f"instances[{index}]: expected only features of the model, received '{unknown:.60}'.",
            violation=Violation.UNEXPECTED_FEATURE,
        )
    for feature in contract.features:
        if feature.name not in row and not feature.missing:
            raise RequestError(
                f"instances[{index}]: expected the feature '{feature.name}', received an object without it.",
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


def encode(outputs: Sequence[Output], result: ResultSlice) -> bytes:
    """Encode a response: the values of one output, or an object per row with several outputs."""
    first = outputs[0]
    if len(outputs) == 1 and first.width is None:
        rows = encode_elements(result, first.name)
    elif len(outputs) == 1:
        rows = b",".join(_encode_values(first, result))
    else:
        keys = [orjson.dumps(output.name) for output in outputs]
        columns = [_encode_values(output, result) for output in outputs]
        rows = b",".join(
            b"{%b}" % b",".join([b"%b:%b" % member for member in zip(keys, values, strict=True)])
            for values in zip(*columns, strict=True)
        )
    return b'{"predictions":[%b]}' % rows


def _encode_values(output: Output, result: ResultSlice) -> list[bytes]:
    """Encode an output's value, or list of values, for each row."""
    rows = encode_rows(result.array(output.name))
    return rows if output.width is None else [b"[%b]" % row for row in rows]
