# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import MATRIX, MIXED
from tidegate.batch import Batch
from tidegate.contract import MATRIX as MATRIX_NAME
from tidegate_serving.codecs.inputs import (
    ARRAY_VALUES,
    Inputs,
    UncheckedMatrix,
    UncheckedRows,
    unchecked_matrix,
    unchecked_rows,
    validate_inputs,
)
from tidegate_serving.errors import RequestError


def place(index: int) -> str:
    return f"here[{index}]"


def from_json(*rows: list[object], datatype: str = "FP32") -> UncheckedMatrix:
    return UncheckedMatrix(len(rows), [value for row in rows for value in row], datatype, place)


def from_bytes(*rows: list[float], datatype: str = "FP64") -> UncheckedMatrix:
    return UncheckedMatrix(len(rows), np.array(rows).reshape(-1), datatype, place)


def batch(*rows: list[float]) -> Batch:
    return Batch({MATRIX_NAME: np.array(rows, dtype=np.float32)})


def rows_of(validated: Batch) -> list[list[float]]:
    return validated.arrays[MATRIX_NAME].tolist()


def test_unchecked_matrix_has_as_many_elements_as_rows() -> None:
    assert len(from_json([1, 2], [3, 4])) == 2


def test_unchecked_matrix_keeps_few_values_unconverted() -> None:
    assert isinstance(unchecked_matrix(MATRIX, 1, [1, 2], "FP32", place).elements, list)


def test_unchecked_matrix_converts_many_values_at_once() -> None:
    matrix = unchecked_matrix(MATRIX, 5_000, [1.5] * 10_000, "FP32", place)
    assert isinstance(matrix.elements, np.ndarray)
    assert rows_of(validate_inputs(MATRIX, [matrix]))[-1] == [1.5, 1.5]


def test_unchecked_matrix_rejects_one_of_many_values_at_once() -> None:
    with pytest.raises(RequestError, match=r'here\[9999\].*"x"'):
        unchecked_matrix(MATRIX, 5_000, [1.5] * 9_999 + ["x"], "FP32", place)


def test_validate_inputs_joins_all_kinds_in_order() -> None:
    inputs = [
        from_json([1, 2]),
        batch([3, 4]),
        from_bytes([5, 6]),
        from_json([7, 8], [9, 0], datatype="INT8"),
    ]
    assert rows_of(validate_inputs(MATRIX, inputs)) == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 0]]


def test_validate_inputs_of_one_request_names_the_place() -> None:
    with pytest.raises(RequestError, match=r"here\[2\].*'a'.*received null"):
        validate_inputs(MATRIX, [from_json([1, 2], [None, 4])])


def test_validate_inputs_fails_if_one_request_is_invalid() -> None:
    with pytest.raises(RequestError):
        validate_inputs(MATRIX, [from_json([1, 2]), from_json([1, "x"]), from_json([3, 4])])


VALUES = st.floats(-(2.0**100), 2.0**100, width=32)
ROWS = st.lists(st.tuples(VALUES, VALUES).map(list), min_size=1, max_size=4)
INPUTS = st.one_of(
    ROWS.map(lambda rows: from_json(*rows)),
    ROWS.map(lambda rows: from_bytes(*rows)),
    ROWS.map(lambda rows: batch(*rows)),
)


@given(inputs=st.lists(INPUTS, min_size=1, max_size=5))
def test_validate_inputs_together_equals_each_alone(inputs: list[Inputs]) -> None:
    together = rows_of(validate_inputs(MATRIX, inputs))
    alone = [row for one in inputs for row in rows_of(validate_inputs(MATRIX, [one]))]
    assert together == alone


MIXED_ROW = [1.5, 3, True, "red", "Oslo"]


def test_unchecked_rows_keep_few_values_unvalidated() -> None:
    rows = unchecked_rows(MIXED, [[None] * 5], place)
    assert isinstance(rows, UncheckedRows)
    assert len(rows) == 1


def test_unchecked_rows_validate_many_values_at_once() -> None:
    n_rows = ARRAY_VALUES // 5 + 1
    assert isinstance(unchecked_rows(MIXED, [MIXED_ROW] * n_rows, place), Batch)
    with pytest.raises(RequestError, match=rf'here\[{5 * n_rows + 3}\].*"green"'):
        unchecked_rows(MIXED, [*[MIXED_ROW] * n_rows, [1.5, 3, True, "green", "Oslo"]], place)


def test_validate_inputs_joins_rows_and_batches_in_order() -> None:
    row = validate_inputs(MIXED, [UncheckedRows([MIXED_ROW], place)])
    other = UncheckedRows([[None, 4.0, False, "blue", None], MIXED_ROW], place)
    arrays = validate_inputs(MIXED, [other, row, other]).arrays
    assert arrays["count"].tolist() == [4, 3, 3, 4, 3]
    assert arrays["colour"].tolist() == ["blue", "red", "red", "blue", "red"]
    assert arrays["city"].tolist() == ["", "Oslo", "Oslo", "", "Oslo"]


def test_validate_inputs_of_one_request_names_the_value() -> None:
    rows = UncheckedRows([MIXED_ROW, [1.5, 3, 1, "red", "Oslo"]], place)
    with pytest.raises(RequestError, match=r"here\[7\]: expected true or false, received 1"):
        validate_inputs(MIXED, [rows])
