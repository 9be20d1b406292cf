# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from typing import Any

from tidegate_training.evaluation.diagnosis import CurvePoint, Diagnosis


def point(label: Any, *held_out: float) -> CurvePoint:
    return CurvePoint(label, tuple(value + 0.1 for value in held_out), held_out)


DIAGNOSIS = Diagnosis(
    "f1",
    0.25,
    (point(70, 0.60, 0.62, 0.61), point(100, 0.70, 0.72, 0.72)),
    "C",
    1.0,
    {"L2": (point(0.01, 0.5, 0.6, 0.5), point(0.1, 0.70, 0.72, 0.71), point(1.0, 0.71, 0.74, 0.70))},
    (point("Ridge", 0.5, 0.5, 0.6), point("SVC", 0.70, 0.72, 0.72)),
)


def texts(diagnosis: Diagnosis) -> str:
    return " ".join(found.text for found in diagnosis.findings)


def test_findings_say_that_more_rows_help_if_the_interval_does() -> None:
    assert "More data would help: from 70 to 100 rows, F1 of held-out rows changes by 0.103" in texts(
        DIAGNOSIS
    )
    flat = replace(DIAGNOSIS, learning=(point(70, 0.6, 0.7, 0.65), point(100, 0.7, 0.6, 0.66)))
    assert "It is not shown that more data would help" in texts(flat)


def test_findings_name_the_stronger_regularization_within_one_error() -> None:
    text = texts(DIAGNOSIS)
    assert "L2 with C=1.0 has the highest F1 of held-out rows, 0.717" in text
    assert "C=0.1 is stronger and within one standard error, with 0.710" in text


def test_findings_prefer_the_simplest_model_within_one_error() -> None:
    assert "No simpler model is within one standard error of SVC" in texts(DIAGNOSIS)
    close = replace(DIAGNOSIS, models=(point("Ridge", 0.71, 0.71, 0.71), DIAGNOSIS.models[1]))
    assert "a simpler model is enough: Ridge has F1 0.710" in texts(close)


def test_each_finding_has_its_curve() -> None:
    evidence = [found.evidence for found in DIAGNOSIS.findings]
    assert evidence == ["learning_curve", "learning_curve", "regularization", "simpler_models"]
    assert len(DIAGNOSIS.to_json()["findings"]) == 4
