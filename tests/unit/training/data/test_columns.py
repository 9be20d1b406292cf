# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tidegate.csv_file import CsvFormat
from tidegate.errors import DataError
from tidegate_training.data.columns import ArrowColumn, Column, DeclaredKind, TextColumn


def of_texts(*texts: str, kind: DeclaredKind | None = None, **options: Any) -> Column:
    return TextColumn("data.csv: the column 'a'", texts, CsvFormat(**options)).convert(kind)


def of_arrow(values: list[Any], kind: DeclaredKind | None = None, dtype: pa.DataType | None = None) -> Column:
    data = pa.chunked_array([pa.array(values, dtype)])
    return ArrowColumn("data.parquet: the column 'a'", data).convert(kind)


def content(column: Column) -> tuple[str, list[Any]]:
    """Return the kind and the values, None if missing."""
    pairs = zip(column.values.tolist(), column.missing.tolist(), strict=True)
    return column.kind, [None if missing else value for value, missing in pairs]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-2"], ("integer", [1, -2])),
        (["1", "", "3"], ("float", [1.0, None, 3.0])),
        (["1", "NA", "2.5"], ("float", [1.0, None, 2.5])),
        (["true", "", "False"], ("boolean", [True, None, False])),
        (["0", "1"], ("integer", [0, 1])),
        (["x", "", "NA"], ("text", ["x", None, "NA"])),
        (["2021-03-01", ""], ("time", [datetime(2021, 3, 1), None])),
        (["", ""], ("float", [None, None])),
    ],
)
def test_text_column_without_a_type_has_the_narrowest(texts: list[str], expected: Any) -> None:
    assert content(of_texts(*texts)) == expected


@pytest.mark.parametrize(
    ("texts", "kind", "expected"),
    [
        (["true", "", "False"], "text", ("text", ["true", None, "False"])),
        (["0100", "7"], "text", ("text", ["0100", "7"])),
        (["0100", "7"], "number", ("integer", [100, 7])),
        (["1.50", "1.5"], "text", ("text", ["1.50", "1.5"])),
        (["2021-03-01", ""], "text", ("text", ["2021-03-01", None])),
        (["1", "0", ""], "boolean", ("boolean", [True, False, None])),
    ],
)
def test_text_column_of_a_declared_type_is_not_guessed(texts: list[str], kind: Any, expected: Any) -> None:
    assert content(of_texts(*texts, kind=kind)) == expected


def test_text_column_options_spell_numbers_and_missing_values() -> None:
    column = of_texts("1.234,5", "-", "0,25", decimal=",", thousands=".", missing=["-"])
    assert content(column) == ("float", [1234.5, None, 0.25])
    assert content(of_texts("x", "-", kind="text", missing=["-"])) == ("text", ["x", None])


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        (["1", "", "x"], "number", "has the text 'x' in row 3: expected a number"),
        (["true", "no"], "boolean", "has the text 'no' in row 2: expected true or false"),
        ([str(2**63)], None, "beyond the range of INT64: set datatype: text"),
        ([str(2**53 + 1), ""], None, "9007199254740993 in row 1 and misses values.* beyond 2\\^53"),
        (["", str(-(2**63))], None, "-9223372036854775808 in row 2 and misses values"),
    ],
)
def test_text_column_unfit_value_is_rejected_with_its_row(texts: list[str], kind: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        of_texts(*texts, kind=kind)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["0100", "7"], {}, "'0100' in row 1, and a number would lose the zeros"),
        (["", "007"], {}, "'007' in row 2"),
        (["1", "2", "NA", "x"], {}, "the text 'x' in row 4, and most of its values are numbers"),
        (["1,5", "2", "x"], {}, "'1,5' in row 1.*another spelling: set data.csv.decimal: ','"),
        (["1 234", "2 345,5"], {"decimal": ","}, "'1 234' in row 1.*set data.csv.thousands"),
        (["1.5", "2.5"], {"decimal": ","}, r"set data\.csv\.decimal: '\.'"),
        (["x", "y", "1,5"], {}, None),
        (["1", "20", "0"], {}, None),
        (["0.5", "00.5"], {}, None),
    ],
)
def test_text_column_other_reading_names_the_option(
    texts: list[str], options: dict[str, Any], message: str | None
) -> None:
    raw = TextColumn("data.csv: the column 'a'", texts, CsvFormat(**options))
    problem = raw.other_reading(raw.convert(None))
    if message is None:
        assert problem is None
    else:
        with pytest.raises(DataError, match=message):
            raise DataError(problem)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([True, None, False], None, ("boolean", [True, None, False])),
        ([True, None, False], "text", ("text", ["true", None, "false"])),
        ([100, None], "text", ("text", ["100", None])),
        ([100, None], None, ("float", [100.0, None])),
        ([1, 2], "number", ("integer", [1, 2])),
        (["0100", None], None, ("text", ["0100", None])),
        (["0100", "7"], "number", ("integer", [100, 7])),
        ([Decimal("1.5"), None], None, ("float", [1.5, None])),
        ([date(2021, 3, 1), None], "text", ("text", ["2021-03-01", None])),
        ([date(2021, 3, 1), None], None, ("time", [datetime(2021, 3, 1), None])),
        ([None, None], None, ("float", [None, None])),
    ],
)
def test_arrow_column_keeps_its_type_unless_declared(values: list[Any], kind: Any, expected: Any) -> None:
    assert content(of_arrow(values, kind)) == expected


def test_arrow_column_categories_have_the_type_of_their_values() -> None:
    data = pa.chunked_array([pa.array(["x", None, "x"]).dictionary_encode()])
    assert content(ArrowColumn("a", data).convert(None)) == ("text", ["x", None, "x"])


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "message"),
    [
        ([0.5], "text", None, "values of the type double, which have no one spelling"),
        ([2**63], None, pa.uint64(), "beyond the range of INT64"),
        ([2**53 + 1, None], None, None, "in row 1 and misses values"),
        ([b"x"], None, None, "values of the type binary, which cannot become a feature"),
        ([[1]], None, None, "values of the type list"),
    ],
)
def test_arrow_column_unfit_type_is_rejected(values: list[Any], kind: Any, dtype: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        of_arrow(values, kind, dtype)


def test_columns_of_one_table_agree_for_both_formats() -> None:
    assert of_texts("1.5", "").missing.tolist() == of_arrow([1.5, None]).missing.tolist() == [False, True]
    assert np.isnan(of_arrow([1.5, None]).values[1])
