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

from tidegate.batch import Array, Batch
from tidegate.contract import Contract, Output
from tidegate_serving.codecs.inputs import Inputs, unchecked_matrix
from tidegate_serving.codecs.json_rows import encode_elements, encode_rows, shown_keys
from tidegate_serving.codecs.request import InferenceRequest, Limits, check_row_count, select_outputs
from tidegate_serving.codecs.validation import Place, array_from_json, validate_values
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import RequestError, Violation, shown

_OBJECTS, _LISTS = {dict}, {list}


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
        rows = [_values_by_name(contract, row, index) for index, row in enumerate(rows)]
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
    outputs = _parse_outputs(contract, document) if "parameters" in document else (contract.prediction,)
    return InferenceRequest(_inputs(contract, rows, place), "", outputs)


def _parse_outputs(contract: Contract, document: Mapping[str, Any]) -> tuple[Output, ...]:
    """Return the outputs that the request names, and the prediction if it names none."""
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
    columns: dict[str, Array] = {}
    # One validation per data type, because a validation has a fixed cost.
    for block in contract.blocks:
        numbers, features = tuple(block), tuple(block.values())

        def place_in_row(index: int, numbers: Sequence[int] = numbers) -> str:
            row, column = divmod(index, len(numbers))
            return place(row * len(contract.features) + numbers[column])

        datatype = str(features[0].datatype)
        elements = [row[number] for row in rows for number in numbers]
        array = array_from_json(elements, datatype, place_in_row, features)
        values = validate_values(features, array, datatype, place_in_row)
        columns |= {feature.name: values[:, column] for column, feature in enumerate(features)}
    return Batch.from_columns(contract, columns)


def _values_by_name(contract: Contract, row: dict[str, Any], index: int) -> list[Any]:
    """Return an object's values in the order of the features. Features that may be missing may be omitted."""
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
