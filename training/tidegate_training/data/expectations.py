# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Checks the data against the owner's expectations, before anything is fitted.

Every column is checked, and the error lists every violation with columns, counts and row numbers. It has no
value, because a column may be restricted. Rows are counted from 1, without the header.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate_training.data.columns import Column
from tidegate_training.data.source import Source
from tidegate_training.expectation_options import ColumnExpectation, Expectations, Freshness

MAX_LISTED_ROWS = 5
"""Largest number of row numbers per violation."""

_NUMBERS = ("float", "integer")


@dataclass(frozen=True, slots=True)
class Violation:
    """An expectation that the data misses.

    Attributes:
        column: The column; None for the rows as a whole.
        problem: What is expected, and what was found.
        rows: The numbers of the first rows, from 1; none if the problem is not about single rows.
    """

    column: str | None
    problem: str
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = "" if self.column is None else f"'{self.column}': "
        listed = f" (row {', '.join(map(str, self.rows))})" if self.rows else ""
        return f"{where}{self.problem}{listed}"


def require_expectations(
    source: Source,
    expectations: Expectations,
    drift: Sequence[Violation] = (),
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Check that the data meets every expectation.

    Args:
        source: The data.
        expectations: The expectations.
        drift: The features that have drifted too far.
        clock: Returns the time that the age of the newest row counts to.

    Raises:
        FieldError: If an expectation names a column that does not exist.
        DataError: If the data misses an expectation. The message lists each.
    """
    violations = [*find_violations(source, expectations, clock), *drift]
    if violations:
        count = len(violations)
        raise DataError(
            f"{source.name} misses {count} {'expectation' if count == 1 else 'expectations'}: "
            f"{'; '.join(map(str, violations))}. Correct the data, or change expectations."
        )


def find_violations(
    source: Source, expectations: Expectations, clock: Callable[[], datetime]
) -> list[Violation]:
    """Return the expectations that the data misses, except drift, column by column.

    Args:
        source: The data.
        expectations: The expectations.
        clock: Returns the time that the age of the newest row counts to.

    Raises:
        FieldError: If an expectation names a column that does not exist.
    """
    violations = []
    if expectations.min_rows is not None and source.rows < expectations.min_rows:
        violations.append(
            Violation(None, f"expected {expectations.min_rows:,} rows or more, received {source.rows:,}")
        )
    for name, expectation in expectations.columns.items():
        source.require_column(name, ("expectations", "columns", name))
        violations += _check_column(source, name, expectation)
    if expectations.freshness is not None:
        source.require_column(expectations.freshness.column, ("expectations", "freshness", "column"))
        violations += _check_freshness(source, expectations.freshness, clock())
    return violations


def _check_column(source: Source, name: str, expectation: ColumnExpectation) -> list[Violation]:
    column = source.column(name).convert(None)
    violations = []
    if expectation.kind is not None and not _is_kind(column, expectation.kind):
        violations.append(
            Violation(name, f"expected values of the kind '{expectation.kind}', received '{column.kind}'")
        )
    if expectation.max_missing is not None and column.missing.mean() > expectation.max_missing:
        problem = (
            f"expected at most {expectation.max_missing:.3g} of the rows without a value, received "
            f"{column.missing.mean():.3g}"
        )
        violations.append(_of_rows(name, problem, column.missing))
    limits = (("min", expectation.min, np.less), ("max", expectation.max, np.greater))
    for word, limit, exceeds in limits:
        if limit is None:
            continue
        if column.kind not in _NUMBERS:
            violations.append(Violation(name, f"expected numbers for {word}, received '{column.kind}'"))
            continue
        outside = exceeds(column.values, limit) & ~column.missing
        if outside.any():
            side = "or more" if word == "min" else "or less"
            violations.append(_of_rows(name, f"expected {limit:g} {side} in {outside.sum():,} rows", outside))
    if expectation.allowed is not None:
        texts = source.column(name).convert("text")
        other = ~np.isin(texts.values.astype(str), [str(value) for value in expectation.allowed])
        other &= ~column.missing
        if other.any():
            violations.append(_of_rows(name, f"expected an allowed value in {other.sum():,} rows", other))
    if expectation.unique:
        present = np.flatnonzero(~column.missing)
        _, first = np.unique(column.values[present].astype(str), return_index=True)
        repeated = np.zeros(len(column.missing), np.bool_)
        repeated[np.delete(present, first)] = True
        if repeated.any():
            violations.append(
                _of_rows(name, f"expected each value once, received {repeated.sum():,} repetitions", repeated)
            )
    return violations


def _check_freshness(source: Source, freshness: Freshness, now: datetime) -> list[Violation]:
    column = source.column(freshness.column).convert("time")
    limit = f"expected a row of the last {freshness.max_age_days:g} days"
    if column.missing.all():
        return [Violation(freshness.column, f"{limit}, received no time")]
    newest = column.values[~column.missing].max().astype("datetime64[us]").astype(datetime)
    age = now.replace(tzinfo=None) - newest
    if age <= timedelta(days=freshness.max_age_days):
        return []
    return [
        Violation(
            freshness.column, f"{limit}, received {age / timedelta(days=1):.1f} days for the newest row"
        )
    ]


def _is_kind(column: Column, kind: str) -> bool:
    return column.kind in _NUMBERS if kind == "number" else column.kind == kind


def _of_rows(name: str, problem: str, mask: NDArray[np.bool_]) -> Violation:
    rows = np.flatnonzero(mask)[:MAX_LISTED_ROWS] + 1
    return Violation(name, problem, tuple(rows.tolist()))
