# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The self-check: golden requests, the last check before a model is ready.

The golden requests pass through the same parsing, engine and encoding as a client's. Their outputs must be
those that scikit-learn computed in training.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from tidegate.contract import Contract
from tidegate.errors import BundleError
from tidegate.protocol.requests import v2_body
from tidegate_serving.codecs import v2
from tidegate_serving.codecs.inputs import validate_inputs
from tidegate_serving.codecs.request import Limits
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import RequestError
from tidegate_serving.loading.loader import LoadedModel

GoldenOutputs = Mapping[str, list[Any]]
"""By output name, one value or one list of values per golden row, as in the contract."""


def verify_golden_outputs(model: LoadedModel, limits: Limits) -> GoldenOutputs:
    """Run the contract's golden requests on a model and compare the outputs.

    Args:
        model: The loaded model.
        limits: The server's limits, which apply to golden requests too.

    Returns:
        The outputs.

    Raises:
        BundleError: If an output differs from training, or the model fails on its own golden rows, or the
            contract does not allow them.
    """
    try:
        outputs = compute_golden_outputs(model, limits)
    except BundleError:
        raise
    except Exception as error:  # numeric code raises any type
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BundleError(f"The model fails on its own golden requests ({reason}); train again.") from None
    _compare(model.contract, outputs)
    return outputs


def compute_golden_outputs(model: LoadedModel, limits: Limits) -> GoldenOutputs:
    """Run the contract's golden requests on a model and return the outputs that a client would receive.

    Args:
        model: The loaded model.
        limits: The server's limits, which apply to golden requests too.

    Raises:
        BundleError: If the contract does not allow its golden requests.
        Exception: If the engine raises it.
    """
    contract = model.contract
    try:
        request = v2.parse(contract, v2_body(contract, contract.golden.rows), None, limits)
        batch = validate_inputs(contract, [request.inputs])
    except RequestError as error:
        raise BundleError(f"The contract does not allow its own golden requests: {error}") from None
    result = ResultSlice(BatchResult(batch, model.engine.run(batch)), 0, len(batch))
    encoder = v2.ResponseEncoder(contract.name, model.version, contract.outputs)
    body, _ = encoder.encode(request, result)
    outputs: dict[str, list[Any]] = {}
    for tensor in orjson.loads(body)["outputs"]:
        data = tensor["data"]
        if len(tensor["shape"]) == 2:
            width = tensor["shape"][1]
            data = [data[start : start + width] for start in range(0, len(data), width)]
        outputs[tensor["name"]] = data
    return outputs


def _compare(contract: Contract, outputs: GoldenOutputs) -> None:
    golden = contract.golden
    for name, values in outputs.items():
        for row, (actual, expected) in enumerate(zip(values, golden.outputs[name], strict=True)):
            if not golden.is_close(actual, expected):
                raise BundleError(
                    f"Golden request, row {row}: expected {name} {expected} within {golden.tolerance:g}, "
                    f"received {actual}: the model computes other outputs here than in training."
                )
