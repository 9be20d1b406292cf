# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Values from their texts: numbers, booleans and times, as a CSV file spells them.

A text that is not clearly of a type is an error, never another value: ``1,5`` is not 15, ``1_000`` is not a
number, and whole numbers beyond 64 bits do not lose digits.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Datatype, Scalar
from tidegate.csv_file import CsvFormat

Array = NDArray[Any]

MISSING_TEXTS = frozenset(
    {"", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>"}
)
"""Texts that mean a missing number, boolean or time, in the spelling of the usual tools."""

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_MAX_INTEGER_LENGTH = 1000
"""Characters of a whole number. Python does not parse much longer ones."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_DATE_LENGTH = len("YYYY-MM-DD")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_A_MONDAY = 4
"""The fifth of January 1970, in days since the first."""
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


class TextValueError(ValueError):
    """A text that is not a value of the expected type.

    Args:
        index: The text's position among the parsed texts, from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"the text with the index {index} is not a value of the expected type")
        self.index = index


def parse_values(texts: Sequence[str], datatype: Datatype) -> list[Scalar]:
    """Parse texts in the default spelling as values of a data type; a missing one is None.

    Raises:
        TextValueError: If a text is not of the type.

    >>> parse_values(["0100", "", "NA"], Datatype.BYTES), parse_values(["0100", "", "NA"], Datatype.FP32)
    (['0100', None, 'NA'], [100, None, None])
    """
    if datatype is Datatype.BYTES:
        return [text or None for text in texts]
    values: list[Scalar] = [None] * len(texts)
    present = [index for index, text in enumerate(texts) if text not in MISSING_TEXTS]
    parse = parse_booleans if datatype is Datatype.BOOL else partial(parse_numbers, options=CsvFormat())
    try:
        parsed = parse([texts[index] for index in present])
    except TextValueError as error:
        raise TextValueError(present[error.index]) from None
    for index, value in zip(present, parsed.tolist(), strict=True):
        values[index] = value
    return values


def parse_numbers(texts: Sequence[str], options: CsvFormat) -> Array:
    """Parse numbers, ``[texts]`` of int64 if all of them are whole, otherwise of float64.

    A number with a fraction beyond float64 is infinite.

    Raises:
        TextValueError: If a text is not a number in the file's spelling.
        OverflowError: If all numbers are whole, and one does not fit into 64 bits.
    """
    matches = number_pattern(options.decimal, options.thousands).fullmatch
    if not all(map(matches, texts)):
        raise TextValueError(next(index for index, text in enumerate(texts) if not matches(text)))
    if options.thousands is not None:
        texts = [text.replace(options.thousands, "") for text in texts]
    if options.decimal != ".":
        texts = [text.replace(options.decimal, ".") for text in texts]
    if not all(map(_INTEGER.fullmatch, texts)):
        return np.array([float(text) for text in texts], dtype=np.float64)
    if any(len(text) > _MAX_INTEGER_LENGTH for text in texts):
        raise OverflowError("a whole number does not fit into 64 bits")
    return np.array([int(text) for text in texts], dtype=np.int64)


@cache
def number_pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """Return the pattern of numbers with a decimal sign and a sign between thousands.

    >>> bool(number_pattern(".", ",").fullmatch("1,234.5")), bool(number_pattern(".", ",").fullmatch("1,5"))
    (True, False)
    """
    whole = "[0-9]+"
    if thousands is not None:
        whole = rf"([0-9]{{1,3}}({re.escape(thousands)}[0-9]{{3}})+|[0-9]+)"
    sign = re.escape(decimal)
    number = rf"({whole}({sign}[0-9]*)?|{sign}[0-9]+)([eE][+-]?[0-9]+)?|inf(inity)?"
    space = r"[^\S\x1c-\x1f]*"  # int and float strip no separators of files, groups, records and units
    return re.compile(rf"{space}[+-]?({number}){space}", re.IGNORECASE)


def parse_booleans(texts: Sequence[str]) -> Array:
    """Parse ``true`` and ``false`` in any case, or ``1`` and ``0``, ``[texts]`` of bool.

    Raises:
        TextValueError: If a text is neither.
    """
    values = [_BOOLEANS.get(text.strip().lower()) for text in texts]
    if None in values:
        raise TextValueError(values.index(None))
    return np.array(values, dtype=np.bool_)


def parse_present_times(texts: Sequence[str] | Array) -> Array:
    """Parse dates and times of ISO 8601, ``[texts]`` of datetime64 in microseconds; an empty text is NaT.

    Raises:
        TextValueError: If a text is not a date or a time.
    """
    times = np.full(len(texts), np.datetime64("NaT"), dtype="datetime64[us]")
    present = [index for index, text in enumerate(texts) if text != ""]
    try:
        times[present] = parse_times([texts[index] for index in present])
    except TextValueError as error:
        raise TextValueError(present[error.index]) from None
    return times


def weekdays(texts: Sequence[str] | Array) -> Array:
    """Return the weekday of each date or time, ``[texts]`` of str; an empty text has none, "".

    Raises:
        TextValueError: If a text is not a date or a time.
    """
    times = parse_present_times(texts)
    numbers = (times.astype("datetime64[D]").astype(np.int64) - _A_MONDAY) % len(WEEKDAYS)
    return np.where(np.isnat(times), "", np.array(WEEKDAYS, dtype=object)[numbers])


def validate_dates(texts: Sequence[str]) -> None:
    """Check that texts are dates without a time, ``YYYY-MM-DD``.

    Raises:
        TextValueError: If a text is not a date, or has a time.
    """
    index = next((index for index, text in enumerate(texts) if len(text) != _DATE_LENGTH), None)
    if index is not None:
        raise TextValueError(index)
    parse_times(texts)


def parse_times(texts: Sequence[str]) -> Array:
    """Parse dates and times of ISO 8601, ``[texts]`` of datetime64 in microseconds, in UTC.

    A time without an offset is taken as it is.

    Raises:
        TextValueError: If a text is not a date or a time.
    """
    times = []
    for index, text in enumerate(texts):
        if not _TIME.fullmatch(text.strip()):
            raise TextValueError(index)
        try:
            time = datetime.fromisoformat(text.strip())
        except ValueError:
            raise TextValueError(index) from None
        times.append(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time)
    return np.array(times, dtype="datetime64[us]")
