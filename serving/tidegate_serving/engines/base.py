# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: what computes answers, from a batch to an array an output.

An engine trusts its batch, is called from one thread at a time, and knows no protocol.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tidegate.batch import Batch
from tidegate.contract import Contract, Output
from tidegate.errors import BundleError
from tidegate_serving.codecs.validation import Array
from tidegate_serving.engines import threadpools

Wanted = frozenset[str] | None
"""The names of the outputs that are needed; None needs all."""


class Engine(Protocol):
    """Computes the contract's outputs for a batch."""

    name: str
    platform: str
    """What the Open Inference Protocol's metadata calls the engine."""

    selects_outputs: bool
    """Whether it computes outputs one by one, so that fewer of them cost less."""

    def prepare_thread(self) -> None:
        """Called first in each thread that will run it."""

    def run(self, batch: Batch, wanted: Wanted = None) -> Mapping[str, Array]:
        """By output name, arrays of shape ``[rows]`` or ``[rows, width]`` in the contract's types.

        Args:
            batch: The rows.
            wanted: What is needed of its answers. The prediction always comes.
        """


class OnnxEngine:
    """The compiled model on ONNX Runtime, with one thread: pods are how it scales.

    Args:
        model: The serialized ONNX model. Loaded from memory, it can name no file outside of itself.
        contract: The outputs that it must have.

    Raises:
        BundleError: ONNX Runtime cannot load it, or its outputs are not the contract's.
    """

    name = "onnx"
    platform = "onnx_onnxv1"
    selects_outputs = False  # one pass through the graph makes them all

    def __init__(self, model: bytes, contract: Contract) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no public base
            raise BundleError(
                f"model.onnx cannot be loaded by ONNX Runtime: {str(error).splitlines()[0]}."
            ) from None
        self._outputs = contract.outputs
        self._names = [output.name for output in contract.outputs]
        missing = set(self._names) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise BundleError(f"model.onnx lacks the outputs of the contract: {', '.join(sorted(missing))}.")

    def prepare_thread(self) -> None:
        """Nothing to prepare: the session has its own number of threads."""

    def run(self, batch: Batch, wanted: Wanted = None) -> Mapping[str, Array]:
        """Answers, as :class:`Engine` says."""
        arrays = self._session.run(self._names, batch.for_onnx())
        return {
            output.name: _shaped(output, array) for output, array in zip(self._outputs, arrays, strict=True)
        }


class SklearnEngine:
    """The pipeline itself, for what does not compile or was not proven equal."""

    name = "sklearn"
    platform = "sklearn"
    selects_outputs = True  # a label and its probabilities are two passes through the pipeline

    def __init__(self, pipeline: Any, contract: Contract) -> None:
        self._methods = [(output, _method(pipeline, output)) for output in contract.outputs]
        self.prepare_thread()

    def prepare_thread(self) -> None:
        """Fit the numeric libraries' threads to the CPUs there are."""
        threadpools.limit()

    def run(self, batch: Batch, wanted: Wanted = None) -> Mapping[str, Array]:
        """Answers, as :class:`Engine` says."""
        methods = [
            (output, method)
            for index, (output, method) in enumerate(self._methods)
            if wanted is None or index == 0 or output.name in wanted
        ]
        rows = batch.for_sklearn()
        with warnings.catch_warnings():
            # An unknown category that the contract accepts is no news to whoever runs the server.
            warnings.simplefilter("ignore", UserWarning)
            return {output.name: _shaped(output, np.asarray(method(rows))) for output, method in methods}


_METHODS = {
    "label": "predict",
    "prediction": "predict",
    "probabilities": "predict_proba",
    "scores": "decision_function",
}


def _method(pipeline: Any, output: Output) -> Any:
    method = getattr(pipeline, _METHODS.get(output.name, ""), None)
    if method is None:
        raise BundleError(f"model.skops cannot compute the contract's output '{output.name}'.")
    return method


def _shaped(output: Output, array: Array) -> Array:
    array = array.astype(output.datatype.dtype, copy=False)
    return array.reshape(-1) if output.width is None else array.reshape(-1, output.width)
