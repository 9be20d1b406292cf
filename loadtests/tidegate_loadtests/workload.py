# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The workload: requests that are encoded before the load starts, and the validation of their responses.

Rows come from the contract or from a payload file. One request in eight is a golden request, whose outputs
are known. This module neither sends requests nor measures time.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from tidegate.contract import Contract, Scalar
from tidegate.protocol.constants import (
    BINARY_MEDIA_TYPE,
    INFERENCE_HEADER_CONTENT_LENGTH,
    JSON_MEDIA_TYPE,
    Protocol,
)
from tidegate.protocol.messages import SERVICE, encode_infer_request, parse_infer_response
from tidegate.protocol.requests import v1_body, v2_binary_body, v2_body
from tidegate.protocol.responses import V1_OUTPUT, parse_outputs
from tidegate.protocol.samples import sample_rows
from tidegate_loadtests.partition import Partition

_MAX_REQUESTS = 512
_MAX_VALUES = 500_000
"""The workload has fewer than :data:`_MAX_REQUESTS` requests if these would hold more values than this."""
_GOLDEN_INTERVAL = 8

GRPC_METHOD = f"/{SERVICE}/ModelInfer"


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """An encoded request, with its golden outputs if it has any."""

    protocol: Protocol
    path: str
    headers: Mapping[str, str]
    body: bytes
    rows: int
    golden_outputs: Mapping[str, Sequence[Scalar]] | None
    """The expected values by output name, row by row; None if only their number is known."""


class Workload:
    """The requests of a partition, by their number of rows. Each request is sent again and again.

    The same partition gives the same requests.
    """

    def __init__(self, partition: Partition) -> None:
        self._requests = {rows: cycle(build_requests(partition, rows)) for rows in partition.request_sizes}

    def next_request(self, rows: int) -> InferenceRequest:
        """Return the next request with this number of rows, one of the partition's request sizes."""
        return next(self._requests[rows])


def build_requests(partition: Partition, rows_per_request: int) -> list[InferenceRequest]:
    """Build requests of one size, in the partition's mix of protocols.

    Rows of the contract differ from request to request. Those of a payload file keep their order.

    Args:
        partition: The partition.
        rows_per_request: Number of rows of each request.
    """
    contract = partition.contract
    values_per_request = rows_per_request * len(contract.features) * len(partition.request_sizes)
    count = max(_GOLDEN_INTERVAL, min(_MAX_REQUESTS, _MAX_VALUES // values_per_request))
    seed = random.Random(f"{partition.seed} {partition.index}").getrandbits(63)
    if partition.recorded_rows is None:
        rows: Iterator[Sequence[Scalar]] = iter(sample_rows(contract, count * rows_per_request, seed))
    else:
        # Every row of the file is in a request; the golden requests come on top.
        needed = -(-len(partition.recorded_rows) // rows_per_request)
        count = -(-needed * _GOLDEN_INTERVAL // (_GOLDEN_INTERVAL - 1))
        rows = cycle(partition.recorded_rows)
    protocols = random.Random(seed).choices(
        list(partition.protocols), list(partition.protocols.values()), k=count
    )
    golden = cycle(range(len(contract.golden.rows)))
    return [
        _golden_request(protocol, contract, list(islice(golden, rows_per_request)))
        if number % _GOLDEN_INTERVAL == 0
        else _encode(protocol, contract, list(islice(rows, rows_per_request)), None)
        for number, protocol in enumerate(protocols)
    ]


def _golden_request(protocol: Protocol, contract: Contract, indices: Sequence[int]) -> InferenceRequest:
    outputs = {
        name: _flatten([values[index] for index in indices])
        for name, values in contract.golden.outputs.items()
    }
    return _encode(protocol, contract, [contract.golden.rows[index] for index in indices], outputs)


def validate_response(
    request: InferenceRequest, contract: Contract, header_length: str | None, body: bytes
) -> str | None:
    """Validate the body of a successful response.

    Args:
        request: The request.
        contract: The contract that the outputs must follow.
        header_length: The response's ``Inference-Header-Content-Length``; None if it has no such header.
        body: The response's body.

    Returns:
        The error; None if the response is correct.
    """
    try:
        outputs = (
            parse_infer_response(body)
            if request.protocol is Protocol.GRPC
            else parse_outputs(request.protocol, body, header_length)
        )
    except ValueError as error:
        return f"invalid response: {error}"
    if request.protocol is Protocol.V1:
        widths = {contract.prediction.name: contract.prediction.width or 1}
        outputs = {contract.prediction.name: outputs[V1_OUTPUT]}
    else:
        widths = {output.name: output.width or 1 for output in contract.outputs}
    if outputs.keys() != widths.keys():
        received = ", ".join(outputs) or "none"
        return f"invalid response: expected the outputs {', '.join(widths)}, received {received}"
    for name, width in widths.items():
        expected = request.rows * width
        if len(outputs[name]) != expected:
            return (
                f"invalid response: output '{name}': expected {expected} values for {request.rows} rows, "
                f"received {len(outputs[name])}"
            )
    for name, values in (request.golden_outputs or {}).items():
        if name in outputs and not all(
            contract.golden.is_close(received, value)
            for received, value in zip(outputs[name], values, strict=True)
        ):
            return f"wrong response: output '{name}' differs from the golden outputs"
    return None


def _encode(
    protocol: Protocol,
    contract: Contract,
    rows: Sequence[Sequence[Scalar]],
    golden_outputs: Mapping[str, Sequence[Scalar]] | None,
) -> InferenceRequest:
    # Without compression, because the time to decompress would be part of the latency.
    headers: dict[str, str] = {"Content-Type": JSON_MEDIA_TYPE, "Accept-Encoding": "identity"}
    path = f"/v2/models/{contract.name}/infer"
    match protocol:
        case Protocol.V1:
            path, body = f"/v1/models/{contract.name}:predict", v1_body(contract, rows)
        case Protocol.V2:
            body = v2_body(contract, rows)
        case Protocol.GRPC:
            path, headers, body = GRPC_METHOD, {}, encode_infer_request(contract, rows)
        case Protocol.V2_BINARY:
            body, length = v2_binary_body(contract, rows)
            headers |= {"Content-Type": BINARY_MEDIA_TYPE, INFERENCE_HEADER_CONTENT_LENGTH: str(length)}
    return InferenceRequest(protocol, path, headers, body, len(rows), golden_outputs)


def _flatten(values: Sequence[Scalar | list[Scalar]]) -> list[Scalar]:
    return [scalar for value in values for scalar in (value if isinstance(value, list) else [value])]
