# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The result of one engine call, and each request's slice of it.

It holds arrays. Codecs encode them, and keep the encoded rows here, because the requests of a batch share
them.
"""

from dataclasses import dataclass

from tidegate.batch import Array, Batch
from tidegate_serving.engines.base import Outputs


class BatchResult:
    """The rows and outputs of one engine call.

    Args:
        batch: The rows.
        outputs: The outputs of these rows.
    """

    __slots__ = ("batch", "json_rows", "outputs")

    def __init__(self, batch: Batch, outputs: Outputs) -> None:
        self.batch = batch
        self.outputs = outputs
        self.json_rows: dict[str, list[bytes]] = {}
        """By output name, each row as JSON: a cache that belongs to ``codecs.json_rows``."""


@dataclass(slots=True)
class ResultSlice:
    """One request's rows of a batch result: from ``start`` to before ``stop``."""

    result: BatchResult
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def array(self, name: str) -> Array:
        """Return an output's values, shape ``[rows]`` or ``[rows, width]``."""
        return self.result.outputs[name][self.start : self.stop]
