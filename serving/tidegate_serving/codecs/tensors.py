# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors: the inputs of a V2 request, over REST or gRPC, put together into the batch that the model takes.

A model whose features are numbers of one type takes one matrix or a tensor a feature, any other model a
tensor a feature. Reading the elements is the decoders' part.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract
from tidegate_serving.codecs.inputs import Inputs, UncheckedMatrix, matrix
from tidegate_serving.codecs.request import Limits, check_rows
from tidegate_serving.codecs.validation import DATATYPES, Array, Place, fit, from_json
from tidegate_serving.errors import RequestError, Violation

_NAMED = 5
_DIMENSIONS = 2


@dataclass(slots=True)
class Tensor:
    """One input: what the client declared, and its elements, flat and row by row."""

    where: str
    """Which input it is, in the client's words."""
    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: list[Any] | Array
    """JSON's values as they are, anything else as an array of the declared type."""
    place: Place


def check_shape(where: str, shape: Sequence[object]) -> tuple[int, ...]:
    """A shape as a tuple of integers.

    Raises:
        RequestError: It is neither ``[rows]`` nor ``[rows, columns]``, which are all that a model here has.
    """
    # By number first: the product of very many sizes would keep the event loop busy for minutes.
    if not 1 <= len(shape) <= _DIMENSIONS:
        raise RequestError(
            f"{where}.shape: expected one or two sizes, [rows] or [rows, columns], received {len(shape)}."
        )
    for size in shape:
        if type(size) is not int or size < 0:
            raise RequestError(
                f"{where}.shape: expected a list of integers from 0 on, received {list(shape)!r:.60}."
            )
    return tuple(shape)  # type: ignore[arg-type]  # every one of them is an integer


def check_count(contract: Contract, count: int) -> None:
    """Refuse more tensors than the model has features, before any of them is read.

    Raises:
        RequestError: There are more.
    """
    if count > len(contract.features):
        raise RequestError(
            f"inputs: expected at most {len(contract.features)} tensors, one a feature, received {count}."
        )


def check_datatype(where: str, datatype: object) -> str:
    """A datatype's name.

    Raises:
        RequestError: The protocol has no such type.
    """
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise RequestError(
            f"{where}.datatype: expected one of {', '.join(DATATYPES)}, received {datatype!r:.60}."
        )
    return datatype


def check_length(where: str, shape: tuple[int, ...], length: int) -> None:
    """Compare the number of elements with the shape.

    Raises:
        RequestError: They differ.
    """
    if math.prod(shape) != length:
        raise RequestError(
            f"{where}.data: expected {math.prod(shape)} elements for shape {list(shape)}, received {length}."
        )


def from_raw(where: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> Array:
    """The elements of a tensor sent as bytes: little-endian, row by row, BYTES each after its length.

    Raises:
        RequestError: The bytes are not as many as the shape says, or no such elements.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        elements = _split_bytes(where, raw, count)
        check_length(where, shape, len(elements))
        return np.array(elements, dtype=object)
    dtype = DATATYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise RequestError(
            f"{where}: expected {count * dtype.itemsize} bytes for {datatype} of shape {list(shape)}, "
            f"received {len(raw)}."
        )
    if datatype == "BOOL":
        flags = np.frombuffer(raw, dtype=np.uint8)
        if (flags > 1).any():
            raise RequestError(
                f"{where}: expected the bytes 0 and 1 in a BOOL tensor, received {int(flags.max())}."
            )
        return flags.astype(np.bool_)
    return np.frombuffer(raw, dtype=dtype)


def _split_bytes(where: str, raw: bytes | memoryview, count: int) -> list[str]:
    """Split elements that each have their length before them, in four bytes, little-endian."""
    elements: list[str] = []
    content, start = bytes(raw), 0
    while start < len(content):
        if len(elements) == count:
            raise RequestError(
                f"{where}: expected {count} BYTES elements, as the shape says, received more: "
                f"{len(content) - start} bytes follow."
            )
        end = start + 4 + int.from_bytes(content[start : start + 4], "little")
        if start + 4 > len(content) or end > len(content):
            raise RequestError(
                f"{where}: expected BYTES elements each with its length before it in 4 bytes, received an "
                f"element {len(elements)} that ends after the tensor."
            )
        elements.append(utf8(content[start + 4 : end], where, len(elements)))
        start = end
    return elements


def utf8(content: bytes, where: str, index: int) -> str:
    """An element's text from its bytes.

    Raises:
        RequestError: They are no UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise RequestError(f"{where} element {index}: expected UTF-8 text, received other bytes.") from None


def assemble(contract: Contract, tensors: Sequence[Tensor], limits: Limits) -> Inputs:
    """The rows that all inputs of a request make together; a matrix is left to be checked with others.

    Raises:
        RequestError: An input is unknown, missing, given twice, or of another shape, type or length.
    """
    if not tensors:
        raise RequestError("inputs: expected at least one tensor, received none.")
    if _is_matrix(contract, tensors):
        return _matrix(contract, tensors[0], limits)
    named = {tensor.name: tensor for tensor in tensors}
    if len(named) != len(tensors):
        raise RequestError("inputs: expected each name once, received one twice.")
    return _columns(contract, named, limits)


def _is_matrix(contract: Contract, tensors: Sequence[Tensor]) -> bool:
    """Whether one tensor is meant as the whole matrix: clients name it as they like."""
    return (
        len(tensors) == 1
        and contract.matrix_datatype is not None
        and tensors[0].name not in contract.feature_names
    )


def _matrix(contract: Contract, tensor: Tensor, limits: Limits) -> UncheckedMatrix:
    width = len(contract.features)
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        raise RequestError(
            f"{tensor.where}.shape: expected [rows, {width}], a column a feature, received "
            f"{list(tensor.shape)}.",
            violation=Violation.SHAPE,
        )
    check_rows(tensor.shape[0], limits, tensor.where)
    if isinstance(tensor.elements, list):
        return matrix(contract, tensor.shape[0], tensor.elements, tensor.datatype, tensor.place)
    return UncheckedMatrix(tensor.shape[0], tensor.elements, tensor.datatype, tensor.place)


def _columns(contract: Contract, named: dict[str, Tensor], limits: Limits) -> Batch:
    if unknown := [name for name in named if name not in contract.feature_names]:
        matrix = f" or the matrix '{MATRIX}'" if contract.matrix_datatype else ""
        raise RequestError(
            f"{named[unknown[0]].where}.name: expected one of the model's features{matrix}, received "
            f"'{unknown[0]:.60}'.",
            violation=Violation.UNEXPECTED_FEATURE,
        )
    if absent := [name for name in contract.feature_names if name not in named]:
        few = ", ".join(f"'{name}'" for name in absent[:_NAMED])
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        raise RequestError(
            f"inputs: expected a tensor for each of the {len(contract.features)} features, received none "
            f"for {few}{more}.",
            violation=Violation.MISSING_FEATURE,
            feature=absent[0],
        )
    rows = named[contract.feature_names[0]].shape[0]
    columns: dict[str, Array] = {}
    for feature in contract.features:
        tensor = named[feature.name]
        if tensor.shape not in ((rows,), (rows, 1)):
            raise RequestError(
                f"{tensor.where}.shape: expected [{rows}] or [{rows}, 1] like the other features, "
                f"received {list(tensor.shape)}.",
                violation=Violation.SHAPE,
                feature=feature.name,
            )
        check_rows(rows, limits, tensor.where)
        elements = tensor.elements
        if isinstance(elements, list):
            elements = from_json(elements, tensor.datatype, tensor.place, [feature])
        columns[feature.name] = fit([feature], elements, tensor.datatype, tensor.place).reshape(-1)
    return Batch.from_columns(contract, columns)
