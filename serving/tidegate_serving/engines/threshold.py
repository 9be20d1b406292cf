# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The engine of a contract with a decision threshold, which decides labels by another engine's probabilities.

The threshold is applied outside of the compiled graph and of the pipeline, so that both decide alike.
"""

from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate.outputs import decide_labels
from tidegate_serving.engines.base import Engine, OutputNames, Outputs


class ThresholdEngine:
    """An engine whose labels are decided by the contract's threshold.

    Args:
        engine: The engine that computes the probabilities.
        contract: The contract.
    """

    selects_outputs = False  # the label needs the probabilities

    def __init__(self, engine: Engine, contract: Contract) -> None:
        self.name, self.platform = engine.name, engine.platform
        self._engine = engine
        self._threshold, self._labels = contract.threshold, contract.labels

    def prepare_thread(self) -> None:
        """Set up the calling thread for the other engine."""
        self._engine.prepare_thread()

    def run(self, batch: Batch, output_names: OutputNames = None) -> Outputs:
        """Compute all outputs, each of shape ``[rows]`` or ``[rows, width]``."""
        return decide_labels(self._threshold, self._labels, self._engine.run(batch))
