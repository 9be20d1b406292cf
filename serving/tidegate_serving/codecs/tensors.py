# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Input tensors of the Open Inference Protocol, over REST or gRPC, assembled to a request's rows.

A model whose features are numbers of one type accepts one matrix, or one tensor per feature. Every other
model accepts one tensor per feature. The protocols' codecs read the elements.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.batch import Array, Batch
from tidegate.contract import MATRIX, Contract
from tidegate_serving.codecs.inputs import Inputs, UncheckedMatrix, unchecked_matrix
from tidegate_serving.codecs.request import Limits, check_row_count
from tidegate_serving.codecs.validation import DATATYPES, Place, array_from_json, validate_values
from tidegate_serving.errors import RequestError, Violation

_MAX_DIMENSIONS = 2
_SHOWN_FEATURES = 5
_TEXT_LENGTH_BYTES = 4


@dataclass(slots=True)
class Tensor:
    """One input tensor, as the client declared it."""

    where: str
    """The tensor's place in the request, such as ``inputs[0]``."""
    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: list[Any] | Array
    """The elements in row-major order: JSON values unchanged, all others as an array of the declared data
    type."""
    place: Place
    """Names an element's place in the request."""


def parse_shape(where: str, shape: Sequence[object]) -> tuple[int, ...]:
    """Parse a shape: ``[rows]`` or ``[rows, columns]``, because no model here has other inputs.

    Raises:
        RequestError: If the shape has another number of dimensions, or a size is not an integer of at least
            0.
    """
    # The dimensions first: the product of very many sizes would block the event loop for minutes.
    if not 1 <= len(shape) <= _MAX_DIMENSIONS:
        raise RequestError(
            f"{where}.shape: expected one or two sizes, [rows] or [rows, columns], received {len(shape)}."
        )
    for size in shape:
        if type(size) is not int or size < 0:
            raise RequestError(
                f"{where}.shape: expected a list of integers of at least 0, received {list(shape)!r:.60}."
            )
    return tuple(shape)  # type: ignore[arg-type]  # each size is an integer


def parse_datatype(where: str, datatype: object) -> str:
    """Parse the name of a data type.

    Raises:
        RequestError: If the protocol has no such data type.
    """
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise RequestError(
            f"{where}.datatype: expected one of {', '.join(DATATYPES)}, received {datatype!r:.60}."
        )
    return datatype


def check_tensor_count(contract: Contract, count: int) -> None:
    """Check, before any tensor is parsed, that there are at most as many tensors as features.

    Raises:
        RequestError: If there are more.
    """
    if count > len(contract.features):
        raise RequestError(
            f"inputs: expected at most {len(contract.features)} tensors, one per feature, received {count}."
        )


def check_element_count(where: str, shape: tuple[int, ...], count: int) -> None:
    """Check that a tensor has as many elements as its shape says.

    Args:
        where: The tensor's place in the request.
        shape: The declared shape.
        count: The actual number of elements.

    Raises:
        RequestError: If the numbers differ.
    """
    if math.prod(shape) != count:
        raise RequestError(
            f"{where}.data: expected {math.prod(shape)} elements for shape {list(shape)}, received {count}."
        )


def parse_raw_tensor(where: str, datatype: str, shape: tuple[int, ...], content: bytes | memoryview) -> Array:
    """Parse the elements of a tensor of raw bytes.

    From the Open Inference Protocol, "Binary Tensor Data extension": row-major order, numbers little-endian,
    each BYTES element after its length in four bytes.

    Args:
        where: The tensor's place in the request.
        datatype: The declared data type.
        shape: The declared shape.
        content: The tensor's bytes.

    Returns:
        Shape ``[elements]``.

    Raises:
        RequestError: If the number of bytes contradicts the shape, or the bytes are not such elements.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        texts = _parse_texts(where, content, count)
        check_element_count(where, shape, len(texts))
        return np.array(texts, dtype=object)
    dtype = DATATYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise RequestError(
            f"{where}: expected {count * dtype.itemsize} bytes for {datatype} of shape {list(shape)}, "
            f"received {len(content)}."
        )
    if datatype == "BOOL":
        flags = np.frombuffer(content, dtype=np.uint8)
        if (flags > 1).any():
            raise RequestError(
                f"{where}: expected the bytes 0 and 1 in a BOOL tensor, received {int(flags.max())}."
            )
        return flags.astype(np.bool_)
    return np.frombuffer(content, dtype=dtype)


def _parse_texts(where: str, tensor: bytes | memoryview, count: int) -> list[str]:
    """Parse BYTES elements, each after its length in four bytes, little-endian."""
    texts: list[str] = []
    content, start = bytes(tensor), 0
    while start < len(content):
        if len(texts) == count:
            raise RequestError(
                f"{where}: expected {count} BYTES elements, as the shape says, received more: "
                f"{len(content) - start} bytes follow."
            )
        begin = start + _TEXT_LENGTH_BYTES
        end = begin + int.from_bytes(content[start:begin], "little")
        if begin > len(content) or end > len(content):
            raise RequestError(
                f"{where}: expected each BYTES element after its length in {_TEXT_LENGTH_BYTES} bytes, "
                f"received element {len(texts)}, which ends after the tensor."
            )
        texts.append(decode_text(content[begin:end], where, len(texts)))
        start = end
    return texts


def decode_text(content: bytes, where: str, index: int) -> str:
    """Decode a BYTES element.

    Args:
        content: The element's bytes.
        where: The tensor's place in the request.
        index: The element's index.

    Raises:
        RequestError: If the bytes are not valid UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise RequestError(f"{where} element {index}: expected UTF-8 text, received other bytes.") from None


def assemble_inputs(contract: Contract, tensors: Sequence[Tensor], limits: Limits) -> Inputs:
    """Assemble a request's tensors to its rows. A matrix is validated later, together with others.

    Args:
        contract: The model's contract.
        tensors: The request's tensors.
        limits: The server's limits.

    Raises:
        RequestError: If a tensor is unknown, missing, duplicate, or has another shape, data type or number
            of rows than the contract allows.
    """
    if not tensors:
        raise RequestError("inputs: expected at least one tensor, received none.")
    if _is_matrix(contract, tensors):
        return _matrix(contract, tensors[0], limits)
    tensors_by_name = {tensor.name: tensor for tensor in tensors}
    if len(tensors_by_name) != len(tensors):
        raise RequestError("inputs: expected each name once, received one twice.")
    return _columns(contract, tensors_by_name, limits)


def _is_matrix(contract: Contract, tensors: Sequence[Tensor]) -> bool:
    """Return whether one tensor is the whole matrix, which may have any name except a feature's."""
    return (
        len(tensors) == 1
        and contract.matrix_datatype is not None
        and (tensors[0].name == MATRIX or tensors[0].name not in contract.feature_names)
    )


def _matrix(contract: Contract, tensor: Tensor, limits: Limits) -> UncheckedMatrix:
    width = len(contract.features)
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        raise RequestError(
            f"{tensor.where}.shape: expected [rows, {width}], one column per feature, received "
            f"{list(tensor.shape)}.",
            violation=Violation.SHAPE,
        )
    check_row_count(tensor.shape[0], limits, tensor.where)
    if isinstance(tensor.elements, list):
        return unchecked_matrix(contract, tensor.shape[0], tensor.elements, tensor.datatype, tensor.place)
    return UncheckedMatrix(tensor.shape[0], tensor.elements, tensor.datatype, tensor.place)


def _columns(contract: Contract, tensors: dict[str, Tensor], limits: Limits) -> Batch:
    known = set(contract.feature_names)
    if unknown := [name for name in tensors if name not in known]:
        matrix = f" or the matrix '{MATRIX}'" if contract.matrix_datatype else ""
        raise RequestError(
            f"{tensors[unknown[0]].where}.name: expected one of the model's features{matrix}, received "
            f"'{unknown[0]:.60}'.",
            violation=Violation.UNEXPECTED_FEATURE,
        )
    if missing := [name for name in contract.feature_names if name not in tensors]:
        listed = ", ".join(f"'{name}'" for name in missing[:_SHOWN_FEATURES])
        more = f" and {len(missing) - _SHOWN_FEATURES} more" if len(missing) > _SHOWN_FEATURES else ""
        raise RequestError(
            f"inputs: expected one tensor for each of the {len(contract.features)} features, received none "
            f"for {listed}{more}.",
            violation=Violation.MISSING_FEATURE,
            feature=missing[0],
        )
    rows = tensors[contract.feature_names[0]].shape[0]
    columns: dict[str, Array] = {}
    for feature in contract.features:
        tensor = tensors[feature.name]
        if tensor.shape not in ((rows,), (rows, 1)):
            raise RequestError(
                f"{tensor.where}.shape: expected [{rows}] or [{rows}, 1] like the other features, "
                f"received {list(tensor.shape)}.",
                violation=Violation.SHAPE,
                feature=feature.name,
            )
        check_row_count(rows, limits, tensor.where)
        elements = tensor.elements
        if isinstance(elements, list):
            elements = array_from_json(elements, tensor.datatype, tensor.place, [feature])
        columns[feature.name] = validate_values([feature], elements, tensor.datatype, tensor.place).reshape(
            -1
        )
    return Batch.from_columns(contract, columns)
