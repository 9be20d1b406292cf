# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import DataError, FieldError
from tidegate_training.config import Data
from tidegate_training.data.expectations import require_expectations
from tidegate_training.data.source import read_source
from tidegate_training.expectation_options import Expectations

CSV = """id,age,housing,day
1,17,owner,2026-01-01
2,40,rent,2026-01-05
2,,boat,2026-01-03
4,130,rent,2026-01-04
"""


def require(tmp_path: Path, **expectations: Any) -> None:
    (tmp_path / "loans.csv").write_text(CSV)
    source = read_source(Data(path="loans.csv"), tmp_path)
    require_expectations(
        source, Expectations.model_validate(expectations), clock=lambda: datetime(2026, 1, 15, tzinfo=UTC)
    )


def test_require_expectations_lists_each_violation_without_a_value(tmp_path: Path) -> None:
    columns = {
        "id": {"unique": True},
        "age": {"min": 18, "max": 100, "max_missing": 0.1, "kind": "integer"},
        "housing": {"allowed": ["owner", "rent"]},
    }
    with pytest.raises(DataError) as error:
        require(tmp_path, min_rows=10, columns=columns, freshness={"column": "day", "max_age_days": 7})
    message = str(error.value)
    for part in (
        "loans.csv misses 8 expectations",
        "expected 10 rows or more, received 4",
        "'id': expected each value once, received 1 repetitions (row 3)",
        "'age': expected values of the kind 'integer', received 'float'",
        "'age': expected at most 0.1 of the rows without a value, received 0.25 (row 3)",
        "'age': expected 18 or more in 1 rows (row 1)",
        "'age': expected 100 or less in 1 rows (row 4)",
        "'housing': expected an allowed value in 1 rows (row 3)",
        "'day': expected a row of the last 7 days, received 10.0 days for the newest row",
    ):
        assert part in message
    assert "boat" not in message
    assert "130" not in message


def test_require_expectations_that_are_met_pass(tmp_path: Path) -> None:
    columns = {
        "age": {"min": 17, "max": 130, "max_missing": 0.25, "kind": "number"},
        "housing": {"allowed": ["owner", "rent", "boat"], "kind": "text"},
        "id": {"allowed": [1, 2, 4], "kind": "integer"},
    }
    require(tmp_path, min_rows=4, columns=columns, freshness={"column": "day", "max_age_days": 10})


def test_require_expectations_of_another_column_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"loans\.csv has no column 'street', expected one of id, age"):
        require(tmp_path, columns={"street": {"unique": True}})
