# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Requests: the bytes that every server receives, and the labels that scikit-learn computed in training.

The rows are the bundle's golden rows, repeated to the number that a request needs. Parsing covers the
response forms of all servers here. A response in another form counts as wrong.
"""

import json
import math
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from benchmarks.case import Protocol
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Scalar
from tidegate.protocol import constants
from tidegate.protocol.requests import encode_raw_tensor, v1_body, v2_binary_body, v2_body
from tidegate.protocol.responses import decode_raw_tensor, parse_outputs


@dataclass(frozen=True, slots=True)
class BenchmarkRequest:
    """A request, and the expected labels.

    Args:
        body: The request's bytes; for gRPC the serialized ``ModelInferRequest``.
        headers: HTTP headers; empty for gRPC.
        labels: scikit-learn's labels, one per row.
    """

    body: bytes
    headers: dict[str, str]
    labels: list[Any]


def build_request(contract: Contract, protocol: Protocol, n_rows: int) -> BenchmarkRequest:
    """Build a request from the contract's golden rows.

    Args:
        contract: The model's contract.
        protocol: The protocol of the request.
        n_rows: Number of rows.
    """
    rows = list(islice(cycle(contract.golden.rows), n_rows))
    labels = list(islice(cycle(contract.golden.outputs[contract.prediction.name]), n_rows))
    headers = {"Content-Type": constants.JSON_MEDIA_TYPE}
    if protocol is Protocol.GRPC:
        return BenchmarkRequest(_grpc_request(contract, rows), {}, labels)
    if protocol is Protocol.V2_BINARY:
        body, length = v2_binary_body(contract, rows)
        headers = {
            "Content-Type": constants.BINARY_MEDIA_TYPE,
            constants.INFERENCE_HEADER_CONTENT_LENGTH: str(length),
        }
    elif protocol is Protocol.V2:
        body = v2_body(contract, rows)
        if contract.matrix_datatype is None:
            # Other servers build a data frame from the columns only with this parameter.
            body = _json(json.loads(body) | {"parameters": {"content_type": "pd"}})
    elif contract.matrix_datatype is None:
        # Rows by name, because a pipeline that selects columns by name cannot use a list.
        names = contract.feature_names
        body = _json({"instances": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        body = v1_body(contract, rows)
    return BenchmarkRequest(body, headers, labels)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _grpc_request(contract: Contract, rows: list[tuple[Scalar, ...]]) -> bytes:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

    (name, matrix), = Batch.from_rows(contract, rows).arrays.items()  # fmt: skip
    assert name == MATRIX, "gRPC is measured with numeric models only"
    # With an id, all responses have one length.
    request = ModelInferRequest(
        model_name=contract.name, id="benchmark", raw_input_contents=[encode_raw_tensor(matrix)]
    )
    request.inputs.add(name=name, datatype=str(contract.matrix_datatype), shape=list(matrix.shape))
    return bytes(request.SerializeToString())


def parse_labels(protocol: Protocol, content: bytes, header_length: str | None = None) -> list[Any]:
    """Parse the labels in a server's response: its first output.

    Args:
        protocol: The protocol of the request.
        content: The response's body.
        header_length: Value of the response's ``Inference-Header-Content-Length``, if present.

    Raises:
        ValueError: If the response has no labels in a known form.
    """
    try:
        if protocol is Protocol.GRPC:
            return _grpc_labels(content)
        if protocol is Protocol.BENTOML:
            return list(json.loads(content))
        outputs = parse_outputs(constants.Protocol(protocol), content, header_length)
        return next(iter(outputs.values()))
    except (IndexError, TypeError, StopIteration) as error:
        raise ValueError(f"the response has no labels: {error!r}") from None


def _grpc_labels(content: bytes) -> list[Any]:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse

    response = ModelInferResponse.FromString(content)
    output = response.outputs[0]
    if response.raw_output_contents:
        return decode_raw_tensor(response.raw_output_contents[0], output.datatype)
    return [int(value) for value in output.contents.int64_contents]


def compare_labels(labels: list[Any], expected: list[Any]) -> str | None:
    """Compare labels by value, so that 1 equals 1.0; return the difference, or None."""
    if len(labels) != len(expected):
        return f"{len(labels)} labels for {len(expected)} rows"
    different = sum(_normalize(a) != _normalize(b) for a, b in zip(labels, expected, strict=True))
    return f"{different} of {len(expected)} labels are not scikit-learn's" if different else None


def _normalize(label: Any) -> Any:
    """Return a label in comparable form: some servers wrap values in lists, or return floats for integers."""
    while isinstance(label, list) and len(label) == 1:
        label = label[0]
    return int(label) if isinstance(label, float) and math.isfinite(label) and label.is_integer() else label
