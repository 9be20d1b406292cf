# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""CSV files: a header and rows of texts, exactly as they are spelled.

Training data and requests are read here, so both have one dialect. The type of a column decides the meaning
of its texts: see :mod:`tidegate.text_values`.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tidegate.errors import DataError, FieldError

_CHUNK_VALUES = 1 << 19
_DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MAX_TEXT_LENGTH = 1 << 24
"""Maximum length of a value in characters; the csv module's own is 131,072."""


class CsvFormat(BaseModel):
    """The spelling of a CSV file's values. Quoted values may contain delimiters and line breaks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    """The decimal sign of numbers."""
    thousands: Literal[",", ".", " ", "'", "\u00a0", "\u202f"] | None = None
    """The sign between groups of three digits."""
    encoding: str = "utf-8"
    missing: Annotated[list[str], Field(min_length=1)] | None = None
    """Texts that mean a missing value, in every column, next to the empty text.

    By default, columns of numbers, booleans and times have the usual ones, such as ``NA`` and ``null``.
    """

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError("unknown encoding, expected a name such as utf-8, utf-16 or cp1252") from None
        return encoding

    @model_validator(mode="after")
    def _distinct_signs(self) -> Self:
        if self.delimiter in ('"', "\r", "\n"):
            raise FieldError(("delimiter",), "expected a sign other than quotes and line breaks")
        if self.decimal == self.thousands:
            raise FieldError(("thousands",), f"expected a sign other than the decimal sign '{self.decimal}'")
        return self


@dataclass(frozen=True, slots=True)
class CsvFile:
    """The texts of a file.

    Attributes:
        names: The names of the columns, in order, as in the header. They may repeat.
        columns: By position, the texts of a column, one per row.
    """

    names: tuple[str, ...]
    columns: tuple[Sequence[str], ...]

    def __len__(self) -> int:
        return len(self.columns[0])


def read_csv(name: str, content: bytes, options: CsvFormat | None = None) -> CsvFile:
    """Read a CSV file. Empty lines are skipped.

    Args:
        name: The file's name, for messages.
        content: The file's content, not compressed.
        options: How the file spells its values.

    Raises:
        DataError: If the file has another encoding or delimiter, is ragged, or has no header or no rows.
    """
    options = options or CsvFormat()
    encoding = _validate_encoding(name, content, options.encoding)
    limit = csv.field_size_limit(_MAX_TEXT_LENGTH)
    try:
        # Decoded chunk by chunk: the whole text would take four bytes per character.
        lines = io.TextIOWrapper(io.BytesIO(content), encoding, newline="")
        return _read_lines(name, lines, options.delimiter)
    finally:
        csv.field_size_limit(limit)


def _read_lines(name: str, lines: Iterable[str], delimiter: str) -> CsvFile:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: list[list[str]] = []
    try:
        header = next((line for line in reader if line), None)
        if header is None:
            raise DataError(f"{name} is empty: expected a header and rows.")
        columns = [[] for _ in header]
        rows = max(1, _CHUNK_VALUES // len(header))
        while chunk := [(reader.line_num, line) for line in islice(reader, rows) if line]:
            for number, line in chunk:
                if len(line) != len(header):
                    raise DataError(
                        f"{name} is ragged in line {number}: expected {len(header)} values as in the header, "
                        f"received {len(line)}; correct the line."
                    )
            for column, values in zip(columns, zip(*(line for _, line in chunk), strict=True), strict=True):
                column.extend(values)
    except csv.Error as error:
        raise DataError(f"{name} is not valid CSV in line {reader.line_num}: {error}.") from None
    _reject_other_delimiter(name, header, delimiter)
    if not columns[0]:
        raise DataError(f"{name} has a header and no rows.")
    return CsvFile(tuple(header), tuple(columns))


def _validate_encoding(name: str, content: bytes, encoding: str) -> str:
    """Check that the content has the encoding, and return the codec that skips a byte-order mark."""
    is_utf_8 = codecs.lookup(encoding).name == "utf-8"
    if is_utf_8 and content.startswith(_UTF_16):
        raise DataError(f"{name} is encoded in UTF-16, expected UTF-8: set the encoding to utf-16.")
    codec = "utf-8-sig" if is_utf_8 else encoding
    try:
        content.decode(codec)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        example = "cp1252" if is_utf_8 else "utf-8"
        raise DataError(
            f"{name} is not encoded in {encoding}: line {line} has the byte 0x{content[error.start]:02x}; "
            f"set the encoding to that of the file, for example {example}."
        ) from None
    return codec


def _reject_other_delimiter(name: str, header: Sequence[str], delimiter: str) -> None:
    """Raise an error for a header of one column whose name has another delimiter in it."""
    if len(header) > 1:
        return
    for other, words in _DELIMITERS.items():
        if other != delimiter and other in header[0]:
            raise DataError(
                f"{name} has one column, '{header[0][:40]}', and its name contains {words}: set the "
                f"delimiter to {other!r}."
            )
