# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The engine protocol: compute a model's outputs for a batch.

An engine trusts its batch, is called from one thread at a time, and knows no protocol.
"""

from collections.abc import Mapping
from typing import Protocol

from tidegate.batch import Array, Batch

Outputs = Mapping[str, Array]
"""By output name, an array of shape ``[rows]`` or ``[rows, width]`` in the output's data type."""

OutputNames = frozenset[str] | None
"""The names of the outputs that a call needs; None needs all."""


class Engine(Protocol):
    """An executable model: computes the contract's outputs for a batch."""

    name: str
    platform: str
    """The value of ``platform`` in the Open Inference Protocol's model metadata."""

    selects_outputs: bool
    """Whether the engine computes each output separately, so that fewer outputs cost less."""

    def prepare_thread(self) -> None:
        """Set up the calling thread. Each thread that runs the engine calls this first."""

    def run(self, batch: Batch, output_names: OutputNames = None) -> Outputs:
        """Compute the outputs of a batch.

        Args:
            batch: The rows.
            output_names: The outputs that are needed. The result always contains the prediction, and may
                contain more than is needed.

        Returns:
            By output name, an array of shape ``[rows]`` or ``[rows, width]`` in the contract's types.
        """
