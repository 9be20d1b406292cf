# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A request's rows before validation, so that the rows of a whole batch are validated in one call.

Validation has a fixed cost per data type, so the requests of a batch are validated together. Only if that
fails is each request validated alone, to find the request that caused it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np

from tidegate.batch import Array, Batch
from tidegate.contract import MATRIX, Contract
from tidegate_serving.codecs.validation import Place, array_from_json, validate_values

ARRAY_VALUES = 2_048
"""The number of values from which a request is converted at once, because an array in the queue takes less
memory than a list of Python's numbers."""


@dataclass(slots=True)
class UncheckedMatrix:
    """One request's rows for a model whose features are numbers of one type."""

    rows: int
    """The number of rows."""
    elements: list[Any] | Array
    """The values in row-major order, shape ``[rows * features]``."""
    datatype: str
    """The data type that the client declared."""
    place: Place
    """Names an element's place in the request."""

    def __len__(self) -> int:
        return self.rows


@dataclass(slots=True)
class UncheckedRows:
    """One request's rows for a model whose features have several data types, or are texts."""

    values: Sequence[Sequence[Any]]
    """The JSON values, shape ``[rows, features]``. The client declared the contract's data types."""
    place: Place
    """Names an element's place in the request, from its index in row-major order."""

    def __len__(self) -> int:
        return len(self.values)


Inputs = UncheckedMatrix | UncheckedRows | Batch
"""A request's rows: not validated yet, or a validated batch."""


def unchecked_matrix(
    contract: Contract, rows: int, elements: list[Any], datatype: str, place: Place
) -> UncheckedMatrix:
    """Make a matrix from JSON values. The values of a large one are converted to an array at once.

    Args:
        contract: The model's contract.
        rows: The number of rows.
        elements: The values in row-major order.
        datatype: The declared data type.
        place: Names an element's place in the request.

    Raises:
        RequestError: If a large matrix has a value that its data type does not allow.
    """
    if len(elements) < ARRAY_VALUES:
        return UncheckedMatrix(rows, elements, datatype, place)
    array = array_from_json(elements, datatype, place, contract.features)
    return UncheckedMatrix(rows, array, datatype, place)


def unchecked_rows(
    contract: Contract, values: Sequence[Sequence[Any]], place: Place
) -> UncheckedRows | Batch:
    """Make rows from JSON values, one value per feature and row. Many values are validated at once.

    Args:
        contract: The model's contract, whose features are not numbers of one type.
        values: The values, shape ``[rows, features]``.
        place: Names an element's place in the request.

    Raises:
        RequestError: If the contract does not allow one of many values.
    """
    if len(values) * len(contract.features) < ARRAY_VALUES:
        return UncheckedRows(values, place)
    return _validate_rows(contract, values, place)


def validate_inputs(contract: Contract, inputs: Sequence[Inputs]) -> Batch:
    """Validate the rows of one or several requests, and join them in order.

    Returns:
        The rows of all requests in the contract's data types.

    Raises:
        RequestError: If the contract does not allow a value. The error names the value's place correctly if
            there is one request; of several requests it names a place in the joined rows.
    """
    if len(inputs) == 1:
        return _validate_like(contract, inputs)
    return Batch.concatenate([_validate_like(contract, list(group)) for _, group in groupby(inputs, _kind)])


def _kind(inputs: Inputs) -> object:
    return (inputs.datatype, type(inputs.elements)) if isinstance(inputs, UncheckedMatrix) else type(inputs)


def _validate_like(contract: Contract, inputs: Sequence[Inputs]) -> Batch:
    """Validate and join inputs that are all of one kind."""
    first = inputs[0]
    if isinstance(first, Batch):
        return Batch.concatenate(inputs)  # type: ignore[arg-type]
    if isinstance(first, UncheckedRows):
        rows = [row for one in inputs for row in one.values]  # type: ignore[union-attr]
        return _validate_rows(contract, rows, first.place)
    parts: list[Any] = [matrix.elements for matrix in inputs]  # type: ignore[union-attr]
    if isinstance(first.elements, list):
        values = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
        elements = array_from_json(values, first.datatype, first.place, contract.features)
    else:
        elements = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Batch({MATRIX: validate_values(contract.features, elements, first.datatype, first.place)})


def _validate_rows(contract: Contract, rows: Sequence[Sequence[Any]], place: Place) -> Batch:
    """Validate JSON values, shape ``[rows, features]``, with one validation per data type."""
    columns: dict[str, Array] = {}
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
