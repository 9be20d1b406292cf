# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Encoding: from a model's answers to the bytes of a V1 or V2 response.

Floats are printed in the shortest form that reads back the same FP32, so 0.1 and not 0.10000000149011612.
What requests computed together share is printed once for all of them, and what never changes once at all.
It checks nothing: the answers are the engine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import orjson

from tidegate.batch import Batch
from tidegate.contract import Contract, Datatype, Output
from tidegate_serving.codecs.request import InferenceRequest
from tidegate_serving.codecs.validation import Array

Outputs = Mapping[str, Array]
"""By output name, an array of shape ``[rows]`` or ``[rows, width]`` in the output's data type."""

_FEW = 8
"""Rows up to which a request's answers are put together from rows printed for all."""

_REMEMBERED = 64
"""Numbers of rows for which the form of a response is kept."""

_text = lru_cache(maxsize=4096)(orjson.dumps)
"""JSON of a label: there are few, and each is answered again and again."""


class BatchResult:
    """The rows and answers of one call of the engine, printed row by row when first asked for."""

    def __init__(self, batch: Batch, answers: Outputs) -> None:
        self.batch = batch
        self.answers = answers
        self._printed: dict[str, list[bytes]] = {}

    def rows(self, name: str) -> list[bytes]:
        """Each row's elements as JSON, separated by commas."""
        printed = self._printed.get(name)
        if printed is None:
            printed = self._printed[name] = _rows(self.answers[name])
        return printed


@dataclass(slots=True)
class ResultSlice:
    """One request's part of a sheet: the rows from ``start`` to before ``stop``."""

    sheet: BatchResult
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def array(self, name: str) -> Array:
        """An output's values."""
        return self.sheet.answers[name][self.start : self.stop]

    def elements(self, name: str) -> bytes:
        """An output's values as JSON, row by row, separated by commas."""
        count = self.stop - self.start
        if count == 1:
            return self.sheet.rows(name)[self.start]
        if count <= _FEW:
            return b",".join(self.sheet.rows(name)[self.start : self.stop])
        flat = self.array(name).reshape(-1)
        content = flat.tolist() if flat.dtype.kind == "O" else np.ascontiguousarray(flat)
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _rows(array: Array) -> list[bytes]:
    if array.dtype.kind == "O":
        if array.ndim == 1:
            return [_text(value) for value in array.tolist()]
        return [b",".join(map(_text, row)) for row in array.tolist()]
    printed = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    # No number's text holds a comma or a bracket, so the row's end can be found in the text.
    return printed[1:-1].split(b",") if array.ndim == 1 else printed[2:-2].split(b"],[")


def v1(contract: Contract, share: ResultSlice) -> bytes:
    """A V1 response: the prediction of each row."""
    output = contract.prediction
    if output.width is None:
        return b'{"predictions":[%b]}' % share.elements(output.name)
    rows = b"],[".join(_rows(share.array(output.name)))
    return b'{"predictions":[[%b]]}' % rows


class V2:
    """The V2 responses of one model."""

    def __init__(self, name: str, version: str, outputs: tuple[Output, ...]) -> None:
        self._head = b'{"model_name":%b,"model_version":%b,"id":' % (
            orjson.dumps(name),
            orjson.dumps(version),
        )
        self._outputs = outputs
        self._names = [output.name for output in outputs]
        self._forms: dict[int, bytes] = {}
        """By rows, a response of all outputs in JSON, with gaps for the id and each output's elements."""

    def encode(self, question: InferenceRequest, share: ResultSlice) -> tuple[bytes, int | None]:
        """A response.

        Returns:
            The body, and how many bytes of it are JSON if binary tensors follow, else None.
        """
        outputs, rows = question.outputs, share.stop - share.start
        if outputs is self._outputs and not question.binary:  # as most are: half the time of what is below
            form = self._forms.get(rows) or self._form(rows)
            return form % (orjson.dumps(question.id), *map(share.elements, self._names)), None
        content = [self._head, orjson.dumps(question.id), b',"outputs":[']
        binary: list[bytes] = []
        for output, opening in zip(outputs, _openings(outputs, rows), strict=True):
            content.append(opening)
            if output.name in question.binary:
                binary.append(raw(output, share.array(output.name)))
                content.append(b'"parameters":{"binary_data_size":%d}}' % len(binary[-1]))
            else:
                content += (b'"data":[', share.elements(output.name), b"]}")
        content.append(b"]}")
        header = b"".join(content)
        return (b"".join([header, *binary]), len(header)) if binary else (header, None)

    def _form(self, rows: int) -> bytes:
        head, *openings = (
            part.replace(b"%", b"%%") for part in (self._head, *_openings(self._outputs, rows))
        )
        tensors = b"".join(b'%b"data":[%%b]}' % opening for opening in openings)
        form = b'%b%%b,"outputs":[%b]}' % (head, tensors)
        if len(self._forms) < _REMEMBERED:
            self._forms[rows] = form
        return form


def _openings(outputs: tuple[Output, ...], rows: int) -> list[bytes]:
    """Name, shape and data type of each tensor, from its brace on, or the comma before."""
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


def v2(name: str, version: str, question: InferenceRequest, share: ResultSlice) -> tuple[bytes, int | None]:
    """A V2 response, as :meth:`V2.encode` makes it."""
    return V2(name, version, ()).encode(question, share)


def raw(output: Output, array: Array) -> bytes:
    """A tensor as bytes: little-endian, row by row, BYTES each with its length before it in four bytes."""
    if output.datatype is Datatype.BYTES:
        elements = [str(value).encode() for value in array.reshape(-1)]
        return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
