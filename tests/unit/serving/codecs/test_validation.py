# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import (
    BOOLEANS,
    BRANCHES,
    DATES,
    DOUBLES,
    INTEGERS,
    MATRIX,
    MIXED,
    REMARKS,
    SMALL,
)
from tidegate.contract import Feature
from tidegate_serving.codecs.validation import DATATYPES, array_from_json, validate_values
from tidegate_serving.errors import RequestError, Violation

FLOATS = MATRIX.features
COLOUR, CITY = MIXED.features[3:5]


def place(index: int) -> str:
    return f"here[{index}]"


def rejected(function: Any, *arguments: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        function(*arguments)
    assert "expected " in str(caught.value)
    assert "received " in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("values", "datatype", "dtype", "expected"),
    [
        ([1, 2.5], "FP32", np.float64, [1.0, 2.5]),
        ([1, 2.0], "INT64", np.int64, [1, 2]),
        ([9007199254740993, 2.0], "INT64", np.int64, [9007199254740993, 2]),
        ([True, False], "BOOL", np.bool_, [True, False]),
        (["a", None], "BYTES", object, ["a", ""]),
    ],
)
def test_array_from_json_converts_each_type(
    values: list[Any], datatype: str, dtype: Any, expected: list[Any]
) -> None:
    array = array_from_json(values, datatype, place, FLOATS)
    assert array.dtype == dtype
    assert array.tolist() == expected


def test_array_from_json_reads_null_as_nan() -> None:
    assert np.isnan(array_from_json([None], "FP64", place, FLOATS)[0])


@pytest.mark.parametrize(
    ("values", "datatype", "received", "violation"),
    [
        ([1, "2"], "FP32", '"2"', Violation.TYPE),
        ([1, True], "FP32", "true", Violation.TYPE),
        ([1, [2]], "FP32", "a list", Violation.TYPE),
        ([True, 1], "BOOL", "1", Violation.TYPE),
        (["a", 7], "BYTES", "7", Violation.TYPE),
        ([1, None], "INT64", "null", Violation.MISSING_FEATURE),
        ([1, True], "INT64", "true", Violation.TYPE),
        ([1, 1.5], "INT64", "1.5", Violation.TYPE),
        ([1, 300], "INT8", "300", Violation.OUT_OF_RANGE),
        ([1, -1], "UINT64", "-1", Violation.OUT_OF_RANGE),
        ([1, 2**63], "INT64", "9223372036854775808", Violation.OUT_OF_RANGE),
    ],
)
def test_array_from_json_rejects_with_place_and_feature(
    values: list[Any], datatype: str, received: str, violation: Violation
) -> None:
    error = rejected(array_from_json, values, datatype, place, FLOATS)
    assert str(error).startswith("here[1]: expected ")
    assert str(error).endswith(f"{received}.")
    assert (error.violation, error.feature) == (violation, "b")


def test_array_from_json_rejects_an_integer_beyond_float64() -> None:
    assert "FP32" in str(rejected(array_from_json, [10**400], "FP32", place, FLOATS))


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("BOOL", "BYTES")])
def test_validate_values_accepts_every_number_type_for_floats(datatype: str) -> None:
    array = np.array([1, 2, 3, 4], dtype=DATATYPES[datatype])
    validated = validate_values(FLOATS, array, datatype, place)
    assert validated.dtype == np.float32
    assert validated.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("features", "datatype"),
    [
        (INTEGERS.features, "FP32"),
        (INTEGERS.features, "BOOL"),
        (BOOLEANS.features, "INT64"),
        (FLOATS, "BOOL"),
        (FLOATS, "BYTES"),
        ((COLOUR,), "FP32"),
    ],
)
def test_validate_values_rejects_another_kind_of_type(features: tuple[Feature, ...], datatype: str) -> None:
    array = np.zeros(len(features), dtype=DATATYPES[datatype])
    error = rejected(validate_values, features, array, datatype, place)
    assert features[0].datatype in str(error)
    assert str(error).endswith(f"received {datatype}.")
    assert error.violation is Violation.TYPE


@pytest.mark.parametrize(
    ("value", "received", "violation"),
    [
        (np.nan, "never missing", Violation.MISSING_FEATURE),
        (np.inf, "infinity", Violation.NON_FINITE),
        (-np.inf, "infinity", Violation.NON_FINITE),
        (1e39, "1e+39", Violation.OUT_OF_RANGE),
    ],
)
def test_validate_values_rejects_a_float_out_of_range(
    value: float, received: str, violation: Violation
) -> None:
    error = rejected(validate_values, FLOATS, np.array([1, 2, value, 4]), "FP64", place)
    assert str(error).startswith("here[2]: expected a number between ")
    assert "'a'" in str(error)
    assert received in str(error)
    assert (error.violation, error.feature) == (violation, "a")


def test_validate_values_accepts_nan_where_missing_is_allowed() -> None:
    validated = validate_values(FLOATS, np.array([1, np.nan]), "FP64", place)
    assert np.isnan(validated[0, 1])


def test_validate_values_keeps_a_double_for_a_double() -> None:
    assert validate_values(DOUBLES.features, np.array([1e300]), "FP64", place).tolist() == [[1e300]]


@pytest.mark.parametrize(
    ("features", "value", "dtype"),
    [(SMALL.features, 2**31, "INT64"), (INTEGERS.features[:1], 2**64 - 1, "UINT64")],
)
def test_validate_values_rejects_an_integer_out_of_range(
    features: tuple[Feature, ...], value: int, dtype: str
) -> None:
    error = rejected(validate_values, features, np.array([value], dtype=DATATYPES[dtype]), dtype, place)
    assert "here[0]" in str(error)
    assert str(error).endswith(f"received {value}.")
    assert (error.violation, error.feature) == (Violation.OUT_OF_RANGE, "a")


@pytest.mark.parametrize(
    ("feature", "value", "received", "violation"),
    [
        (COLOUR, "green", '"green"', Violation.UNKNOWN_CATEGORY),
        (COLOUR, "", "never missing", Violation.MISSING_FEATURE),
    ],
)
def test_validate_values_rejects_a_text_of_no_category(
    feature: Feature, value: str, received: str, violation: Violation
) -> None:
    error = rejected(validate_values, [feature], np.array(["red", value], dtype=object), "BYTES", place)
    assert str(error).startswith("here[1]: expected ")
    assert f"'{feature.name}'" in str(error)
    assert received in str(error)
    assert (error.violation, error.feature) == (violation, feature.name)


def test_validate_values_rejects_an_integer_of_no_category() -> None:
    accepted = np.array([3, 4, 1, 7, 4, 9])
    assert validate_values(BRANCHES.features, accepted, "INT64", place).tolist() == [[3, 4, 1], [7, 4, 9]]
    error = rejected(validate_values, BRANCHES.features, np.array([3, 4, 1, 4, 4, 9]), "INT64", place)
    assert str(error) == "here[3]: expected one of 3, 7 for feature 'branch', received 4."
    assert (error.violation, error.feature) == (Violation.UNKNOWN_CATEGORY, "branch")


def test_validate_values_accepts_every_free_text_but_a_missing_one() -> None:
    remark, note = REMARKS.features
    texts = np.array(["naïve 日本 🙂", "x" * 10_000], dtype=object)
    assert validate_values([remark], texts, "BYTES", place)[:, 0].tolist() == texts.tolist()
    missing = np.array(["a", ""], dtype=object)
    assert validate_values([note], missing, "BYTES", place)[:, 0].tolist() == ["a", ""]
    error = rejected(validate_values, [remark], missing, "BYTES", place)
    assert str(error).startswith("here[1]: expected a value for feature 'remark'")
    assert (error.violation, error.feature) == (Violation.MISSING_FEATURE, "remark")


@pytest.mark.parametrize("time", ["2024-02-29", "2024-02-29T10:30:00.5+02:00", "2024-02-29 10:30Z", ""])
def test_validate_values_accepts_times_in_iso_8601(time: str) -> None:
    texts = np.array(["2024-02-29", time], dtype=object)
    assert validate_values(DATES.features, texts, "BYTES", place).tolist() == [["2024-02-29", time]]


@pytest.mark.parametrize(
    ("column", "value", "violation"),
    [
        (0, "2023-02-29", Violation.TYPE),
        (0, "2024-02-29T10:30", Violation.TYPE),
        (0, "29.02.2024", Violation.TYPE),
        (0, " 2024-02-2", Violation.TYPE),
        (0, "", Violation.MISSING_FEATURE),
        (1, "yesterday", Violation.TYPE),
        (1, "2024-02-29T25:00", Violation.TYPE),
    ],
)
def test_validate_values_rejects_what_is_not_iso_8601(column: int, value: str, violation: Violation) -> None:
    rows = [["2024-02-29", ""], ["2024-02-29", ""]]
    rows[1][column] = value
    array = np.array(rows, dtype=object).reshape(-1)
    error = rejected(validate_values, DATES.features, array, "BYTES", place)
    name = DATES.feature_names[column]
    assert str(error).startswith(f"here[{2 + column}]: expected a ")
    assert f"for feature '{name}'" in str(error)
    assert (error.violation, error.feature) == (violation, name)


@pytest.mark.parametrize("value", ["Rome", ""])
def test_validate_values_accepts_unknown_if_the_contract_does(value: str) -> None:
    assert validate_values([CITY], np.array([value], dtype=object), "BYTES", place).tolist() == [[value]]


def test_validate_values_lists_only_ten_categories() -> None:
    names = tuple(f"c{index:02}" for index in range(12))
    feature = COLOUR.model_copy(update={"categories": names})
    error = str(rejected(validate_values, [feature], np.array(["x"], dtype=object), "BYTES", place))
    assert "'c09' and 2 more" in error
    assert "c10" not in error


@given(values=st.lists(st.floats(width=64), min_size=2, max_size=8).filter(lambda v: len(v) % 2 == 0))
def test_validate_values_accepts_exactly_what_fp32_holds(values: list[float]) -> None:
    array = np.array(values)
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    second = np.arange(len(values)) % 2 == 1
    valid = bool((np.isfinite(narrow) | (np.isnan(array) & second)).all())
    try:
        validated = validate_values(FLOATS, array, "FP64", place)
    except RequestError:
        assert not valid
    else:
        assert valid
        np.testing.assert_array_equal(validated, narrow.reshape(-1, 2))
