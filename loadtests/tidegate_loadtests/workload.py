# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The workload: requests that are encoded before the load starts, and the validation of their responses.

Most rows are drawn from the contract. One request in eight is a golden request, whose outputs are known. This
module neither sends requests nor measures time.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from tidegate.contract import Contract, Scalar, close
from tidegate.protocol.constants import (
    BINARY_MEDIA_TYPE,
    INFERENCE_HEADER_CONTENT_LENGTH,
    JSON_MEDIA_TYPE,
    Protocol,
)
from tidegate.protocol.requests import v1_body, v2_binary_body, v2_body
from tidegate.protocol.responses import V1_OUTPUT, parse_outputs
from tidegate.protocol.samples import sample_rows
from tidegate_loadtests.plan import LoadTest

_MAX_REQUESTS = 512
_MAX_VALUES = 500_000
"""The workload has fewer than :data:`_MAX_REQUESTS` requests if these would hold more values than this."""
_GOLDEN_INTERVAL = 8


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


def build_requests(plan: LoadTest, contract: Contract) -> list[InferenceRequest]:
    """Build the requests of a load, each with other rows, in the plan's mix of protocols.

    The same seed gives the same requests.
    """
    rows_per_request = plan.rows_per_request
    values_per_request = rows_per_request * len(contract.features)
    count = max(_GOLDEN_INTERVAL, min(_MAX_REQUESTS, _MAX_VALUES // values_per_request))
    source = random.Random(plan.seed)
    protocols = source.choices(list(plan.protocols), list(plan.protocols.values()), k=count)
    sampled = sample_rows(contract, count * rows_per_request, plan.seed)
    golden_indices = cycle(range(len(contract.golden.rows)))
    requests = []
    for number, protocol in enumerate(protocols):
        if number % _GOLDEN_INTERVAL == 0:
            indices = list(islice(golden_indices, rows_per_request))
            rows: list[Sequence[Scalar]] = [contract.golden.rows[index] for index in indices]
            golden_outputs = {
                name: _flatten([values[index] for index in indices])
                for name, values in contract.golden.outputs.items()
            }
            requests.append(_encode(protocol, contract, rows, golden_outputs))
        else:
            rows = [*sampled[number * rows_per_request : (number + 1) * rows_per_request]]
            requests.append(_encode(protocol, contract, rows, None))
    return requests


def validate_response(
    request: InferenceRequest, contract: Contract, header_length: str | None, body: bytes
) -> str | None:
    """Validate the body of a response with status 200.

    Args:
        request: The request.
        contract: The contract that the outputs must follow.
        header_length: The response's ``Inference-Header-Content-Length``; None if it has no such header.
        body: The response's body.

    Returns:
        The error; None if the response is correct.
    """
    try:
        outputs = parse_outputs(request.protocol, body, header_length)
    except ValueError as error:
        return f"invalid response: {error}"
    if request.protocol is Protocol.V1:
        widths = {contract.prediction.name: 1}
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
            close(received, value, contract.golden.tolerance)
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
    headers = {"Content-Type": JSON_MEDIA_TYPE, "Accept-Encoding": "identity"}
    path = f"/v2/models/{contract.name}/infer"
    match protocol:
        case Protocol.V1:
            path, body = f"/v1/models/{contract.name}:predict", v1_body(contract, rows)
        case Protocol.V2:
            body = v2_body(contract, rows)
        case _:
            body, length = v2_binary_body(contract, rows)
            headers |= {"Content-Type": BINARY_MEDIA_TYPE, INFERENCE_HEADER_CONTENT_LENGTH: str(length)}
    return InferenceRequest(protocol, path, headers, body, len(rows), golden_outputs)


def _flatten(values: Sequence[Scalar | list[float]]) -> list[Scalar]:
    return [scalar for value in values for scalar in (value if isinstance(value, list) else [value])]
