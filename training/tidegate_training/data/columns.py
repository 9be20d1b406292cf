# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of data as numpy arrays: from texts, or from Arrow's types.

A declared kind goes to the parser, so no value is guessed first. Without one, a column of texts has the
narrowest kind that all of its texts have, unless they look like numbers in another spelling: then the user
must choose. A missing value stays missing in every kind.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.csv_file import CsvFormat
from tidegate.errors import DataError
from tidegate.text_values import (
    MISSING_TEXTS,
    TextValueError,
    number_pattern,
    parse_booleans,
    parse_numbers,
    parse_times,
)

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Kind = Literal["float", "integer", "boolean", "text", "time"]
DeclaredKind = Literal["number", "boolean", "text", "time"]
"""The kinds that a user declares. Numbers are integers if all of them are whole, otherwise floats."""

EXACT_IN_FLOAT64 = 1 << 53
"""The largest whole number below which float64 holds every whole number."""

_EXPECTED: dict[DeclaredKind, str] = {
    "number": "a number",
    "boolean": "true or false",
    "time": "a date as YYYY-MM-DD, or a time",
}
_CODE = re.compile(r"[+-]?0[0-9]+")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}([,. '\u00a0\u202f])[0-9]{3}(\1[0-9]{3})*([,.][0-9]+)?")
_DECIMALS = {".": re.compile(r"[+-]?[0-9]*\.[0-9]+"), ",": re.compile(r"[+-]?[0-9]*,[0-9]+")}
"""Numbers by their decimal sign."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data.

    Attributes:
        kind: The kind of the values.
        values: ``[rows]`` of float64 (NaN if missing), int64, bool, str ("" if missing) or datetime64.
        missing: ``[rows]``, whether a value is missing. Whole numbers with missing values are floats.
            Booleans with missing values stay booleans.
    """

    kind: Kind
    values: Array
    missing: Mask


class RawColumn(Protocol):
    """A column as the file holds it."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def convert(self, kind: DeclaredKind | None) -> Column:
        """Convert the values to a kind, or to the file's own if it is None.

        Raises:
            DataError: If a value is not of the kind.
        """

    def other_reading(self, column: Column) -> str | None:
        """Return why the file may mean other values than ``column``, which was inferred, and what to set."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts without a type.

    Attributes:
        where: The column's file and name, for messages.
        texts: The text of each row.
        options: How the file spells values.
    """

    where: str
    texts: Sequence[str]
    options: CsvFormat

    def __len__(self) -> int:
        return len(self.texts)

    def convert(self, kind: DeclaredKind | None) -> Column:
        """Parse the texts; without a kind, infer it."""
        if kind == "text":
            return self._texts()
        markers = MISSING_TEXTS if self.options.missing is None else {"", *self.options.missing}
        missing = np.fromiter((text in markers for text in self.texts), np.bool_, len(self.texts))
        rows = np.flatnonzero(~missing)
        present = [text for text in self.texts if text not in markers]
        if kind is None:
            return self._infer(present, missing)
        try:
            return self._parse(kind, present, missing)
        except TextValueError as error:
            raise DataError(
                f"{self.where} has the text {present[error.index]!r} in row {rows[error.index] + 1}: "
                f"expected {_EXPECTED[kind]}."
            ) from None

    def other_reading(self, column: Column) -> str | None:
        """Find numbers that lose zeros, and texts that look like numbers."""
        if column.kind == "text":
            return self._other_reading_of_texts()
        codes = (row for row, text in enumerate(self.texts) if _CODE.fullmatch(text))
        if column.kind in ("integer", "float") and (row := next(codes, None)) is not None:
            return (
                f"{self.where} has {self.texts[row]!r} in row {row + 1}, and a number would lose the zeros "
                "in front: set datatype: text in features.overrides to keep them, or int64."
            )
        return None

    def _texts(self) -> Column:
        markers = {"", *(self.options.missing or ())}
        values = np.array(["" if text in markers else text for text in self.texts], dtype=object)
        return Column("text", values, values == "")

    def _infer(self, present: Sequence[str], missing: Mask) -> Column:
        if not present:
            return Column("float", np.full(len(missing), np.nan), missing)
        kinds: tuple[DeclaredKind, ...] = ("number", "boolean", "time")
        for kind in kinds:
            try:
                return self._parse(kind, present, missing)
            except TextValueError:
                continue
        return self._texts()

    def _parse(self, kind: DeclaredKind, present: Sequence[str], missing: Mask) -> Column:
        if kind == "boolean":
            return Column(kind, _spread(parse_booleans(present), missing, fill=False), missing)
        if kind == "time":
            return Column(kind, _spread(parse_times(present), missing, fill=np.datetime64("NaT")), missing)
        try:
            numbers = parse_numbers(present, self.options)
        except OverflowError:
            raise DataError(
                f"{self.where} has a whole number beyond the range of INT64: set datatype: text in "
                "features.overrides if it is a code, or write it with a fraction."
            ) from None
        if numbers.dtype == np.int64:
            return _integer_column(self.where, numbers, missing)
        return Column("float", _spread(numbers, missing, fill=np.nan), missing)

    def _other_reading_of_texts(self) -> str | None:
        rows = [row for row, text in enumerate(self.texts) if text not in MISSING_TEXTS]
        is_number = number_pattern(self.options.decimal, self.options.thousands).fullmatch
        stray = [row for row in rows if not is_number(self.texts[row])]
        half = len(rows) / 2
        if len(stray) < half:
            return (
                f"{self.where} has the text {self.texts[stray[0]]!r} in row {stray[0] + 1}, and most of its "
                "values are numbers: correct the value, or set datatype: text in features.overrides."
            )
        other = "," if self.options.decimal == "." else "."
        for pattern, remedy in (
            (_DECIMALS[other], f"data.csv.decimal: '{other}' if it is the decimal sign"),
            (_GROUPED, "data.csv.thousands to the sign between thousands"),
        ):
            spelled = [row for row in stray if pattern.fullmatch(self.texts[row])]
            if len(rows) - len(stray) + len(spelled) > half:
                return (
                    f"{self.where} has the text {self.texts[spelled[0]]!r} in row {spelled[0] + 1}, and most "
                    f"of its values look like numbers in another spelling: set {remedy}, or set datatype: "
                    "text in features.overrides."
                )
        return None


@dataclass(frozen=True, slots=True)
class ArrowColumn:
    """A column with a type of Arrow's, as Parquet has it.

    Attributes:
        where: The column's file and name, for messages.
        data: A ``pyarrow.ChunkedArray``.
    """

    where: str
    data: Any

    def __len__(self) -> int:
        return len(self.data)

    def convert(self, kind: DeclaredKind | None) -> Column:
        """Convert the values to numpy; texts are parsed as the kind."""
        from pyarrow import types

        data = self.data
        if types.is_dictionary(data.type):
            data = data.cast(data.type.value_type)
        if types.is_string(data.type) or types.is_large_string(data.type) or types.is_string_view(data.type):
            texts = TextColumn(self.where, data.fill_null("").to_pylist(), CsvFormat())
            return texts.convert(kind or "text")
        return self._texts(data) if kind == "text" else self._natural(data)

    def other_reading(self, column: Column) -> str | None:
        """Return None: the file itself has the types."""
        return None

    def _texts(self, data: Any) -> Column:
        """Return the values as texts, in Arrow's spelling."""
        import pyarrow as pa

        if pa.types.is_floating(data.type) or pa.types.is_nested(data.type) or pa.types.is_binary(data.type):
            raise DataError(
                f"{self.where} has values of the type {data.type}, which have no one spelling: set another "
                "datatype in features.overrides, or leave it out with features.drop."
            )
        values = data.cast(pa.string()).fill_null("").to_numpy().astype(object)
        return Column("text", values, values == "")

    def _natural(self, data: Any) -> Column:
        import pyarrow as pa

        types, kind = pa.types, data.type
        missing = data.is_null().to_numpy().astype(np.bool_)
        if types.is_boolean(kind):
            return Column("boolean", data.fill_null(False).to_numpy().astype(np.bool_), missing)
        if types.is_integer(kind):
            values = data.fill_null(0).to_numpy()
            if types.is_uint64(kind) and values.max() > np.iinfo(np.int64).max:
                raise DataError(
                    f"{self.where} has a whole number beyond the range of INT64: set datatype: text in "
                    "features.overrides if it is a code, or use another unit."
                )
            return _integer_column(self.where, values.astype(np.int64)[~missing], missing)
        if types.is_floating(kind) or types.is_decimal(kind):
            values = data.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
            return Column("float", values, np.isnan(values))
        if types.is_temporal(kind) and not types.is_time(kind) and not types.is_duration(kind):
            return Column("time", data.cast(pa.timestamp("us"), safe=False).to_numpy(), missing)
        if types.is_null(kind):
            return Column("float", np.full(len(missing), np.nan), missing)
        raise DataError(
            f"{self.where} has values of the type {kind}, which cannot become a feature: leave it out with "
            "features.drop."
        )


def _integer_column(where: str, present: Array, missing: Mask) -> Column:
    """Return a column of whole numbers; with missing values, a column of floats.

    Args:
        where: The column's file and name, for messages.
        present: The numbers that are not missing, ``[present]`` of int64.
        missing: ``[rows]``, whether a value is missing.

    Raises:
        DataError: If values are missing, and a float cannot hold one of the numbers.
    """
    if not missing.any():
        return Column("integer", present, missing)
    too_large = (present > EXACT_IN_FLOAT64) | (present < -EXACT_IN_FLOAT64)
    if too_large.any():
        index = int(np.argmax(too_large))
        raise DataError(
            f"{where} has {present[index]} in row {_row(missing, index)} and misses values, and a float "
            "lacks some whole numbers beyond 2^53: set datatype: text in features.overrides if it is a code, "
            "or fill the gaps in."
        )
    return Column("float", _spread(present.astype(np.float64), missing, fill=np.nan), missing)


def _spread(present: Array, missing: Mask, fill: Any) -> Array:
    """Return the values of all rows, ``[rows]``, of which ``present`` are the ones not missing."""
    if not missing.any():
        return present
    values = np.full(len(missing), fill, dtype=present.dtype)
    values[~missing] = present
    return values


def _row(missing: Mask, index: int) -> int:
    """Return the number, from 1, of the row with the present value ``index``."""
    return int(np.flatnonzero(~missing)[index]) + 1
