# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import INTEGERS, MATRIX, MIXED
from tidegate.contract import Contract
from tidegate_serving.codecs import number_arrays, v1, v2
from tidegate_serving.codecs.inputs import UncheckedMatrix, validate_inputs
from tidegate_serving.codecs.number_arrays import MIN_BODY_BYTES, may_be_number_array, parse_number_array
from tidegate_serving.codecs.request import Limits
from tidegate_serving.errors import RequestError

LIMITS = Limits(rows=6)


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_arrays, "MIN_BODY_BYTES", 0)


def test_parse_number_array_returns_the_array_and_the_rest() -> None:
    parsed = parse_number_array(b'{"id": "7", "a": {"data" : [1, -2.5e3] }}', "data")
    assert parsed is not None
    assert parsed[0] == {"id": "7", "a": {"data": []}}
    assert parsed[1].tolist() == [1.0, -2500.0]


def test_parse_number_array_of_rows_has_their_shape() -> None:
    parsed = parse_number_array(b'{"instances":[ [1,2] , [3,4],[5,6] ]}', "instances")
    assert parsed is not None
    assert parsed[1].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_parse_number_array_larger_than_the_kept_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_arrays, "MAX_KEPT_BYTES", 10)
    parsed = parse_number_array(b'{"data": [1234567, 1234567]}', "data")
    assert parsed is not None
    assert parsed[1].tolist() == [1234567, 1234567]


def test_small_bodies_are_no_number_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert may_be_number_array(MATRIX, b"{}")
    assert not may_be_number_array(INTEGERS, b"{}")
    assert not may_be_number_array(MIXED, b"{}")
    monkeypatch.undo()
    assert not may_be_number_array(MATRIX, b"{}")
    assert may_be_number_array(MATRIX, bytes(MIN_BODY_BYTES))


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [1, 2}',
        b'{"data": [1, 2]',
        b'{"data": [1 2]}',
        b'{"data": [1, NaN]}',
        b'{"data": [1, 1e400]}',
        b'{"data": [1, true]}',
        b'{"data": [1, null]}',
        b'{"data": [1, "2"]}',
        b'{"data": [1, 99999999999999999999999]}',
        b'{"data": [1, [2]]}',
        b'{"data": [[1], [2, 3]]}',
        b'{"data": [[1, [2]], [3, 4]]}',
        b'{"data": [[[1, 2], []], [[], [3, 4]]]}',
        b'{"data": [[1], 2]}',
        b'{"data": []}',
        b'{"data": [[]]}',
        b'{"data": [1], "data": [2]}',
        b'{"data": [1], "d\\u0061ta": [2]}',
        b'{"data": [1], "x": "data"}',
        b'{"x": "\\"data\\":[1]"}',
        b'[{"data": [1]}]',
        b'{"data": [1]} x',
        b'{"data": [1], "x": "\xff"}',
        b'{"data": [1], "x": "%b"}' % (b"x" * 5_000),
    ],
)
def test_parse_number_array_leaves_other_bodies(body: bytes) -> None:
    assert parse_number_array(body, "data") is None


NUMBERS = st.one_of(
    st.integers(-(2**64), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 5e-324, math.pi]),
)


@given(numbers=st.lists(NUMBERS, min_size=1, max_size=40))
def test_parse_number_array_equals_orjson_and_numpy(numbers: list[float]) -> None:
    body = json.dumps({"data": numbers}).encode()
    expected = np.array(orjson.loads(body)["data"], np.float64)
    parsed = parse_number_array(body, "data")
    if parsed is None:  # simdjson has no integers beyond 64 bits
        assert max(numbers) >= 2**64 or min(numbers) < -(2**63)
    else:
        assert parsed[1].tobytes() == expected.tobytes()


VALUES: st.SearchStrategy[Any] = st.one_of(
    NUMBERS, NUMBERS, NUMBERS, st.none(), st.booleans(), st.just("1"), st.just([1]), st.just({})
)
ROWS = st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=8)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS).map(list), min_size=1, max_size=8)


def outcome(contract: Contract, parse: Any) -> object:
    """Return the bytes of the validated rows and the outputs, or the error."""
    try:
        request = parse()
        rows = validate_inputs(contract, [request.inputs]).arrays["input-0"]
        return rows.tobytes(), request.outputs, request.binary
    except RequestError as error:
        return str(error), error.code, error.violation, error.feature


@given(
    rows=ROWS | PAIRS,
    more=st.sampled_from([{}, {"parameters": {"outputs": ["probabilities"]}}, {"parameters": 7}]),
)
def test_v1_requests_of_number_arrays_equal_any_others(rows: list[list[Any]], more: dict[str, Any]) -> None:
    body = json.dumps({"instances": rows, **more}).encode()
    expected = outcome(MATRIX, lambda: v1.parse(MATRIX, orjson.loads(body), LIMITS))
    assert outcome(MATRIX, lambda: v1.parse_body(MATRIX, body, LIMITS)) == expected


@given(
    rows=ROWS | PAIRS,
    flat=st.booleans(),
    datatype=st.sampled_from(["FP32", "FP32", "FP64", "FP16", "INT64", "BYTES", "x"]),
    shape=st.none() | st.lists(st.integers(0, 9) | st.just(2.0), max_size=3),
    more=st.sampled_from([{}, {"parameters": {}}, {"parameters": {"binary_data_size": 0}}]),
    request_id=st.sampled_from(["a", "", 7]),
)
@pytest.mark.parametrize("contract", [MATRIX, INTEGERS], ids=["floats", "integers"])
def test_v2_requests_of_number_arrays_equal_any_others(
    contract: Contract,
    rows: list[list[Any]],
    flat: bool,
    datatype: str,
    shape: list[float] | None,
    more: dict[str, Any],
    request_id: object,
) -> None:
    data: list[Any] = [value for row in rows for value in row] if flat else rows
    sizes = [len(rows), len(rows[0])] if shape is None else shape
    entry = {"name": "x", "datatype": datatype, "shape": sizes, "data": data, **more}
    body = json.dumps({"inputs": [entry], "id": request_id}).encode()
    # An escape in an ignored key leaves the body to orjson.
    escaped = body[:-1] + b', "\\u0078": 0}'
    expected = outcome(contract, lambda: v2.parse(contract, escaped, None, LIMITS))
    assert outcome(contract, lambda: v2.parse(contract, body, None, LIMITS)) == expected


def test_requests_of_number_arrays_need_no_python_numbers() -> None:
    v1_inputs = v1.parse_body(MATRIX, b'{"instances": [[1, 2], [3, 4.5]]}', LIMITS).inputs
    entry = b'{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": %b}'
    v2_bodies = (b'{"inputs": [%b]}' % (entry % data) for data in (b"[1, 2, 3, 4.5]", b"[[1, 2], [3, 4.5]]"))
    for inputs in (v1_inputs, *(v2.parse(MATRIX, body, None, LIMITS).inputs for body in v2_bodies)):
        assert isinstance(inputs, UncheckedMatrix)
        assert isinstance(inputs.elements, np.ndarray)
        assert inputs.elements.tolist() == [1, 2, 3, 4.5]
