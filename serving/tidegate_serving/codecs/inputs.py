# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Matrices: requests' rows as they came, counted but not yet checked, so that many are checked at once.

A check of numbers costs some microseconds whatever their number, so it is made once for all requests that
are computed together. Only if it fails is each request checked alone, to find whose mistake it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract
from tidegate_serving.codecs.validation import Array, Place, fit, from_json

_LARGE = 2_048
"""Values from which a request is worth an array of its own: four times smaller than a list of numbers."""


@dataclass(slots=True)
class UncheckedMatrix:
    """One request's rows of a model whose features are numbers of one type."""

    rows: int
    elements: list[Any] | Array
    """Row by row; as long as rows times features."""
    datatype: str
    """The data type that the client declared."""
    place: Place
    """Where an element stood in the request."""

    def __len__(self) -> int:
        return self.rows


Inputs = UncheckedMatrix | Batch
"""A request's rows: to be checked, or checked already."""


def matrix(
    contract: Contract, rows: int, elements: list[Any], datatype: str, place: Place
) -> UncheckedMatrix:
    """A matrix from JSON values.

    Raises:
        RequestError: It is large, and a value is not what its data type allows.
    """
    if len(elements) < _LARGE:
        return UncheckedMatrix(rows, elements, datatype, place)
    return UncheckedMatrix(rows, from_json(elements, datatype, place, contract.features), datatype, place)


def check(contract: Contract, parts: Sequence[Inputs]) -> Batch:
    """The rows of all parts, in order, checked and in the contract's types.

    Raises:
        RequestError: A value is not what the contract allows. The sentence is right for a part alone; of
            several it names no place that a client could find.
    """
    if len(parts) == 1:
        return _check(contract, parts)
    return Batch.concatenate([_check(contract, list(run)) for _, run in groupby(parts, _kind)])


def _kind(inputs: Inputs) -> object:
    return None if isinstance(inputs, Batch) else (inputs.datatype, type(inputs.elements))


def _check(contract: Contract, parts: Sequence[Inputs]) -> Batch:
    """The rows of parts of one kind."""
    first = parts[0]
    if isinstance(first, Batch):
        return Batch.concatenate(parts)  # type: ignore[arg-type]
    columns: list[Any] = [part.elements for part in parts]  # type: ignore[union-attr]
    if isinstance(first.elements, list):
        values = columns[0] if len(columns) == 1 else list(chain.from_iterable(columns))
        elements = from_json(values, first.datatype, first.place, contract.features)
    else:
        elements = columns[0] if len(columns) == 1 else np.concatenate(columns)
    return Batch({MATRIX: fit(contract.features, elements, first.datatype, first.place)})
