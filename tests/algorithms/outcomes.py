# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The way of one estimator: fit, bundle, load as a server with default options does, request, compare."""

import asyncio
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry

from tests.algorithms.cases import FittedCase
from tidegate.bundle import PARITY, Bundle
from tidegate.errors import TidegateError
from tidegate.protocol.requests import v2_body
from tidegate_serving import Predictor
from tidegate_serving.observability.request_metrics import Record
from tidegate_training import bundle
from tidegate_training.bundling.outputs import predict_outputs
from tidegate_training.bundling.parity import TOLERANCE, output_differences

RECORD = Path(__file__).with_name("outcomes.json")
"""The recorded outcomes, which the unit tests compare with."""

Status = Literal["compiled", "fallback", "rejected"]

STATUSES: tuple[Status, ...] = ("rejected", "fallback", "compiled")
"""From worst to best: no bundle; served by scikit-learn; served by ONNX Runtime."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one estimator with one kind of data.

    Attributes:
        status: How the model is served.
        reason: Why it is not compiled, or not served.
        difference: The largest ``|response - model| / max(scale, |model|)`` of a score or a value of the
            sample rows. The scale is the spread of the output in its unit; of probabilities it is 1.
    """

    status: Status
    reason: str | None = None
    difference: float | None = None


def bundle_and_serve(case: FittedCase, directory: Path) -> Outcome:
    """Bundle a fitted estimator, serve it, and require that every output equals scikit-learn's.

    Args:
        case: The fitted estimator.
        directory: The bundle's directory.

    Raises:
        AssertionError: If an output of the server differs.
        BundleError: If the server rejects the bundle.
    """
    try:
        sealed = bundle(case.model, case.X, case.y, name="algorithm", directory=directory)
    except TidegateError as error:
        return Outcome("rejected", str(error))
    difference = require_equal_outputs(case, sealed)
    parity = json.loads(sealed.read(PARITY))
    status: Status = "compiled" if parity["verdict"] == "equal" else "fallback"
    return Outcome(status, parity["reason"], difference)


def require_equal_outputs(case: FittedCase, sealed: Bundle) -> float:
    """Send every row in one request, compare the response with the model, and return the difference."""
    predictor = Predictor("algorithm", sealed.path, sealed.digest, registry=CollectorRegistry())
    predictor.load()
    contract = sealed.contract
    service = predictor.service
    body = v2_body(contract, np.asarray(case.X, dtype=object).tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's advice for a model that was fitted in a moment
        expected = predict_outputs(case.model, case.X, contract.outputs)
        outcome = asyncio.run(service.infer(lambda: service.parse_v2(body, None), Record()))
    largest = 0.0
    for tensor in json.loads(service.encode_v2(*outcome)[0])["outputs"]:
        original = expected.pop(tensor["name"])
        received = np.array(tensor["data"]).reshape(tensor["shape"])
        if original.dtype.kind == "f":
            scale = max(contract.golden.scale, float(original.std()))
            difference = float(output_differences(received, original, scale)[1].max())
            assert difference <= TOLERANCE, tensor["name"]
            largest = max(largest, difference)
        else:
            np.testing.assert_array_equal(received, original, tensor["name"])
    assert not expected, "each output is in the response"
    return largest


def read_outcomes() -> dict[str, dict[str, Outcome]]:
    """Return the recorded outcomes by estimator and kind of data."""
    document = json.loads(RECORD.read_text(encoding="utf-8"))
    return {
        name: {kind: Outcome(**fields) for kind, fields in kinds.items()} for name, kinds in document.items()
    }
