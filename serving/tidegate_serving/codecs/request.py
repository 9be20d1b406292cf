# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A question: a request, understood and checked, in the form that the core answers.

It says what is asked and in which form the answer is wanted; the decoders make it, each from its protocol.
"""

import itertools
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.batch import Batch
from tidegate.contract import Contract, Output
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.errors import ErrorCode, RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may ask: rows, and bytes of its body."""

    rows: int = 10_000
    body_bytes: int = 16 << 20


_PROCESS = uuid.uuid4().hex
_NUMBERS = itertools.count(1)


@dataclass(slots=True)
class InferenceRequest:
    """A request that was understood; its numbers may still have to be checked."""

    inputs: Inputs
    """Its rows."""
    id: str
    """The client's own, or a new one: KServe's clients refuse an answer without."""
    outputs: tuple[Output, ...]
    """The outputs to answer with, in this order."""
    binary: frozenset[str] = frozenset()
    """Names of the outputs to be answered as raw bytes."""

    @property
    def batch(self) -> Batch:
        """Its rows, once they are checked."""
        assert isinstance(self.inputs, Batch)
        return self.inputs


def new_id() -> str:
    """A fresh request id: unlike all others of this process, and of every other."""
    # A UUID each would cost as much as the whole decoding of a small request.
    return f"{_PROCESS}-{next(_NUMBERS)}"


def check_rows(rows: int, limits: Limits, where: str) -> None:
    """Refuse a request of no rows or too many.

    Raises:
        RequestError: It is one of both.
    """
    if rows == 0:
        raise RequestError(f"{where}: expected at least one row, received none.")
    if rows > limits.rows:
        raise RequestError(
            f"{where}: expected at most {limits.rows} rows, received {rows}; send several smaller requests.",
            ErrorCode.CONTENT_TOO_LARGE,
        )


def select_outputs(contract: Contract, names: Iterable[str]) -> tuple[Output, ...]:
    """The outputs of these names, in this order; all of them if no name is given.

    Raises:
        RequestError: The model has no such output, or one is asked for twice.
    """
    names = list(names)
    if not names:
        return contract.outputs
    known = {output.name: output for output in contract.outputs}
    chosen: dict[str, Output] = {}
    for index, name in enumerate(names):
        if name not in known:
            raise RequestError(
                f"outputs[{index}].name: expected one of {', '.join(known)}, received '{name:.60}'."
            )
        if name in chosen:
            raise RequestError(f"outputs[{index}].name: expected each output once, received '{name}' again.")
        chosen[name] = known[name]
    return tuple(chosen.values())
