# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tidegate.batch import Batch
from tidegate.contract import MATRIX
from tidegate_training.bundling.parity import BATCH_SIZES, compare_outputs

Outputs = dict[str, Any]
Change = Callable[[Outputs, int], None]

ORIGINAL: Outputs = {
    "label": np.array(["a", "b", "b"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.499999, 0.500001]], dtype=np.float32),
}
BATCH = Batch({MATRIX: np.arange(3, dtype=np.float32).reshape(3, 1)})


class FakeSession:
    """An ONNX Runtime session that returns the original's outputs after a change."""

    def __init__(self, change: Change, original: Outputs = ORIGINAL) -> None:
        self.change, self.original = change, original

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        rows = feed[MATRIX][:, 0].astype(int)
        outputs = {name: values[rows].copy() for name, values in self.original.items()}
        self.change(outputs, len(rows))
        return [outputs[name] for name in names]


def nudge(row: int, by: float, batch_size: int | None = None) -> Change:
    """Return a change that adds to a row's first probability, in all batches or those of one size."""

    def change(outputs: Outputs, rows: int) -> None:
        if batch_size in (None, rows) and rows > row:
            outputs["probabilities"][row, 0] += by

    return change


def relabel(row: int) -> Change:
    def change(outputs: Outputs, rows: int) -> None:
        if rows > row:
            outputs["label"][row] = "a" if outputs["label"][row] == "b" else "b"

    return change


@pytest.mark.parametrize(
    ("change", "verdict", "flips", "ties"),
    [
        (nudge(0, 0.0), "equal", 0, 0),
        (nudge(0, 9e-6), "equal", 0, 0),
        (nudge(0, 2e-5), "different", 0, 0),
        (nudge(0, 2e-5, batch_size=3), "different", 0, 0),
        (nudge(0, float("nan")), "different", 0, 0),
        (nudge(0, float("inf")), "different", 0, 0),
        (relabel(1), "different", 1, 0),
        (relabel(2), "equal", 1, 1),
    ],
)
def test_compare_outputs_counts_scores_labels_and_ties(
    change: Change, verdict: str, flips: int, ties: int
) -> None:
    report = compare_outputs(FakeSession(change), ORIGINAL, BATCH)
    assert (report.verdict, report.label_flips, report.ties) == (verdict, flips, ties)
    assert (report.reason is None) == (verdict == "equal")
    assert report.rows == 3


def test_compare_outputs_tolerance_is_relative_to_the_value() -> None:
    original = {"prediction": np.array([1e4, 0.0, 1.0], dtype=np.float32)}

    def add(by: float, row: int) -> Change:
        def change(outputs: Outputs, rows: int) -> None:
            if rows == 3:
                outputs["prediction"][row] += by

        return change

    assert compare_outputs(FakeSession(add(0.05, 0), original), original, BATCH).verdict == "equal"
    report = compare_outputs(FakeSession(add(0.05, 1), original), original, BATCH)
    assert report.verdict == "different"
    assert report.largest_at == {"row": 1, "batch_size": 16}
    assert report.label_flips is None
    assert compare_outputs(FakeSession(add(0.05, 1), original), original, BATCH, 1e4).verdict == "equal"
    report = compare_outputs(FakeSession(add(1e-6, 1), original), original, BATCH, 1e-2)
    assert (report.verdict, report.scale) == ("different", 1e-2)


def test_compare_outputs_margin_near_zero_is_a_tie() -> None:
    original = {"label": np.array([0, 1, 1]), "scores": np.array([[-1.0], [4e-6], [3.0]], dtype=np.float32)}

    def change(outputs: Outputs, rows: int) -> None:
        outputs["label"] = np.where(np.abs(outputs["scores"][:, 0]) < 1e-5, 0, outputs["label"])

    report = compare_outputs(FakeSession(change, original), original, BATCH)
    assert (report.verdict, report.label_flips, report.ties) == ("equal", 1, 1)


def test_compare_outputs_exception_is_a_difference() -> None:
    def fail(outputs: Outputs, rows: int) -> None:
        raise RuntimeError("Unknown Category")

    report = compare_outputs(FakeSession(fail), ORIGINAL, BATCH)
    assert report.verdict == "different"
    assert report.reason is not None
    assert report.reason.endswith("batch size 1: Unknown Category")


def test_parity_report_json_has_the_documented_fields() -> None:
    document = compare_outputs(FakeSession(nudge(0, 0.0)), ORIGINAL, BATCH).to_json()
    assert document["batch_sizes"] == list(BATCH_SIZES)
    assert {"verdict", "reason", "rows", "max_abs_difference", "label_flips", "tolerance"} <= set(document)
