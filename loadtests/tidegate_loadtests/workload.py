# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Questions: requests made and encoded before the campaign begins, and the check of what comes back.

Rows are drawn from the contract; some questions are the contract's golden ones, whose answers are known.
It neither sends nor times anything.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import orjson

from tidegate.contract import Contract, Datatype, Scalar, close
from tidegate.protocol.requests import v1_body, v2_binary_body, v2_body
from tidegate.protocol.samples import sample_rows
from tidegate_loadtests.plan import LoadTest, Protocol

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header of the binary tensor extension: how many bytes of the body are JSON."""

_QUESTIONS = 512
_VALUES = 500_000
"""Bounds the deck: this many questions, or fewer so that they hold no more than this many values."""
_GOLDEN_EVERY = 8


@dataclass(frozen=True, slots=True)
class Question:
    """A request, ready to send, and what is known of its answer."""

    protocol: Protocol
    path: str
    headers: Mapping[str, str]
    body: bytes
    rows: int
    expected: Mapping[str, Sequence[Scalar]] | None
    """By output name, the values of the right answer row by row; None if only its shape is known."""


def deck(plan: LoadTest, contract: Contract) -> list[Question]:
    """Questions in the plan's mix of protocols, each with other rows; the same seed gives the same deck."""
    size = max(_GOLDEN_EVERY, min(_QUESTIONS, _VALUES // (plan.rows * len(contract.features))))
    source = random.Random(plan.seed)
    protocols = source.choices(list(plan.protocols), list(plan.protocols.values()), k=size)
    rows = sample_rows(contract, size * plan.rows, plan.seed)
    golden = cycle(range(len(contract.golden.rows)))
    questions = []
    for index, protocol in enumerate(protocols):
        if index % _GOLDEN_EVERY == 0:
            chosen = list(islice(golden, plan.rows))
            asked: list[Sequence[Scalar]] = [contract.golden.rows[row] for row in chosen]
            expected = {
                name: _flat([answers[row] for row in chosen])
                for name, answers in contract.golden.outputs.items()
            }
            questions.append(_encode(protocol, contract, asked, expected))
        else:
            asked = [*rows[index * plan.rows : (index + 1) * plan.rows]]
            questions.append(_encode(protocol, contract, asked, None))
    return questions


def mistake(question: Question, contract: Contract, header_length: str | None, body: bytes) -> str | None:
    """What is wrong with the body of an answer of status 200; None if nothing is.

    Args:
        question: What was asked.
        contract: What the answer must look like.
        header_length: The answer's ``Inference-Header-Content-Length``, if it has one.
        body: The answer's body.
    """
    try:
        if question.protocol is Protocol.V1:
            answers = {contract.prediction.name: orjson.loads(body)["predictions"]}
            widths = {contract.prediction.name: 1}
        else:
            answers = _tensors(body, header_length)
            widths = {output.name: output.width or 1 for output in contract.outputs}
        if answers.keys() != widths.keys():
            return f"wrong answer: outputs {', '.join(answers)}"
        for name, width in widths.items():
            if not isinstance(answers[name], list):
                return f"wrong answer: the values of {name} are no list"
            if len(answers[name]) != question.rows * width:
                return f"wrong answer: {len(answers[name])} values of {name} for {question.rows} rows"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "wrong answer: not of the protocol's form"
    for name, expected in (question.expected or {}).items():
        if name in answers and not all(
            close(answer, value, contract.golden.tolerance)
            for answer, value in zip(answers[name], expected, strict=True)
        ):
            return f"wrong answer: {name} of a golden row"
    return None


def _encode(
    protocol: Protocol,
    contract: Contract,
    rows: Sequence[Sequence[Scalar]],
    expected: Mapping[str, Sequence[Scalar]] | None,
) -> Question:
    # An answer that had to be unpacked first would measure the packing.
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    path = f"/v2/models/{contract.name}/infer"
    match protocol:
        case Protocol.V1:
            path, body = f"/v1/models/{contract.name}:predict", v1_body(contract, rows)
        case Protocol.V2:
            body = v2_body(contract, rows)
        case Protocol.V2_BINARY:
            body, length = v2_binary_body(contract, rows)
            headers |= {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
    return Question(protocol, path, headers, body, len(rows), expected)


def _tensors(body: bytes, header_length: str | None) -> dict[str, list[Any]]:
    """The values of each output, row by row; ValueError, KeyError or TypeError if it is no such answer."""
    length = len(body) if header_length is None else int(header_length)
    tensors = {}
    for output in orjson.loads(body[:length])["outputs"]:
        shape, size = output["shape"], output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = output["data"]
        else:
            values = _decode(body[length : length + size], Datatype(output["datatype"]))
            length += size
        if len(values) != math.prod(shape):
            raise ValueError("the shape is not that of the data")
        tensors[output["name"]] = values
    return tensors


def _decode(content: bytes, datatype: Datatype) -> list[Any]:
    if datatype is not Datatype.BYTES:
        return list(np.frombuffer(content, datatype.dtype.newbyteorder("<")).tolist())
    values, position = [], 0
    while position < len(content):
        end = position + 4 + int.from_bytes(content[position : position + 4], "little")
        values.append(content[position + 4 : end].decode())
        position = end
    return values


def _flat(answers: Sequence[Scalar | list[float]]) -> list[Scalar]:
    return [value for answer in answers for value in (answer if isinstance(answer, list) else [answer])]
