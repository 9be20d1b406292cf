# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The parity report: a row-by-row comparison of the compiled model with the scikit-learn pipeline.

The server uses a compiled model only with the verdict ``equal``. This module compares and reports; it
converts nothing, and its tolerance is fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.outputs import DISTANCES, ITEMS, LABEL, SCORE, SCORES

Array = NDArray[Any]

TOLERANCE = 1e-5
"""Largest accepted ``|compiled - original| / max(scale, |original|)`` of a score or a value."""

BATCH_SIZES = (1, 16, 256)
"""Rows per call; ONNX Runtime chooses kernels by the batch size, and each kernel rounds differently."""

MAX_DATA_ROWS = 20_000
"""Largest number of data rows to compare; of more rows, this many at even distances are compared."""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The result of the comparison, as ``parity.json`` holds it.

    Attributes:
        verdict: ``equal`` if every score is within the tolerance and every label and item is the same. A
            label may differ where the two best scores differ by no more than the tolerance.
        reason: Why the verdict is not ``equal``.
        rows: The number of compared rows, at each batch size.
        max_abs_difference: The largest ``|compiled - original|`` of a score or a value.
        label_flips: The number of rows whose label, or one of whose items, differs at some batch size.
        ties: The number of those rows whose two best scores are within the tolerance, so that either label
            is correct.
        largest_at: The row (from 0, among the compared rows) and the batch size with the largest difference
            relative to the value.
        batch_sizes: The compared batch sizes.
        tolerance: The tolerance.
        scale: The scale of the outputs: the standard deviation of a regression's, in their unit, otherwise 1.
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
    scale: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        return asdict(self) | {"batch_sizes": list(self.batch_sizes)}


def compare_outputs(
    session: Any,
    original: Mapping[str, Array],
    batch: Batch,
    scale: float = 1.0,
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
) -> ParityReport:
    """Compute a batch with the compiled model at each batch size, and compare the outputs.

    Args:
        session: An open ONNX Runtime session.
        original: By output, ``[rows]`` or ``[rows, width]``: the outputs of scikit-learn.
        batch: The rows, in the contract's types.
        scale: The scale of the outputs, in their unit.
        batch_sizes: Rows per call.
    """
    rows = len(batch)
    flipped, tied = np.zeros(rows, np.bool_), tied_rows(original)
    max_difference, max_relative, largest_at = 0.0, 0.0, None
    for size in batch_sizes:
        try:
            outputs = run_session(session, batch, size, tuple(original))
        except Exception as error:
            # ONNX Runtime's exceptions share no public base class. scikit-learn computed the same rows, so
            # every exception is a difference.
            reason = f"the compiled model fails at batch size {size}: {' '.join(str(error).split())[:300]}"
            return ParityReport("different", reason, rows, scale=scale)
        for name, expected in original.items():
            actual = outputs[name]
            if actual.shape != expected.shape:
                reason = f"the output {name} has the shape {actual.shape} instead of {expected.shape}"
                return ParityReport("different", reason, rows, scale=scale)
            if name in (LABEL, ITEMS):
                differs = actual != expected
                flipped |= differs if differs.ndim == 1 else differs.any(axis=1)
                continue
            difference, relative = output_differences(actual, expected, scale)
            max_difference = max(max_difference, float(difference.max()))
            if (largest := float(relative.max())) > max_relative:
                max_relative = largest
                row = np.unravel_index(relative.argmax(), relative.shape)[0]
                largest_at = {"row": int(row), "batch_size": size}
    flips, ties = int(flipped.sum()), int((flipped & tied).sum())
    compares_labels = LABEL in original or ITEMS in original
    reasons = []
    if max_relative > TOLERANCE:
        reasons.append(
            f"a score or value differs by {max_relative:.3g} of max({scale:.3g}, |original|), more than "
            f"{TOLERANCE:g}"
        )
    if flips > ties:
        far = f"{flips - ties} labels differ where the two best scores are further apart than {TOLERANCE:g}"
        reasons.append(f"the items of {flips} rows differ" if ITEMS in original else far)
    return ParityReport(
        "different" if reasons else "equal",
        "; ".join(reasons) or None,
        rows,
        # JSON has no NaN and no infinity; the reason names such a difference.
        max_difference if np.isfinite(max_difference) else None,
        flips if compares_labels else None,
        ties if compares_labels else None,
        largest_at,
        batch_sizes,
        scale=scale,
    )


def run_session(session: Any, batch: Batch, size: int, outputs: Sequence[str]) -> dict[str, Array]:
    """Compute a batch with the compiled model.

    Args:
        session: An open ONNX Runtime session.
        batch: The rows.
        size: Rows per call.
        outputs: The names of the outputs to compute.

    Returns:
        By output, ``[rows]`` or ``[rows, width]``.
    """
    inputs = batch.for_onnx()
    results = [
        session.run(list(outputs), {name: array[start : start + size] for name, array in inputs.items()})
        for start in range(0, len(batch), size)
    ]
    return {
        name: np.concatenate([np.asarray(result[index]) for result in results])
        for index, name in enumerate(outputs)
    }


def output_differences(actual: Array, expected: Array, scale: float) -> tuple[Array, Array]:
    """Return ``|actual - expected|``, and that divided by ``max(scale, |expected|)``.

    Both results have the shape of the outputs, ``[rows]`` or ``[rows, width]``. They are infinite where one
    value is NaN.

    Args:
        actual: The compiled model's outputs.
        expected: The outputs of scikit-learn.
        scale: The scale of the outputs, in their unit.
    """
    expected = expected.astype(np.float64)
    difference = np.abs(actual.astype(np.float64) - expected)
    difference[np.isnan(difference)] = np.inf
    smallest = np.finfo(np.float64).tiny  # the scale of a constant regression is 0, and its output may be
    return difference, difference / np.maximum(max(scale, smallest), np.abs(expected))


def tied_rows(original: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Return, as ``[rows]``, whether a row's two best scores are within the tolerance.

    Either label is correct for such a row. A single column of scores is a margin: the scores of the two
    classes are the margin and its negative. The best distance is the smallest. Rows with several targets
    never count as tied.
    """
    scores = next((values for name, values in original.items() if name != LABEL), None)
    if LABEL not in original or original[LABEL].ndim == 2 or scores is None:
        return np.zeros(len(next(iter(original.values()))), np.bool_)
    scores = scores.astype(np.float64).reshape(len(scores), -1)
    if scores.shape[1] == 1 and (SCORES in original or SCORE in original):
        scores = np.concatenate([scores, -scores], axis=1)
    if DISTANCES in original:
        scores = -scores
    if scores.shape[1] == 1:
        return np.zeros(len(scores), np.bool_)
    best = np.sort(scores, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0] <= TOLERANCE)
