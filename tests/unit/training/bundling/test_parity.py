# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tidegate_training.bundling.parity import BATCH_SIZES, compare, probe_rows

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract

ORIGINAL = {
    "label": np.array(["a", "b", "b"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.499999, 0.500001]], dtype=np.float32),
}
BATCH = Batch({MATRIX: np.arange(3, dtype=np.float32).reshape(3, 1)})


class Compiled:
    """Stands for an ONNX Runtime session: a change to the original's answers, row by row."""

    def __init__(self, change: Callable[[dict[str, Any], int], None], original: dict[str, Any] = ORIGINAL):
        self.change, self.original = change, original

    def run(self, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
        rows = feed[MATRIX][:, 0].astype(int)
        answers = {name: values[rows].copy() for name, values in self.original.items()}
        self.change(answers, len(rows))
        return [answers[name] for name in outputs]


def nudge(row: int, by: float, only: int | None = None) -> Callable[[dict[str, Any], int], None]:
    """Add to a row's first probability; only in batches of one length, if that is given."""

    def change(answers: dict[str, Any], rows: int) -> None:
        if only in (None, rows) and rows > row:
            answers["probabilities"][row, 0] += by

    return change


def relabel(row: int) -> Callable[[dict[str, Any], int], None]:
    def change(answers: dict[str, Any], rows: int) -> None:
        if rows > row:
            answers["label"][row] = "a" if answers["label"][row] == "b" else "b"

    return change


@pytest.mark.parametrize(
    ("change", "verdict", "flips", "ties"),
    [
        (nudge(0, 0.0), "equal", 0, 0),
        (nudge(0, 9e-6), "equal", 0, 0),
        (nudge(0, 2e-5), "different", 0, 0),
        (nudge(0, 2e-5, only=3), "different", 0, 0),
        (nudge(0, float("nan")), "different", 0, 0),
        (nudge(0, float("inf")), "different", 0, 0),
        (relabel(1), "different", 1, 0),
        (relabel(2), "equal", 1, 1),
    ],
)
def test_equal_means_every_score_and_every_label_but_ties(change, verdict: str, flips: int, ties: int):
    certificate = compare(Compiled(change), ORIGINAL, BATCH)
    assert (certificate.verdict, certificate.label_flips, certificate.ties) == (verdict, flips, ties)
    assert (certificate.reason is None) == (verdict == "equal")
    assert certificate.rows == 3


def test_a_value_may_differ_by_the_tolerance_of_its_size():
    original = {"prediction": np.array([1e4, 0.0, 1.0], dtype=np.float32)}

    def change(by: float, row: int):
        def apply(answers: dict[str, Any], rows: int) -> None:
            if rows == 3:
                answers["prediction"][row] += by

        return apply

    assert compare(Compiled(change(0.05, 0), original), original, BATCH).verdict == "equal"
    small = compare(Compiled(change(0.05, 1), original), original, BATCH)
    assert small.verdict == "different"
    assert small.largest_at == {"row": 1, "batch_size": 16}
    assert small.label_flips is None


def test_a_margin_near_zero_is_a_tie():
    original = {"label": np.array([0, 1, 1]), "scores": np.array([[-1.0], [4e-6], [3.0]], dtype=np.float32)}

    def change(answers: dict[str, Any], rows: int) -> None:
        answers["label"] = np.where(np.abs(answers["scores"][:, 0]) < 1e-5, 0, answers["label"])

    certificate = compare(Compiled(change, original), original, BATCH)
    assert (certificate.verdict, certificate.label_flips, certificate.ties) == ("equal", 1, 1)


def test_a_compiled_form_that_fails_on_a_row_is_not_equal():
    def fail(answers: dict[str, Any], rows: int) -> None:
        raise RuntimeError("Unknown Category")

    certificate = compare(Compiled(fail), ORIGINAL, BATCH)
    assert certificate.verdict == "different"
    assert certificate.reason == "it fails at batch size 1: Unknown Category"


def test_the_certificate_s_document_has_the_agreed_fields():
    document = compare(Compiled(nudge(0, 0.0)), ORIGINAL, BATCH).payload()
    assert document["batch_sizes"] == list(BATCH_SIZES)
    assert {"verdict", "reason", "rows", "max_abs_difference", "label_flips", "tolerance"} <= set(document)


def test_probes_go_to_every_limit_gap_and_unknown_category():
    contract = Contract.model_validate(
        {
            "name": "probe",
            "task": "regression",
            "features": [
                {"name": "x", "datatype": "FP32", "minimum": -1.0, "maximum": 2.0, "missing": True},
                {"name": "n", "datatype": "INT64", "minimum": 0, "maximum": 2**63 - 1},
                {"name": "b", "datatype": "BOOL"},
                {"name": "open", "datatype": "BYTES", "categories": ["u", "v"], "handle_unknown": "accept"},
                {"name": "closed", "datatype": "BYTES", "categories": ["p"]},
            ],
            "outputs": [{"name": "prediction", "datatype": "FP32"}],
            "golden": {
                "rows": ((0.5, 4, True, "u", "p"),),
                "outputs": {"prediction": [1.0]},
                "tolerance": 1e-5,
            },
        }
    )
    rows = probe_rows(contract, 0)
    seen = [{row[index] for row in rows} for index in range(5)]
    assert {-1.0, 2.0, None} <= seen[0]
    assert {0, 2**63 - 1} <= seen[1]
    assert seen[2] == {True, False}
    assert seen[3] == {"u", "v", "?u"}
    assert seen[4] == {"p"}
    assert [-1.0, 0, False, "u", "p"] in rows
    assert all(type(row[1]) is int for row in rows)
    assert len(Batch.from_rows(contract, rows)) == len(rows)
