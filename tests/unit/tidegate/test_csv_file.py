# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidegate.csv_file import CsvFormat, read_csv
from tidegate.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=2), st.sampled_from(",;\t|"))
def test_read_csv_any_texts_come_back_as_written(rows: list[list[str]], delimiter: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    table = read_csv("data.csv", file.getvalue().encode(), CsvFormat(delimiter=delimiter))
    assert [table.names, *zip(*table.columns, strict=True)] == [tuple(row) for row in rows]


@given(st.binary(max_size=60))
def test_read_csv_any_bytes_are_read_or_rejected(content: bytes) -> None:
    with suppress(DataError):
        assert len(read_csv("data.csv", content)) > 0


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("\ufeffname,x\nJosé,1\n".encode(), {}),
        ("name;x\nJosé;1\n".encode("cp1252"), {"delimiter": ";", "encoding": "cp1252"}),
        ("name\tx\r\nJosé\t1\r\n".encode("utf-16"), {"delimiter": "\t", "encoding": "utf-16"}),
        ("name,x\n\nJosé,1\n\n".encode(), {}),
    ],
)
def test_read_csv_encodings_delimiters_and_line_ends(content: bytes, options: dict[str, str]) -> None:
    table = read_csv("data.csv", content, CsvFormat(**options))
    assert (table.names, table.columns, len(table)) == (("name", "x"), (["José"], ["1"]), 1)


def test_read_csv_quoted_values_keep_signs_line_breaks_and_spaces() -> None:
    table = read_csv("data.csv", b'a,b\n"x, ""y""\nz", 1\n')
    assert table.columns == (['x, "y"\nz'], [" 1"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n", "a header and no rows"),
        (b"a,b\n1,2\n3\n", "ragged in line 3: expected 2 values as in the header, received 1"),
        (b'a,b\n"x\ny",2\n3\n', "ragged in line 4"),
        (b'a,b\n1,"2\n', "not valid CSV in line 2: unexpected end of data"),
        (b'a,b\n1,"2"x\n', "not valid CSV in line 2"),
        (b"a;b\n1;2\n", "its name contains a semicolon: set the delimiter to ';'"),
        ("a,b\n1,é\n".encode("latin-1"), "not encoded in utf-8: line 2 has the byte 0xe9"),
        ("a,b\n1,2\n".encode("utf-16"), "encoded in UTF-16, expected UTF-8: set the encoding to utf-16"),
    ],
)
def test_read_csv_invalid_file_is_rejected_with_the_option(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_csv("data.csv", content)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoding": "utf-99"}, "unknown encoding"),
        ({"delimiter": '"'}, "other than quotes"),
        ({"decimal": ",", "thousands": ","}, "other than the decimal sign"),
        ({"delimiter": ";;"}, "at most 1 character"),
    ],
)
def test_csv_format_contradicting_signs_are_rejected(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CsvFormat(**fields)
