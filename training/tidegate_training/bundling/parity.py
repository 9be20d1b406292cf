# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The certificate: compiled and original compared row by row.

Only what passes here may be served compiled. It compares and records; it neither converts nor loosens its
tolerance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import Contract, Datatype, Scalar
from tidegate.protocol.samples import sample_rows
from tidegate_training.bundling.outputs import LABEL, SCORES

Array = NDArray[Any]

TOLERANCE = 1e-5
"""Largest ``|compiled - original| / max(1, |original|)`` of a score or a value."""

BATCH_SIZES = (1, 16, 256)
"""Other sizes take other kernels, which round otherwise."""

ROWS_LIMIT = 20_000
"""Rows of the data that are compared; of more, as many at even distances."""

_SAMPLED = 256


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the comparison found, as ``parity.json`` says it.

    Attributes:
        verdict: ``equal``: every score is within the tolerance and every label is the same, but where the two
            best scores differ by no more than the tolerance.
        reason: Why it is not equal or not compiled.
        rows: How many rows were compared, at each batch size.
        max_abs_difference: The largest ``|compiled - original|`` of a score or a value.
        label_flips: Rows whose label differs at some batch size.
        ties: Those of them whose two best scores are within the tolerance, which either may choose between.
        largest_at: The row (by number among those compared, from 0) and the batch size where the difference
            is largest for the size of the value.
    """

    verdict: Literal["equal", "different", "not compiled"]
    reason: str | None = None
    rows: int = 0
    max_abs_difference: float | None = None
    label_flips: int | None = None
    ties: int | None = None
    largest_at: Mapping[str, int] | None = None
    batch_sizes: tuple[int, ...] = field(default=BATCH_SIZES)
    tolerance: float = TOLERANCE

    def payload(self) -> dict[str, Any]:
        """The JSON document."""
        return asdict(self) | {"batch_sizes": list(self.batch_sizes)}


def not_compiled(reason: str) -> Certificate:
    """The certificate of a pipeline that has no compiled form."""
    return Certificate("not compiled", reason)


def probe_rows(contract: Contract, seed: int) -> list[list[Scalar]]:
    """Rows made from the contract: its limits, what may be missing, unknown categories, and a random sample.

    One feature at a time goes to each of its limits while the others stay at the first golden row's, and
    all go there together.
    """
    usual = list(contract.golden.rows[0])
    extremes: list[list[Scalar]] = []
    for feature in contract.features:
        values: list[Scalar]
        if feature.datatype is Datatype.BYTES:
            values = list(feature.categories or ())
            if feature.handle_unknown == "accept":
                # A text that is in no list, because it is longer than every text that is.
                values.append("?" + max(feature.categories or ("",), key=len))
        elif feature.datatype is Datatype.BOOL:
            values = [False, True]
        else:
            values = [limit for limit in (feature.minimum, feature.maximum) if limit is not None]
        if feature.missing:
            values.append(None)
        extremes.append(values or [usual[len(extremes)]])
    rows = [
        [*usual[:index], value, *usual[index + 1 :]]
        for index, values in enumerate(extremes)
        for value in values
    ]
    rows.append([values[0] for values in extremes])
    rows.append([values[-1] for values in extremes])
    return rows + sample_rows(contract, _SAMPLED, seed)


def compare(session: Any, original: Mapping[str, Array], batch: Batch) -> Certificate:
    """Run the compiled form on a batch, cut into each size, and hold its answers against the original's.

    Args:
        session: An open ONNX Runtime session.
        original: scikit-learn's answers, by output.
        batch: The rows, in the contract's types.
    """
    rows = len(batch)
    flipped, tied = np.zeros(rows, np.bool_), ties_of(original)
    largest, beyond, largest_at = 0.0, 0.0, None
    for size in BATCH_SIZES:
        try:
            answers = run(session, batch, size, tuple(original))
        except Exception as error:
            # ONNX Runtime's exceptions share no public base; whatever it raises, it raised it on a row that
            # scikit-learn answers.
            reason = f"it fails at batch size {size}: {' '.join(str(error).split())[:300]}"
            return Certificate("different", reason, rows)
        for name, expected in original.items():
            found = answers[name]
            if name == LABEL:
                flipped |= found != expected
                continue
            difference, relative = distance(found, expected)
            largest = max(largest, float(difference.max()))
            if (worst := float(relative.max())) > beyond:
                beyond = worst
                row = np.unravel_index(relative.argmax(), relative.shape)[0]
                largest_at = {"row": int(row), "batch_size": size}
    flips, ties = int(flipped.sum()), int((flipped & tied).sum())
    reasons = []
    if beyond > TOLERANCE:
        reasons.append(
            f"a score or value differs by {beyond:.3g} of max(1, |original|), more than {TOLERANCE:g}"
        )
    if flips > ties:
        reasons.append(
            f"{flips - ties} labels differ where the two best scores are further apart than {TOLERANCE:g}"
        )
    return Certificate(
        "different" if reasons else "equal",
        "; ".join(reasons) or None,
        rows,
        # A difference that JSON cannot say is one of NaN or infinity, and the reason says so.
        largest if np.isfinite(largest) else None,
        flips if LABEL in original else None,
        ties if LABEL in original else None,
        largest_at,
    )


def run(session: Any, batch: Batch, size: int, outputs: Sequence[str]) -> dict[str, Array]:
    """The compiled form's answers to a batch that is asked in pieces of a size."""
    pieces = [
        session.run(list(outputs), batch[slice(start, start + size)].for_onnx())
        for start in range(0, len(batch), size)
    ]
    return {
        name: np.concatenate([np.asarray(piece[index]) for piece in pieces])
        for index, name in enumerate(outputs)
    }


def distance(found: Array, expected: Array) -> tuple[Array, Array]:
    """By value, ``|found - expected|``, and that over ``max(1, |expected|)``; infinite where one is NaN."""
    expected = expected.astype(np.float64)
    difference = np.abs(found.astype(np.float64) - expected)
    difference[np.isnan(difference)] = np.inf
    return difference, difference / np.maximum(1.0, np.abs(expected))


def ties_of(original: Mapping[str, Array]) -> NDArray[np.bool_]:
    """``[rows]``, whether the two best scores are within the tolerance, so that either label is right.

    A single column of scores is a margin: its two scores are itself and its opposite.
    """
    scores = next((values for name, values in original.items() if name != LABEL), None)
    if LABEL not in original or scores is None:
        return np.zeros(len(next(iter(original.values()))), np.bool_)
    scores = scores.astype(np.float64)
    if scores.shape[1] == 1 and SCORES in original:
        scores = np.concatenate([scores, -scores], axis=1)
    best = np.sort(scores, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0] <= TOLERANCE)
