# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The compiled engine: ONNX Runtime on ``model.onnx``.

It does not decide whether the compiled model may replace the pipeline: the loader reads that from the parity
report.
"""

import os

from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate.errors import BundleError
from tidegate.outputs import conform
from tidegate_serving.engines.base import OutputNames, Outputs


class OnnxEngine:
    """The compiled model on ONNX Runtime, with one thread: more replicas are how it scales.

    Args:
        model: The serialized ONNX model. A model loaded from memory cannot refer to other files.
        contract: The contract, whose outputs the model must have.

    Raises:
        BundleError: If ONNX Runtime cannot load the model, or the model lacks an output of the contract.
    """

    name = "onnx"
    platform = "onnx_onnxv1"
    selects_outputs = False  # one pass through the graph computes all outputs

    def __init__(self, model: bytes, contract: Contract) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal: the exception below has the message already
        # Weights outside of the model would be read from the working directory: no folder has any.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no public base class
            raise BundleError(
                f"model.onnx cannot be loaded by ONNX Runtime: {str(error).splitlines()[0]}."
            ) from None
        self._outputs = contract.outputs
        self._names = [output.name for output in contract.outputs]
        missing = set(self._names) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise BundleError(f"model.onnx lacks the outputs of the contract: {', '.join(sorted(missing))}.")

    def prepare_thread(self) -> None:
        """Do nothing: the session has its own limit of threads."""

    def run(self, batch: Batch, output_names: OutputNames = None) -> Outputs:
        """Compute all outputs, each of shape ``[rows]`` or ``[rows, width]``."""
        arrays = self._session.run(self._names, batch.for_onnx())
        return {
            output.name: conform(output, array) for output, array in zip(self._outputs, arrays, strict=True)
        }
