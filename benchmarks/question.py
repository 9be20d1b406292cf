# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Questions: the bytes that every server gets, and the labels that scikit-learn gave in training.

The rows are the bundle's golden rows, repeated as often as a request needs. Reading answers knows the forms
of all servers here; a form that it does not know is a wrong answer.
"""

import json
import math
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from benchmarks.case import Protocol
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Datatype, Scalar
from tidegate.protocol.requests import raw_contents, v1_body, v2_binary_body, v2_body

HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class Question:
    """A request and what must come back.

    Args:
        body: The request's bytes; of gRPC the serialized ``ModelInferRequest``.
        headers: What REST needs beside it.
        labels: scikit-learn's own answers, a label a row.
    """

    body: bytes
    headers: dict[str, str]
    labels: list[Any]


def ask(contract: Contract, protocol: Protocol, rows: int) -> Question:
    """The question with so many rows."""
    asked = list(islice(cycle(contract.golden.rows), rows))
    labels = list(islice(cycle(contract.golden.outputs[contract.prediction.name]), rows))
    headers = {"Content-Type": "application/json"}
    if protocol is Protocol.GRPC:
        return Question(_grpc_request(contract, asked), {}, labels)
    if protocol is Protocol.V2_BINARY:
        body, length = v2_binary_body(contract, asked)
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
    elif protocol is Protocol.V2:
        body = v2_body(contract, asked)
        if contract.matrix_datatype is None:
            # What tells other servers to make a data frame of the columns; Tidegate does so anyway.
            body = _json(json.loads(body) | {"parameters": {"content_type": "pd"}})
    elif contract.matrix_datatype is None:
        # Rows by name: a pipeline that picks its columns by name can make nothing of a list.
        names = contract.feature_names
        body = _json({"instances": [dict(zip(names, row, strict=True)) for row in asked]})
    else:
        body = v1_body(contract, asked)
    return Question(body, headers, labels)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _grpc_request(contract: Contract, rows: list[tuple[Scalar, ...]]) -> bytes:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

    (name, matrix), = Batch.from_rows(contract, rows).arrays.items()  # fmt: skip
    assert name == MATRIX, "gRPC is measured with models of numbers only"
    request = ModelInferRequest(model_name=contract.name, raw_input_contents=[raw_contents(matrix)])
    request.inputs.add(name=name, datatype=str(contract.matrix_datatype), shape=list(matrix.shape))
    return bytes(request.SerializeToString())


def labels(protocol: Protocol, content: bytes, header_length: str | None = None) -> list[Any]:
    """The labels in a server's answer.

    Args:
        protocol: How it was asked.
        content: The answer's bytes.
        header_length: The value of the answer's header of that name, if it has one.

    Raises:
        ValueError: The answer has no labels that can be found.
    """
    try:
        if protocol is Protocol.GRPC:
            return _grpc_labels(content)
        length = len(content) if header_length is None else int(header_length)
        document = json.loads(content[:length])
        if protocol is Protocol.BENTOML:
            return list(document)
        if protocol is Protocol.V1:
            return list(document["predictions"])
        output = document["outputs"][0]
        if "data" in output:
            return list(output["data"])
        size = output["parameters"]["binary_data_size"]
        return _values(output["datatype"], content[length : length + size])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no labels in it: {error!r}") from None


def _grpc_labels(content: bytes) -> list[Any]:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse

    response = ModelInferResponse.FromString(content)
    output = response.outputs[0]
    if response.raw_output_contents:
        return _values(output.datatype, response.raw_output_contents[0])
    return [int(value) for value in output.contents.int64_contents]


def _values(datatype: str, raw: bytes) -> list[Any]:
    return [value.item() for value in np.frombuffer(raw, Datatype(datatype).dtype.newbyteorder("<"))]


def difference(answered: list[Any], expected: list[Any]) -> str | None:
    """What is wrong with an answer, or None if nothing is. Labels are equal if their values are: 1 is 1.0."""
    if len(answered) != len(expected):
        return f"{len(answered)} labels for {len(expected)} rows"
    wrong = sum(_plain(a) != _plain(e) for a, e in zip(answered, expected, strict=True))
    return f"{wrong} of {len(expected)} labels are not scikit-learn's" if wrong else None


def _plain(label: Any) -> Any:
    """A label as it compares: servers wrap single values in a list, or make floats of whole numbers."""
    while isinstance(label, list) and len(label) == 1:
        label = label[0]
    return int(label) if isinstance(label, float) and math.isfinite(label) and label.is_integer() else label
