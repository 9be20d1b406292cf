# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The self-check: golden requests, the last check before a model is ready.

The golden requests pass through the same parsing, engine and encoding as a client's. Their outputs must be
those that scikit-learn computed in training.
"""

import orjson

from tidegate.contract import Contract
from tidegate.errors import BundleError
from tidegate.protocol.requests import v2_body
from tidegate_serving.batching.runner import run_batch
from tidegate_serving.codecs import v2
from tidegate_serving.codecs.inputs import validate_inputs
from tidegate_serving.codecs.request import Limits
from tidegate_serving.errors import RequestError
from tidegate_serving.loading.loader import LoadedModel


def verify_golden_outputs(model: LoadedModel, limits: Limits) -> int:
    """Run the contract's golden requests on a model and compare the outputs.

    Args:
        model: The loaded model.
        limits: The server's limits, which apply to golden requests too.

    Returns:
        The number of golden rows.

    Raises:
        BundleError: If an output differs from training, or the model fails on its own golden rows, or the
            contract does not allow them.
    """
    contract, golden = model.contract, model.contract.golden
    try:
        request = v2.parse(contract, v2_body(contract, golden.rows), None, limits)
        batch = validate_inputs(contract, [request.inputs])
    except RequestError as error:
        raise BundleError(f"The contract does not allow its own golden requests: {error}") from None
    result = run_batch(model.engine, [batch])[0]
    if isinstance(result, RequestError):
        raise BundleError("The model fails on its golden requests; the log has the error.")
    encoder = v2.ResponseEncoder(contract.name, model.version, contract.outputs)
    body, _ = encoder.encode(request, result)
    _compare(contract, body)
    return len(golden.rows)


def _compare(contract: Contract, body: bytes) -> None:
    golden = contract.golden
    for tensor in orjson.loads(body)["outputs"]:
        name, data = tensor["name"], tensor["data"]
        if len(tensor["shape"]) == 2:
            width = tensor["shape"][1]
            data = [data[start : start + width] for start in range(0, len(data), width)]
        for row, (actual, expected) in enumerate(zip(data, golden.outputs[name], strict=True)):
            if not golden.is_close(actual, expected):
                raise BundleError(
                    f"Golden request, row {row}: expected {name} {expected} within {golden.tolerance:g}, "
                    f"received {actual}: the model computes other outputs here than in training."
                )
