# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import ExitCode, GateNotPassedError
from tidegate_training.gates import Gate, evaluate_gates, parse_gate, require_gates

METRICS = {
    "train": {"f1": 0.99, "roc_auc": 1.0},
    "test": {"f1": 0.9, "roc_auc": None},
    "gap": {"f1": 0.09, "roc_auc": None},
}


@pytest.mark.parametrize(
    ("key", "rule", "passed", "words"),
    [
        ("test.f1", ">= 0.9", True, ["test.f1 >= 0.9", "passed by 0", "measured 0.9"]),
        ("test.f1", ">= 0.95", False, ["test.f1 >= 0.95", "missed by 0.05", "measured 0.9"]),
        ("gap.f1", "<= 0.05", False, ["gap.f1 <= 0.05", "missed by 0.04", "measured 0.09"]),
        ("gap.f1", "<=1e-1", True, ["gap.f1 <= 0.1", "passed by 0.01", "measured 0.09"]),
        ("test.roc_auc", ">= 0", False, ["test.roc_auc >= 0", "missed", "not defined"]),
    ],
)
def test_evaluate_gates_returns_verdict_and_margin(
    key: str, rule: str, passed: bool, words: list[str]
) -> None:
    (result,) = evaluate_gates([parse_gate(key, rule)], METRICS)
    assert result.passed == passed
    for word in words:
        assert word in str(result)


@pytest.mark.parametrize("key", ["f1", "test", "test.", "holdout.f1", "test.f2", "test.f1.x", ""])
def test_parse_gate_unknown_metric_is_rejected(key: str) -> None:
    with pytest.raises(ValueError, match=rf"<scope>\.<metric>.*received '{key}'"):
        parse_gate(key, ">= 1")


@pytest.mark.parametrize(
    "rule", ["", "0.9", "> 0.9", ">= ", ">= x", ">= 0.9 0.8", ">= nan", ">= inf", "== 1", ">=0x1"]
)
def test_parse_gate_invalid_rule_is_rejected(rule: str) -> None:
    with pytest.raises(ValueError, match=f"expected '>= number' or '<= number', received '{rule}'"):
        parse_gate("test.f1", rule)


@given(st.sampled_from([">=", "<="]), st.floats(allow_nan=False, allow_infinity=False))
def test_parse_gate_finite_threshold_is_read_exactly(comparison: str, threshold: float) -> None:
    assert parse_gate("test.f1", f"{comparison} {threshold!r}") == Gate("test", "f1", comparison, threshold)


@given(st.text())
def test_parse_gate_any_text_is_finite_or_rejected(text: str) -> None:
    try:
        gate = parse_gate("test.f1", text)
    except ValueError:
        return
    assert math.isfinite(gate.threshold)


def test_require_gates_missed_gates_are_named() -> None:
    results = evaluate_gates([parse_gate("test.f1", ">= 0.95"), parse_gate("gap.f1", "<= 0.05")], METRICS)
    with pytest.raises(GateNotPassedError, match=r"'test' .*no bundle: test\.f1 .*; gap\.f1") as caught:
        require_gates("test", results)
    assert caught.value.exit_code is ExitCode.GATE_NOT_PASSED


def test_require_gates_passed_gates_raise_nothing() -> None:
    require_gates("test", evaluate_gates([parse_gate("test.f1", ">= 0.5")], METRICS))
