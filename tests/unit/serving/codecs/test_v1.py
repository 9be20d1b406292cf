# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_serving.codecs.decode import parse_json, v1
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.errors import RequestError

from tests.support.contracts import BOOLEANS, DOUBLES, INTEGERS, MATRIX, MIXED, SMALL
from tidegate.contract import Contract

LIMITS = Limits(rows=4)


def ask(contract: Contract, body: object) -> InferenceRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return v1(contract, parse_json(content), LIMITS)


def refusal(contract: Contract, body: object) -> str:
    with pytest.raises(RequestError) as caught:
        ask(contract, body)
    sentence = str(caught.value)
    assert re.search("expected .*received ", sentence), sentence
    assert sentence.endswith(".")
    return sentence


def test_rows_of_numbers_become_one_matrix_of_the_contracts_type() -> None:
    question = ask(MATRIX, {"instances": [[1, 2.5], [3.0, 4]]})
    matrix = question.batch.arrays["input-0"]
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert [output.name for output in question.outputs] == ["label"]


def test_objects_are_read_by_name_in_any_order() -> None:
    question = ask(MATRIX, {"instances": [{"b": 2, "a": 1}]})
    assert question.batch.arrays["input-0"].tolist() == [[1.0, 2.0]]


def test_a_feature_that_may_be_missing_may_be_null_or_left_out() -> None:
    for row in ([1, None], {"a": 1, "b": None}, {"a": 1}):
        matrix = ask(MATRIX, {"instances": [row]}).batch.arrays["input-0"]
        assert matrix[0, 0] == 1.0
        assert np.isnan(matrix[0, 1])


def test_mixed_rows_become_a_column_a_feature() -> None:
    arrays = ask(
        MIXED, {"instances": [[None, 3, True, "red", None], [1.5, 4.0, False, "blue", "Rome"]]}
    ).batch.arrays
    assert np.isnan(arrays["size"][0])
    assert arrays["count"].dtype == np.int64
    assert arrays["count"].tolist() == [3, 4]
    assert arrays["flag"].tolist() == [True, False]
    assert arrays["colour"].tolist() == ["red", "blue"]
    assert arrays["city"].tolist() == ["", "Rome"]


def test_large_integers_keep_every_digit() -> None:
    row = [9007199254740993, 2.0]
    assert ask(INTEGERS, {"instances": [row]}).batch.arrays["input-0"].tolist() == [[9007199254740993, 2]]


def test_keys_beside_instances_are_left_alone() -> None:
    assert len(ask(MATRIX, {"instances": [[1, 2]], "signature_name": "x"}).batch) == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "body"),
        (b"", "body"),
        (b"\xff", "body"),
        (b"[1]", "body"),
        (b'{"instances": [[NaN, 1]]}', "body"),
        (b'{"instances": [[Infinity, 1]]}', "body"),
        (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        ({}, "instances"),
        ({"instance": [[1, 2]]}, "instance'"),
        ({"instances": None}, "null"),
        ({"instances": {}}, "an object"),
        ({"instances": []}, "at least one row"),
        ({"instances": [[1, 2]] * 5}, "at most 4 rows"),
        ({"instances": [1, 2]}, "instances[0]"),
        ({"instances": [[1, 2], {"a": 1}]}, "both"),
        ({"instances": [[1, 2], [1]]}, "instances[1]"),
        ({"instances": [[1, 2, 3]]}, "instances[0]"),
        ({"instances": [{"b": 1}]}, "'a'"),
        ({"instances": [{"a": 1, "c": 1}]}, "'c'"),
        ({"instances": [["1.5", 1]]}, "instances[0][0] (feature 'a')"),
        ({"instances": [[1, 2], [True, 1]]}, "instances[1][0] (feature 'a')"),
        ({"instances": [[None, 1]]}, "'a'"),
        ({"instances": [[1, [2]]]}, "instances[0][1] (feature 'b')"),
        ({"instances": [[1, {}]]}, "instances[0][1] (feature 'b')"),
        ({"instances": [{"a": "x", "b": 1}]}, "instances[0]['a']"),
        ({"instances": [[1e39, 1]]}, "1e+39"),
        ({"instances": [[1, -1e39]]}, "'b'"),
    ],
)
def test_a_mistake_is_refused_with_its_place(body: object, named: str) -> None:
    assert named in refusal(MATRIX, body)


@pytest.mark.parametrize(
    ("contract", "value", "named"),
    [
        (INTEGERS, 1.5, "1.5"),
        (INTEGERS, 1e19, "10000000000000000000"),
        (INTEGERS, True, "true"),
        (INTEGERS, None, "null"),
        (INTEGERS, "1", '"1"'),
        (INTEGERS, 2**63, "9223372036854775808"),
        (SMALL, 2**31, "2147483648"),
        (BOOLEANS, 1, "1"),
        (BOOLEANS, None, "null"),
        (BOOLEANS, "true", '"true"'),
        (DOUBLES, "x", '"x"'),
    ],
)
def test_a_value_of_another_type_is_refused(contract: Contract, value: object, named: str) -> None:
    row = [value] + [1] * (len(contract.features) - 1)
    assert named in refusal(contract, {"instances": [row]})


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ([1, 1, True, "green", "x"], "'blue', 'red'"),
        ([1, 1, True, 7, "x"], "instances[0][3] (feature 'colour')"),
        ([1, 1, True, None, "x"], "never missing"),
        ([1, 1, True, "", "x"], "never missing"),
        ([1, 1, 0, "red", "x"], "'flag'"),
        ([1, None, True, "red", "x"], "'count'"),
        (["", 1, True, "red", "x"], "'size'"),
    ],
)
def test_a_value_of_a_mixed_row_is_refused_with_its_feature(row: list[object], named: str) -> None:
    assert named in refusal(MIXED, {"instances": [row]})


def test_the_first_row_that_is_wrong_is_named_not_another() -> None:
    rows = [[1, 1, True, "red", "x"], [1, 1, True, "green", "x"]]
    assert "instances[1][3]" in refusal(MIXED, {"instances": rows})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "instances", "x"]), inner)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("contract", [MATRIX, INTEGERS, MIXED, BOOLEANS])
@given(body=st.fixed_dictionaries({"instances": JSON}) | JSON)
def test_any_json_is_answered_or_refused_in_a_sentence(contract: Contract, body: object) -> None:
    try:
        question = ask(contract, body)
    except RequestError as error:
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert 1 <= len(question.batch) <= LIMITS.rows


@given(content=st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused_in_a_sentence(content: bytes) -> None:
    try:
        ask(MATRIX, content)
    except RequestError as error:
        assert str(error).startswith(("body", "instances"))  # noqa: PT017


@given(
    st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30) | st.none()), min_size=1, max_size=4)
)
def test_every_row_that_the_contract_allows_is_decoded_exactly(
    rows: list[tuple[float, float | None]],
) -> None:
    matrix = ask(MATRIX, {"instances": rows}).batch.arrays["input-0"]
    expected = np.array(
        [[np.nan if value is None else value for value in row] for row in rows], dtype=np.float32
    )
    np.testing.assert_array_equal(matrix, expected)
