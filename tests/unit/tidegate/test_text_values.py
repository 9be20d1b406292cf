# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.csv_file import CsvFormat
from tidegate.text_values import (
    TextValueError,
    parse_booleans,
    parse_numbers,
    parse_present_times,
    parse_times,
    validate_dates,
    weekdays,
)

PLAIN = CsvFormat()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_parse_numbers_64_bit_integers_are_exact(numbers: list[int]) -> None:
    values = parse_numbers([str(number) for number in numbers], PLAIN)
    assert values.dtype == np.int64
    assert values.tolist() == numbers


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_parse_numbers_floats_are_exact(numbers: list[float]) -> None:
    values = parse_numbers([repr(number) for number in numbers], PLAIN)
    assert values.tolist() == numbers


@given(st.integers(-(10**12), 10**12), st.integers(0, 99), st.sampled_from(".,"), st.sampled_from([" ", "'"]))
def test_parse_numbers_spelling_does_not_change_the_value(
    whole: int, hundredths: int, decimal: Any, thousands: Any
) -> None:
    text = f"{whole:,}".replace(",", thousands) + f"{decimal}{hundredths:02d}"
    values = parse_numbers([text], CsvFormat(decimal=decimal, thousands=thousands))
    assert values.tolist() == [float(f"{whole}.{hundredths:02d}")]


@given(st.text(max_size=6))
def test_parse_numbers_accepts_no_more_than_python(text: str) -> None:
    try:
        [value] = parse_numbers([text], PLAIN)
    except TextValueError:
        return
    assert value == float(text)


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (
            lambda texts: parse_numbers(texts, PLAIN),
            ["1_0", "1,5", "nan", "0x1", "\u0661", "", "1e", "--1", "0\x1f"],
        ),
        (lambda texts: parse_numbers(texts, CsvFormat(thousands=",")), ["1,5", "12,34", ",123", "1,2345"]),
        (lambda texts: parse_numbers(texts, CsvFormat(decimal=",")), ["1.5", "1,5,5"]),
        (parse_booleans, ["yes", "t", "2", ""]),
        (parse_times, ["2021", "2021-13-01", "01.02.2021", "2021-1-1", "10:00"]),
    ],
)
def test_parse_other_texts_are_errors(parse: Callable[[list[str]], Any], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(TextValueError):
            parse([text])


def test_parse_error_has_the_position_of_the_text() -> None:
    with pytest.raises(TextValueError) as raised:
        parse_numbers(["1", "2", "x"], PLAIN)
    assert raised.value.index == 2


@pytest.mark.parametrize("text", [str(2**63), "9" * 5000])
def test_parse_numbers_beyond_64_bits_do_not_lose_digits(text: str) -> None:
    with pytest.raises(OverflowError):
        parse_numbers([text], PLAIN)


def test_parse_numbers_beyond_float64_are_infinite() -> None:
    assert parse_numbers(["1e999", "-Infinity"], PLAIN).tolist() == [math.inf, -math.inf]


def test_parse_booleans_in_any_case() -> None:
    assert parse_booleans(["true", "FALSE", "1", "0"]).tolist() == [True, False, True, False]


def test_parse_times_are_in_utc() -> None:
    texts = ["2021-03-01", "2021-03-01T10:30", "2021-03-01 10:30:00+02:00", "2021-03-01T10:30:00Z"]
    hours = [(0, 0), (10, 30), (8, 30), (10, 30)]
    assert parse_times(texts).tolist() == [datetime(2021, 3, 1, *time) for time in hours]


def test_parse_present_times_an_empty_text_is_missing() -> None:
    times = parse_present_times(["", "2024-02-29T01:00+02:00"])
    assert np.isnat(times).tolist() == [True, False]
    assert times[1] == np.datetime64("2024-02-28T23:00")
    with pytest.raises(TextValueError) as caught:
        parse_present_times(["", "", "x"])
    assert caught.value.index == 2


def test_weekdays_are_those_of_the_calendar() -> None:
    texts = ["1970-01-01", "1969-12-31", "2024-03-03T23:59", ""]
    assert weekdays(texts).tolist() == ["thursday", "wednesday", "sunday", ""]


@pytest.mark.parametrize("text", ["2024-02-29T00:00", "20240229", "2024-02-30", "2024-02-9 "])
def test_validate_dates_rejects_all_but_dates(text: str) -> None:
    validate_dates(["2024-02-29", "0001-01-01"])
    with pytest.raises(TextValueError) as caught:
        validate_dates(["2024-02-29", text])
    assert caught.value.index == 1
