# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import (
    BOOLEANS,
    DOUBLES,
    INTEGERS,
    MATRIX,
    MIXED,
    SMALL,
    TARGETS,
    contract,
    several_targets,
)
from tests.support.requests import validated_v1
from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate_serving.codecs import inputs, v1
from tidegate_serving.codecs.json_rows import parse_object
from tidegate_serving.codecs.request import InferenceRequest, Limits, select_outputs
from tidegate_serving.codecs.validation import validate_values
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import RequestError

LIMITS = Limits(rows=4)


def parse(contract: Contract, body: object) -> InferenceRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return validated_v1(contract, parse_object(content), LIMITS)


def rejection(contract: Contract, body: object) -> str:
    with pytest.raises(RequestError) as caught:
        parse(contract, body)
    message = str(caught.value)
    assert re.search("expected .*received ", message), message
    assert message.endswith(".")
    return message


def test_parse_rows_of_numbers_is_one_matrix() -> None:
    request = parse(MATRIX, {"instances": [[1, 2.5], [3.0, 4]]})
    matrix = request.inputs.arrays["input-0"]
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert [output.name for output in request.outputs] == ["label"]


def test_parse_objects_orders_values_by_feature_name() -> None:
    request = parse(MATRIX, {"instances": [{"b": 2, "a": 1}]})
    assert request.inputs.arrays["input-0"].tolist() == [[1.0, 2.0]]


def test_parse_missing_feature_may_be_null_or_omitted() -> None:
    for row in ([1, None], {"a": 1, "b": None}, {"a": 1}):
        matrix = parse(MATRIX, {"instances": [row]}).inputs.arrays["input-0"]
        assert matrix[0, 0] == 1.0
        assert np.isnan(matrix[0, 1])


def test_parse_mixed_rows_is_one_column_per_feature() -> None:
    arrays = parse(
        MIXED, {"instances": [[None, 3, True, "red", None], [1.5, 4.0, False, "blue", "Rome"]]}
    ).inputs.arrays
    assert np.isnan(arrays["size"][0])
    assert arrays["count"].dtype == np.int64
    assert arrays["count"].tolist() == [3, 4]
    assert arrays["flag"].tolist() == [True, False]
    assert arrays["colour"].tolist() == ["red", "blue"]
    assert arrays["city"].tolist() == ["", "Rome"]


def test_parse_mixed_rows_names_the_place_in_its_row() -> None:
    rows = [[1.0, 1, True, "red", "Oslo"], [1.0, 1, True, "red", "Oslo"]]
    rows[1][3] = "green"
    assert "instances[1][3] (feature 'colour')" in rejection(MIXED, {"instances": rows})
    rows[1][3:] = ["red", 7]
    assert "instances[1][4] (feature 'city')" in rejection(MIXED, {"instances": rows})


@pytest.mark.parametrize("width", [2, 50])
def test_parse_mixed_rows_validates_once_per_type(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [{"name": f"x{i}", "datatype": "FP32"} for i in range(width)]
    wide = contract([*numbers, {"name": "n", "datatype": "INT64"}])
    datatypes: list[str] = []

    def counted(features: Any, array: Any, datatype: str, place: Any) -> Any:
        datatypes.append(datatype)
        return validate_values(features, array, datatype, place)

    monkeypatch.setattr(inputs, "validate_values", counted)
    arrays = parse(wide, {"instances": [[*range(width), 7]] * 3}).inputs.arrays
    assert datatypes == ["FP32", "INT64"]
    assert [arrays[f"x{i}"].tolist() for i in range(width)] == [[i] * 3 for i in range(width)]


def test_parse_large_integer_keeps_every_digit() -> None:
    row = [9007199254740993, 2.0]
    assert parse(INTEGERS, {"instances": [row]}).inputs.arrays["input-0"].tolist() == [[9007199254740993, 2]]


def test_parse_ignores_other_keys_than_instances() -> None:
    assert len(parse(MATRIX, {"instances": [[1, 2]], "signature_name": "x"}).inputs) == 1


@pytest.mark.parametrize(
    ("body", "place"),
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
def test_parse_invalid_body_is_rejected_with_its_place(body: object, place: str) -> None:
    assert place in rejection(MATRIX, body)


@pytest.mark.parametrize(
    ("contract", "value", "received"),
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
def test_parse_value_of_another_type_is_rejected(contract: Contract, value: object, received: str) -> None:
    row = [value] + [1] * (len(contract.features) - 1)
    assert received in rejection(contract, {"instances": [row]})


@pytest.mark.parametrize(
    ("row", "received"),
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
def test_parse_invalid_mixed_row_is_rejected_with_its_feature(row: list[object], received: str) -> None:
    assert received in rejection(MIXED, {"instances": [row]})


def test_parse_names_the_first_invalid_row() -> None:
    rows = [[1, 1, True, "red", "x"], [1, 1, True, "green", "x"]]
    assert "instances[1][3]" in rejection(MIXED, {"instances": rows})


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
def test_parse_any_json_is_accepted_or_rejected(contract: Contract, body: object) -> None:
    try:
        request = parse(contract, body)
    except RequestError as error:
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert 1 <= len(request.inputs) <= LIMITS.rows


@given(content=st.binary(max_size=200))
def test_parse_any_bytes_are_accepted_or_rejected(content: bytes) -> None:
    try:
        parse(MATRIX, content)
    except RequestError as error:
        assert str(error).startswith(("body", "instances"))  # noqa: PT017


@given(
    st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30) | st.none()), min_size=1, max_size=4)
)
def test_parse_keeps_every_allowed_value_exactly(
    rows: list[tuple[float, float | None]],
) -> None:
    matrix = parse(MATRIX, {"instances": rows}).inputs.arrays["input-0"]
    expected = np.array(
        [[np.nan if value is None else value for value in row] for row in rows], dtype=np.float32
    )
    np.testing.assert_array_equal(matrix, expected)


LABELS = {"label": np.array([1, 0]), "probabilities": np.array([[0.1, 0.9], [0.75, 0.25]], np.float32)}


def encode(
    contract: Contract,
    outputs: dict[str, np.ndarray],
    start: int = 0,
    stop: int = 2,
    names: tuple[str, ...] | None = None,
) -> bytes:
    selected = (contract.prediction,) if names is None else select_outputs(contract, names)
    return v1.encode(selected, ResultSlice(BatchResult(Batch({}), outputs), start, stop))


def test_encode_contains_the_first_output_only() -> None:
    assert encode(MATRIX, LABELS) == b'{"predictions":[1,0]}'


def test_encode_slice_contains_its_own_rows_only() -> None:
    assert encode(MATRIX, LABELS, 1, 2) == b'{"predictions":[0]}'


def test_encode_text_is_a_json_string() -> None:
    text = contract([{"name": "a", "datatype": "FP32"}], [{"name": "label", "datatype": "BYTES"}])
    assert encode(text, {"label": np.array(["no", "ja"], object)}) == b'{"predictions":["no","ja"]}'


def test_encode_wide_prediction_is_one_list_per_row() -> None:
    outputs = [{"name": "prediction", "datatype": "FP32", "width": 2}]
    wide = contract([{"name": "a", "datatype": "FP32"}], outputs)
    values = {"prediction": np.array([[1, 2], [3, 4], [5, 6]], np.float32)}
    assert encode(wide, values) == b'{"predictions":[[1.0,2.0],[3.0,4.0]]}'
    assert encode(wide, values, 2, 3) == b'{"predictions":[[5.0,6.0]]}'


def test_encode_several_outputs_is_one_object_per_row() -> None:
    body = json.loads(encode(MATRIX, LABELS, names=("probabilities", "label")))
    assert body == {
        "predictions": [
            {"probabilities": [0.1, 0.9], "label": 1},
            {"probabilities": [0.75, 0.25], "label": 0},
        ]
    }


def test_encode_one_named_output_is_its_values() -> None:
    assert encode(MATRIX, LABELS, names=("probabilities",)) == b'{"predictions":[[0.1,0.9],[0.75,0.25]]}'


@pytest.mark.parametrize("parameters", [{}, {"content_type": "pd"}, {"outputs": ["label"]}])
def test_parse_without_other_outputs_returns_the_prediction(parameters: dict[str, Any]) -> None:
    request = parse(MATRIX, {"instances": [[1, 2]], "parameters": parameters})
    assert request.outputs == (MATRIX.prediction,)


def test_parse_named_outputs_keeps_their_order() -> None:
    parameters = {"outputs": ["probabilities", "label"]}
    request = parse(MATRIX, {"instances": [[1, 2]], "parameters": parameters})
    assert [output.name for output in request.outputs] == ["probabilities", "label"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "parameters: expected an object, received a list."),
        ({"outputs": []}, "parameters.outputs: expected a list of names of outputs, received an empty list."),
        (
            {"outputs": "label"},
            'parameters.outputs: expected a list of names of outputs, received the string "label".',
        ),
        ({"outputs": [0]}, "parameters.outputs[0]: expected a name, received 0."),
        (
            {"outputs": ["label", "proba"]},
            "parameters.outputs[1]: expected one of label, probabilities, received 'proba'.",
        ),
        (
            {"outputs": ["label", "label"]},
            "parameters.outputs[1]: expected each output once, received 'label' again.",
        ),
    ],
)
def test_parse_wrong_outputs_are_rejected_by_name(parameters: Any, message: str) -> None:
    assert rejection(MATRIX, {"instances": [[1, 2]], "parameters": parameters}) == message


@pytest.mark.parametrize("datatype", TARGETS)
@pytest.mark.parametrize("repeats", [1, 10])
def test_encode_several_targets_is_one_list_per_row(datatype: str, repeats: int) -> None:
    values = np.tile(TARGETS[datatype], (repeats, 1))
    body = encode(several_targets(datatype), {"label": values}, 1, len(values))
    assert json.loads(body) == {"predictions": values[1:].tolist()}
