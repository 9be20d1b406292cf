# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The inference request: one request, parsed, in the form that all protocols share.

It holds the rows, the requested outputs and the form of the response. The protocols' codecs make it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.contract import Contract, Output
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.errors import ErrorCode, RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest request that a server accepts."""

    rows: int = 10_000
    """The number of rows."""
    body_bytes: int = 16 << 20
    """The size of the body, or of the gRPC message."""


@dataclass(slots=True)
class InferenceRequest:
    """A parsed inference request."""

    inputs: Inputs
    """The rows; those of a matrix are not validated yet."""
    id: str
    """The client's request id, or a new one, because KServe's clients reject a response without id."""
    outputs: tuple[Output, ...]
    """The outputs of the response, in this order."""
    binary: frozenset[str] = frozenset()
    """The names of the outputs that the response holds as raw bytes."""


def check_row_count(rows: int, limits: Limits, where: str) -> None:
    """Check that a request has a number of rows that the server accepts.

    Args:
        rows: The number of rows.
        limits: The server's limits.
        where: The place of the rows in the request.

    Raises:
        RequestError: If there are no rows, or more than the limit.
    """
    if rows == 0:
        raise RequestError(f"{where}: expected at least one row, received none.")
    if rows > limits.rows:
        raise RequestError(
            f"{where}: expected at most {limits.rows} rows, received {rows}; send several smaller requests.",
            ErrorCode.CONTENT_TOO_LARGE,
        )


def select_outputs(
    contract: Contract, names: Iterable[str], place: str = "outputs[{}].name"
) -> tuple[Output, ...]:
    """Return the outputs with these names, in this order; all outputs if no name is given.

    Args:
        contract: The model's contract.
        names: The names.
        place: The place of a name in the request, with braces for the name's number.

    Raises:
        RequestError: If the model has no output of this name, or a name occurs twice.
    """
    names = list(names)
    if not names:
        return contract.outputs
    known = {output.name: output for output in contract.outputs}
    selected: dict[str, Output] = {}
    for index, name in enumerate(names):
        if name not in known:
            raise RequestError(
                f"{place.format(index)}: expected one of {', '.join(known)}, received '{name:.60}'."
            )
        if name in selected:
            raise RequestError(f"{place.format(index)}: expected each output once, received '{name}' again.")
        selected[name] = known[name]
    return tuple(selected.values())
