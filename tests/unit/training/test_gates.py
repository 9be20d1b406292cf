# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_training.gates import Gate, decide, parse_gate, require

from tidegate.errors import ExitCode, GateNotPassedError

SCORES = {
    "train": {"f1": 0.99, "roc_auc": 1.0},
    "test": {"f1": 0.9, "roc_auc": None},
    "gap": {"f1": 0.09, "roc_auc": None},
}


@pytest.mark.parametrize(
    ("key", "rule", "passed", "told"),
    [
        ("test.f1", ">= 0.9", True, "test.f1 >= 0.9 is met by 0 (measured 0.9)"),
        ("test.f1", ">= 0.95", False, "test.f1 >= 0.95 is missed by 0.05 (measured 0.9)"),
        ("gap.f1", "<= 0.05", False, "gap.f1 <= 0.05 is missed by 0.04 (measured 0.09)"),
        ("gap.f1", "<=1e-1", True, "gap.f1 <= 0.1 is met by 0.01 (measured 0.09)"),
        (
            "test.roc_auc",
            ">= 0",
            False,
            "test.roc_auc >= 0 is not met: the metric is not defined on this data",
        ),
    ],
)
def test_a_gate_is_decided_and_told(key: str, rule: str, passed: bool, told: str):
    (result,) = decide([parse_gate(key, rule)], SCORES)
    assert (result.passed, str(result)) == (passed, told)


@pytest.mark.parametrize("key", ["f1", "test", "test.", "holdout.f1", "test.f2", "test.f1.x", ""])
def test_a_gate_on_nothing_that_is_measured_is_refused(key: str):
    with pytest.raises(ValueError, match=r"is not <scope>\.<metric>"):
        parse_gate(key, ">= 1")


@pytest.mark.parametrize(
    "rule", ["", "0.9", "> 0.9", ">= ", ">= x", ">= 0.9 0.8", ">= nan", ">= inf", "== 1", ">=0x1"]
)
def test_a_rule_that_says_no_threshold_is_refused(rule: str):
    with pytest.raises(ValueError, match="expected '>= number' or '<= number'"):
        parse_gate("test.f1", rule)


@given(st.sampled_from([">=", "<="]), st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_threshold_is_read_as_it_was_written(comparison: str, threshold: float):
    assert parse_gate("test.f1", f"{comparison} {threshold!r}") == Gate("test", "f1", comparison, threshold)


@given(st.text())
def test_any_text_is_a_threshold_or_refused(text: str):
    try:
        gate = parse_gate("test.f1", text)
    except ValueError:
        return
    assert math.isfinite(gate.threshold)


def test_missed_gates_stop_the_run_and_name_each():
    results = decide([parse_gate("test.f1", ">= 0.95"), parse_gate("gap.f1", "<= 0.05")], SCORES)
    with pytest.raises(GateNotPassedError, match=r"there is no bundle: test\.f1 .*; gap\.f1") as caught:
        require("test", results)
    assert caught.value.exit_code is ExitCode.GATE_NOT_PASSED


def test_gates_that_are_met_stop_nothing():
    require("test", decide([parse_gate("test.f1", ">= 0.5")], SCORES))
