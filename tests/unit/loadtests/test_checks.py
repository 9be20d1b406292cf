# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from tidegate_loadtests.checks import Bound, CheckResult, compare


@pytest.mark.parametrize(
    ("value", "bound", "outcome"),
    [
        (2.0, "max", "pass"),
        (2.1, "max", "fail"),
        (2.0, "min", "pass"),
        (1.9, "min", "fail"),
        (2.0, "exact", "pass"),
        (3.0, "exact", "fail"),
        (None, "max", "fail"),
        (None, "min", "fail"),
    ],
)
def test_compare_includes_the_threshold(value: float | None, bound: Bound, outcome: str) -> None:
    assert compare(value, 2.0, bound) == outcome


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (
            CheckResult("p99_ms", 61.0, 50.0, "max", "fail", "peak"),
            "p99 latency in phase 'peak': expected at most 50 ms, measured 61 ms",
        ),
        (
            CheckResult("reaction_seconds", None, 30.0, "max", "fail", detail="it stayed at 1"),
            "reaction time: expected at most 30 s, never reached: it stayed at 1",
        ),
        (
            CheckResult("reaction_seconds", None, 30.0, "max", "inconclusive", detail="no load step"),
            "reaction time: expected at most 30 s, measured nothing: no load step",
        ),
        (
            CheckResult("failure_ratio", 0.011, 0.01, "max", "fail", "main"),
            "failure ratio in phase 'main': expected at most 1 %, measured 1.1 %",
        ),
        (
            CheckResult("goodput", 94.9, 95, "min", "fail", "main"),
            "goodput in phase 'main': expected at least 95 /s, measured 94.9 /s",
        ),
        (
            CheckResult("final_replicas", 3, 1, "exact", "fail"),
            "ready replicas at the end: expected exactly 1, measured 3",
        ),
    ],
)
def test_check_names_figure_threshold_and_value(check: CheckResult, text: str) -> None:
    assert str(check) == text
