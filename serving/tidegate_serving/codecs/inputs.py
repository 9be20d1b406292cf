# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A request's rows before validation, so that the rows of a whole batch are validated in one call.

Validating numbers has a fixed cost per call, so a batch of requests is validated as one array. Only if that
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

_ARRAY_VALUES = 2_048
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


Inputs = UncheckedMatrix | Batch
"""A request's rows: a matrix that is not validated yet, or a validated batch."""


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
    if len(elements) < _ARRAY_VALUES:
        return UncheckedMatrix(rows, elements, datatype, place)
    array = array_from_json(elements, datatype, place, contract.features)
    return UncheckedMatrix(rows, array, datatype, place)


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
    return None if isinstance(inputs, Batch) else (inputs.datatype, type(inputs.elements))


def _validate_like(contract: Contract, inputs: Sequence[Inputs]) -> Batch:
    """Validate and join inputs that are all of one kind."""
    first = inputs[0]
    if isinstance(first, Batch):
        return Batch.concatenate(inputs)  # type: ignore[arg-type]
    parts: list[Any] = [matrix.elements for matrix in inputs]  # type: ignore[union-attr]
    if isinstance(first.elements, list):
        values = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
        elements = array_from_json(values, first.datatype, first.place, contract.features)
    else:
        elements = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Batch({MATRIX: validate_values(contract.features, elements, first.datatype, first.place)})
