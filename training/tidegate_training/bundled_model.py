# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The model of a bundle: its outputs for a batch, from the form that a server would use.

It opens no pickle, and no type that the default policy does not trust.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self

from numpy.typing import NDArray
from pydantic_core import from_json

from tidegate.batch import Batch
from tidegate.bundle import ONNX, PARITY, SKOPS, Bundle
from tidegate.contract import Contract
from tidegate.errors import BundleError
from tidegate.outputs import conform, decide_labels
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.compile import NotCompiledError, open_session
from tidegate_training.bundling.outputs import predict_outputs
from tidegate_training.bundling.parity import BATCH_SIZES, run_session

Array = NDArray[Any]

_SCIKIT_LEARN = "scikit-learn"


@dataclass(frozen=True, slots=True)
class BundledModel:
    """The model of a bundle, which needs the bundle's files no longer.

    Attributes:
        contract: The bundle's contract.
        compute: Computes the outputs of a batch, before the decision threshold.
    """

    contract: Contract
    compute: Callable[[Batch], dict[str, Array]]

    @classmethod
    def open(cls, bundle: Bundle) -> Self:
        """Open the compiled model if the parity report proves it equal, and the pipeline otherwise.

        Raises:
            BundleError: If a file differs from the digest, or the model cannot be opened here.
        """
        contract = bundle.contract
        if ONNX in bundle and _is_proven_equal(bundle):
            return cls(contract, _compiled(bundle))
        _check_scikit_learn_version(bundle)
        pipeline = build_pipeline(bundle.read(SKOPS), Policy())
        return cls(
            contract,
            lambda batch: predict_outputs(
                pipeline, batch.for_sklearn(contract.layout, contract.feature_names), contract.outputs
            ),
        )

    def predict(self, batch: Batch) -> dict[str, Array]:
        """Compute the outputs of a batch, ``[rows]`` or ``[rows, width]`` by output.

        Raises:
            Exception: If the model raises it.
        """
        return decide_labels(self.contract.threshold, self.contract.labels, self.compute(batch))


def _is_proven_equal(bundle: Bundle) -> bool:
    """Return whether the parity report proves the compiled model equal to the pipeline."""
    try:
        parity = from_json(bundle.read(PARITY))
    except ValueError:
        parity = None
    if not isinstance(parity, dict):
        raise BundleError(
            f"{PARITY} of {bundle.manifest.name}@sha256:{bundle.digest} is not a JSON object: it was not "
            "written by Tidegate."
        )
    return bool(parity.get("verdict") == "equal")


def _compiled(bundle: Bundle) -> Callable[[Batch], dict[str, Array]]:
    """Open the compiled model, and return the function from a batch to its outputs."""
    outputs = bundle.contract.outputs
    names = [output.name for output in outputs]
    try:
        session = open_session(bundle.read(ONNX))
    except NotCompiledError as error:
        raise BundleError(f"{ONNX} of {bundle.manifest.name}@sha256:{bundle.digest}: {error}.") from None

    def compute(batch: Batch) -> dict[str, Array]:
        values = run_session(session, batch, BATCH_SIZES[-1], names)
        return {output.name: conform(output, values[output.name]) for output in outputs}

    return compute


def _check_scikit_learn_version(bundle: Bundle) -> None:
    """Check the minor version, because scikit-learn does not support reading the state of another one."""
    recorded, installed = bundle.manifest.versions.get(_SCIKIT_LEARN, ""), version(_SCIKIT_LEARN)
    if recorded.split(".")[:2] != installed.split(".")[:2]:
        raise BundleError(
            f"The bundle {bundle.digest} of {bundle.manifest.name} is not compiled and was trained with "
            f"{_SCIKIT_LEARN} {recorded}, and {installed} is installed: install the same minor version."
        )
