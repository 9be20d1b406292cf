# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tidegate.baseline import population_stability_index
from tidegate.bundle import Bundle
from tidegate.errors import FieldError
from tidegate.reference import Reference
from tidegate_training.config import Data
from tidegate_training.data.drift import DriftReport, index_by_chance, measure_drift
from tidegate_training.data.source import read_source
from tidegate_training.expectation_options import Drift

Row = list[str]


def measure(
    bundle: Bundle, folder: Path, change: Callable[[Row], Row], limits: dict[str, float] | None = None
) -> DriftReport:
    """Measure the drift of the training data of a bundle after a change of each row, the header included."""
    lines = (bundle.path.parent / "rows.csv").read_text().splitlines()
    (folder / "new.csv").write_text("\n".join(",".join(change(line.split(","))) for line in lines) + "\n")
    options = Drift(reference="s3://models/mixed:stable", columns=limits or {})
    source = read_source(Data(path="new.csv"), folder)
    return measure_drift(options, Reference("s3://models", "mixed", bundle.digest), bundle, source)


def test_measure_drift_of_the_same_data_has_no_violation(mixed_bundle: Bundle, tmp_path: Path) -> None:
    report = measure(mixed_bundle, tmp_path, lambda row: row)
    assert list(report.features) == ["age", "visits", "smoker", "city", "grade"]
    assert all(0 <= drift.index < 0.1 for drift in report.features.values() if drift.index is not None)
    assert (report.violations, report.missing) == ([], ())
    assert (
        f"The largest drift from s3://models/mixed@sha256:{mixed_bundle.digest} is 0." in report.sentences[0]
    )


def test_measure_drift_names_the_column_and_no_value(mixed_bundle: Bundle, tmp_path: Path) -> None:
    """All patients are from a new city, and one number of visits is a text."""
    report = measure(
        mixed_bundle,
        tmp_path,
        lambda row: row if row[0] == "age" else [row[0], row[1] + "?", *row[2:3], "Bergen", *row[4:]],
    )
    visits, city = report.violations
    assert str(visits).startswith("'visits': expected values of its type in s3://models/mixed@sha256:")
    assert str(city).startswith(
        "'city': expected a drift (PSI) of at most 0.25 from s3://models/mixed@sha256:"
    )
    assert "?" not in f"{visits}{city}"
    assert "Bergen" not in f"{visits}{city}"


def test_measure_drift_counts_missing_values(mixed_bundle: Bundle, tmp_path: Path) -> None:
    report = measure(
        mixed_bundle, tmp_path, lambda row: ["" if row[0] > "5" and row[0] != "age" else row[0], *row[1:]]
    )
    assert [violation.column for violation in report.violations] == ["age"]


def test_measure_drift_without_a_column_says_so(mixed_bundle: Bundle, tmp_path: Path) -> None:
    report = measure(mixed_bundle, tmp_path, lambda row: row[1:])
    assert report.missing == ("age",)
    assert report.sentences[-1].startswith("The data has no column 'age' of s3://models/mixed@sha256:")


def test_measure_drift_limits_a_column_of_its_own(mixed_bundle: Bundle, tmp_path: Path) -> None:
    def without_half_of_a_city(row: Row) -> Row:
        return [*row[:3], "Rome" if row[3] == "Oslo" and int(row[1]) > 2 else row[3], *row[4:]]

    def violations(limits: dict[str, float]) -> list[str | None]:
        report = measure(mixed_bundle, tmp_path, without_half_of_a_city, limits)
        return [violation.column for violation in report.violations]

    assert violations({}) == ["city"]
    assert violations({"city": 5}) == []


def test_measure_drift_limit_of_another_column_is_rejected(mixed_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"'weight' is not a feature of .*, expected one of age, visits"):
        measure(mixed_bundle, tmp_path, lambda row: row, {"weight": 0.1})


def test_index_by_chance_is_exceeded_once_in_a_thousand_times() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.multinomial(n, [0.1] * 10, 5_000) for n in (2_000, 1_000))
    limit = index_by_chance(first[0], second[0])
    exceeded = sum(population_stability_index(*pair) > limit for pair in zip(first, second, strict=True))
    assert 0 < exceeded < 15
