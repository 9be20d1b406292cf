# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate.protocol.samples import sample_rows
from tidegate_serving.codecs.validation import validate_values
from tidegate_training.bundling.parity import compare_outputs
from tidegate_training.bundling.probes import LONG_TEXT_BYTES, MAX_SINGLE_ROWS, probe_rows, special_values


def make_contract(features: list[dict[str, Any]], rows: list[tuple[Any, ...]]) -> Contract:
    return Contract.model_validate(
        {
            "name": "probe",
            "task": "regression",
            "layout": "frame",
            "features": features,
            "outputs": [{"name": "prediction", "datatype": "FP32"}],
            "golden": {"rows": rows, "outputs": {"prediction": [1.0] * len(rows)}, "tolerance": 1e-5},
        }
    )


MIXED = make_contract(
    [
        {"name": "x", "datatype": "FP32", "minimum": -1.0, "maximum": 2.0, "missing": True},
        {"name": "d", "datatype": "FP64", "minimum": 0.25, "maximum": 0.75},
        {"name": "n", "datatype": "INT64", "minimum": 1, "maximum": 2**63 - 1},
        {"name": "i", "datatype": "INT32", "minimum": 1, "maximum": 9},
        {"name": "b", "datatype": "BOOL"},
        {
            "name": "open",
            "datatype": "BYTES",
            "categories": ["café", "u"],
            "handle_unknown": "accept",
            "missing": True,
        },
        {"name": "closed", "datatype": "BYTES", "categories": ["p", "q"]},
    ],
    [(0.5, 0.5, 4, 3, True, "u", "p"), (1.5, 0.25, 8, 7, False, "u", "q")],
)

Columns = dict[str, Any]
Fault = Callable[[Columns], Any]
"""Returns, per row, whether a broken compiled model differs."""


def in_text(condition: Callable[[str], Any]) -> Fault:
    return lambda columns: [bool(condition(text)) for text in columns["open"]]


FAULTS: dict[str, Fault] = {
    "minimum": lambda columns: columns["d"] == 0.25,
    "maximum": lambda columns: columns["n"] == 2**63 - 1,
    "far by 10 widths": lambda columns: columns["x"] == 2 + 3 * 10,
    "far by 1,000 widths": lambda columns: columns["x"] == -1 - 3 * 1e3,
    "far by 1,000,000 widths": lambda columns: columns["d"] == 0.75 + 0.5 * 1e6,
    "far together": lambda columns: (columns["x"] < -1e3) & (columns["d"] > 1e5),
    "far integer": lambda columns: columns["i"] > 10_000,
    "2**24 + 1 in 32 bits": lambda columns: columns["i"] == 2**24 + 1,
    "2**24 + 1 in 64 bits": lambda columns: columns["n"] == 2**24 + 1,
    "2**24 + 1 as a float": lambda columns: columns["d"] == 2**24 + 1,
    "2**53 + 1": lambda columns: columns["n"] == 2**53 + 1,
    "tie": lambda columns: (columns["x"] == 1.0) & (columns["d"] == 0.375) & (columns["n"] == 6),
    "zeros": lambda columns: (columns["x"] == 0) & (columns["d"] == 0) & (columns["n"] == 0),
    "all at the maximum": lambda columns: (
        (columns["x"] == 2) & (columns["d"] == 0.75) & (columns["closed"] == "q")
    ),
    "unknown": in_text(lambda text: text not in ("café", "u", "")),
    "letter case": in_text(lambda text: text == "CAFÉ"),
    "spaces": in_text(lambda text: text == " café "),
    "another normal form": in_text(lambda text: text == unicodedata.normalize("NFD", "café")),
    "accent": in_text(lambda text: text == "é"),
    "combining mark": in_text(lambda text: text.endswith("e\u0301") and len(text) == 6),
    "CJK": in_text(lambda text: "漢" in text),
    "right to left": in_text(lambda text: "ש" in text),
    "dotted I": in_text(lambda text: "İ" in text),
    "sharp s": in_text(lambda text: "ß" in text),
    "emoji": in_text(lambda text: "🙂" in text),
    "NUL": in_text(lambda text: text == "café\0"),
    "inside a word": in_text(lambda text: text == "café漢字café"),
    "10 kB": in_text(lambda text: len(text.encode()) >= LONG_TEXT_BYTES),
}
"""Faults that only one kind of row shows."""


class BrokenSession:
    """An ONNX Runtime session whose output is 0, and 1 for the rows of a fault."""

    def __init__(self, fault: Fault, batch: Batch) -> None:
        # In sequence: the rows of one batch size after the other.
        self.outputs, self.next = np.asarray(fault(dict(batch.arrays)), np.float32), 0

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        start, self.next = self.next, self.next + len(next(iter(feed.values())))
        values = self.outputs[start : self.next]
        self.next %= len(self.outputs)
        return [values]


def verdict(fault: Fault, batch: Batch) -> str:
    original = {"prediction": np.zeros(len(batch), np.float32)}
    return compare_outputs(BrokenSession(fault, batch), original, batch).verdict


@pytest.mark.parametrize("kind", FAULTS)
def test_probe_rows_show_a_fault_that_samples_do_not(kind: str) -> None:
    assert verdict(FAULTS[kind], Batch.from_rows(MIXED, sample_rows(MIXED, 500, seed=0))) == "equal"
    assert verdict(FAULTS[kind], probe_rows(MIXED, seed=0)) == "different"


def test_probe_rows_missing_values_where_the_contract_allows() -> None:
    columns = probe_rows(MIXED, seed=0).arrays
    assert np.isnan(columns["x"]).any()
    assert "" in columns["open"]
    assert np.isfinite(columns["d"]).all()
    assert set(columns["closed"]) == {"p", "q"}


@pytest.mark.parametrize("feature", MIXED.features, ids=lambda feature: feature.name)
def test_probe_rows_are_accepted_by_the_server(feature: Any) -> None:
    column = probe_rows(MIXED, seed=0).arrays[feature.name]
    assert column.dtype == feature.datatype.dtype
    validated = validate_values([feature], column, str(feature.datatype), str)
    assert len(validated) == len(column)


def test_probe_rows_one_feature_at_a_time_is_special() -> None:
    columns = probe_rows(MIXED, seed=0).arrays
    count = sum(len(special_values(feature)) for feature in MIXED.features)
    typical = MIXED.golden.rows[0]
    changed = np.array(
        [columns[name][:count] != value for name, value in zip(MIXED.feature_names, typical, strict=True)]
    )
    assert changed.sum(axis=0).max() == 1


def test_probe_rows_hardly_grow_with_the_features() -> None:
    features = [
        {"name": f"f{index}", "datatype": "FP32", "minimum": -1.0, "maximum": 2.0} for index in range(2_000)
    ]
    contract = make_contract(features, [(0.5,) * 2_000])
    (matrix,) = probe_rows(contract, seed=0).arrays.values()
    assert MAX_SINGLE_ROWS < len(matrix) < MAX_SINGLE_ROWS + 1_000
    single = matrix[:MAX_SINGLE_ROWS]
    assert all((single == value).any(axis=0).all() for value in special_values(contract.features[0]))


def test_probe_rows_same_seed_gives_the_same_rows() -> None:
    first, second, other = (probe_rows(MIXED, seed).arrays["d"] for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()


def test_special_values_of_a_closed_category_are_the_known_ones() -> None:
    assert special_values(MIXED.features[-1]) == ["p", "q"]
