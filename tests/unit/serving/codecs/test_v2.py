# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_serving.codecs.decode import v2
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.errors import RequestError

from tests.support.contracts import BOOLEANS, DOUBLES, INTEGERS, MATRIX, MIXED
from tidegate.contract import Contract

LIMITS = Limits(rows=4)


def tensor(name: str, datatype: str, shape: Any, data: Any = None, **parameters: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        entry["data"] = data
    return entry | ({"parameters": parameters} if parameters else {})


def ask(contract: Contract, *inputs: Any, raw: bytes | None = None, **rest: Any) -> InferenceRequest:
    header = json.dumps({"inputs": inputs, **rest}).encode()
    return v2(contract, header + (raw or b""), None if raw is None else len(header), LIMITS)


def refusal(contract: Contract, *inputs: Any, raw: bytes | None = None, **rest: Any) -> str:
    with pytest.raises(RequestError) as caught:
        ask(contract, *inputs, raw=raw, **rest)
    sentence = str(caught.value)
    assert re.search("expected .*received ", sentence), sentence
    return sentence


GOOD = tensor("anything", "FP32", [2, 2], [1, 2, 3, 4])
MIXED_COLUMNS = [
    tensor("flag", "BOOL", [2], [True, False]),
    tensor("size", "FP32", [2, 1], [1.5, None]),
    tensor("city", "BYTES", [2], ["Rome", None]),
    tensor("colour", "BYTES", [2, 1], [["red"], ["blue"]]),
    tensor("count", "INT32", [2], [1, 2]),
]


def test_one_tensor_of_any_name_is_the_matrix() -> None:
    question = ask(MATRIX, GOOD, id="7")
    assert question.batch.arrays["input-0"].tolist() == [[1, 2], [3, 4]]
    assert question.id == "7"
    assert [output.name for output in question.outputs] == ["label", "probabilities"]


def test_nested_data_is_the_same_as_flat() -> None:
    nested = ask(MATRIX, tensor("x", "FP32", [2, 2], [[1, 2], [3, 4]]))
    assert nested.batch.arrays["input-0"].tolist() == [[1, 2], [3, 4]]


def test_a_matrix_may_come_as_a_tensor_a_feature_in_any_order() -> None:
    question = ask(MATRIX, tensor("b", "FP32", [2], [2, None]), tensor("a", "FP64", [2, 1], [1, 3]))
    np.testing.assert_array_equal(
        question.batch.arrays["input-0"], np.array([[1, 2], [3, np.nan]], dtype=np.float32)
    )


def test_a_data_frame_style_request_is_a_tensor_a_feature() -> None:
    question = ask(MIXED, *MIXED_COLUMNS, parameters={"content_type": "pd"})
    arrays = question.batch.arrays
    assert list(arrays) == ["size", "count", "flag", "colour", "city"]
    assert arrays["city"].tolist() == ["Rome", ""]
    assert arrays["colour"].tolist() == ["red", "blue"]
    assert arrays["count"].dtype == np.int64


def test_a_request_without_an_id_gets_one() -> None:
    assert ask(MATRIX, GOOD).id
    assert ask(MATRIX, GOOD).id != ask(MATRIX, GOOD).id


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT8", "UINT64"])
def test_every_number_type_fits_a_float_feature_as_bytes(datatype: str) -> None:
    dtype = {"FP": "f", "IN": "i", "UI": "u"}[datatype[:2]]
    array = np.array([[1, 2]], dtype=np.dtype(f"<{dtype}{int(re.sub('[A-Z]', '', datatype)) // 8}"))
    entry = tensor("x", datatype, [1, 2], binary_data_size=array.nbytes)
    assert ask(MATRIX, entry, raw=array.tobytes()).batch.arrays["input-0"].tolist() == [[1.0, 2.0]]


def test_binary_tensors_follow_one_another_and_mix_with_json() -> None:
    text = struct.pack("<I", 3) + b"red" + struct.pack("<I", 4) + b"blue"
    sizes = np.array([np.nan, 1], dtype="<f4").tobytes()
    question = ask(
        MIXED,
        tensor("colour", "BYTES", [2], binary_data_size=len(text)),
        tensor("size", "FP32", [2], binary_data_size=8),
        tensor("flag", "BOOL", [2], binary_data_size=2),
        tensor("count", "INT64", [2], [1, 2]),
        tensor("city", "BYTES", [2], ["", "Oslo"]),
        raw=text + sizes + b"\x00\x01",
    )
    assert question.batch.arrays["colour"].tolist() == ["red", "blue"]
    assert question.batch.arrays["flag"].tolist() == [False, True]
    assert np.isnan(question.batch.arrays["size"][0])


def test_outputs_are_chosen_by_name_and_form() -> None:
    question = ask(
        MATRIX,
        GOOD,
        outputs=[
            {"name": "probabilities", "parameters": {"binary_data": True}},
            {"name": "label"},
        ],
    )
    assert [output.name for output in question.outputs] == ["probabilities", "label"]
    assert question.binary == {"probabilities"}


@pytest.mark.parametrize("value", ["false", 0, 1, 0.5, [], {}])
def test_whether_an_output_comes_as_bytes_is_true_or_false_and_nothing_else(value: object) -> None:
    where = "request.parameters.binary_data_output"
    assert where in refusal(MATRIX, GOOD, parameters={"binary_data_output": value})
    outputs = [{"name": "label", "parameters": {"binary_data": value}}]
    assert "outputs[0].parameters.binary_data" in refusal(MATRIX, GOOD, outputs=outputs)


def test_all_outputs_are_binary_when_the_request_says_so() -> None:
    assert ask(MATRIX, GOOD, parameters={"binary_data_output": True}).binary == {"label", "probabilities"}
    chosen = ask(
        MATRIX,
        GOOD,
        parameters={"binary_data_output": True},
        outputs=[{"name": "label", "parameters": {"binary_data": False}}],
    )
    assert chosen.binary == frozenset()


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (7, "inputs[0]"),
        (tensor(7, "FP32", [1, 2], [1, 2]), "inputs[0].name"),  # type: ignore[arg-type]
        (tensor("x", "FP99", [1, 2], [1, 2]), "inputs[0].datatype"),
        (tensor("x", "FP16", [1, 2], [1, 2]), "FP16"),
        (tensor("x", "BYTES", [1, 2], ["1", "2"]), "BYTES"),
        (tensor("x", "BOOL", [1, 2], [True, True]), "BOOL"),
        (tensor("x", "FP32", None, [1, 2]), "inputs[0].shape"),
        (tensor("x", "FP32", [], [1, 2]), "inputs[0].shape"),
        (tensor("x", "FP32", [-1, 2], [1, 2]), "inputs[0].shape"),
        (tensor("x", "FP32", [1.0, 2], [1, 2]), "inputs[0].shape"),
        (tensor("x", "FP32", [True, 2], [1, 2]), "inputs[0].shape"),
        (tensor("x", "FP32", [2], [1, 2]), "[rows, 2]"),
        (tensor("x", "FP32", [1, 3], [1, 2, 3]), "[rows, 2]"),
        (tensor("x", "FP32", [1, 2, 1], [1, 2]), "[rows, columns]"),
        (tensor("x", "FP32", [1, 2], [1, 2, 3]), "2 elements"),
        (tensor("x", "FP32", [2**62, 2**62], [1]), "elements"),
        (tensor("x", "FP32", [1, 2], "12"), "inputs[0].data"),
        (tensor("x", "FP32", [1, 2]), "inputs[0].data"),
        (tensor("x", "FP32", [2, 2], [[1, 2], [3]]), "inputs[0].data"),
        (tensor("x", "FP32", [2, 2], [[1, 2], 3]), "inputs[0].data"),
        (tensor("x", "FP32", [1, 2], [[[1], [2]]]), "inputs[0].data"),
        (tensor("x", "FP32", [0, 2], []), "at least one row"),
        (tensor("x", "FP32", [5, 2], [1] * 10), "at most 4 rows"),
        (tensor("x", "FP32", [1, 2], ["1", 2]), "inputs[0].data[0]"),
        (tensor("x", "FP32", [1, 2], [1, True]), "inputs[0].data[1]"),
        (tensor("x", "FP32", [1, 2], [None, 1]), "'a'"),
        (tensor("x", "FP32", [1, 2], [1, 1e39]), "'b'"),
        (tensor("x", "INT8", [1, 2], [1, 300]), "300"),
        (tensor("x", "UINT8", [1, 2], [1, -1]), "-1"),
        (tensor("x", "INT64", [1, 2], [1, 1.5]), "1.5"),
        (tensor("x", "FP32", [1, 2], [1, 2], binary_data_size=4), "binary_data_size"),
        ({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], "parameters": 7}, "parameters"),
    ],
)
def test_a_wrong_tensor_is_refused_with_its_place(entry: Any, named: str) -> None:
    assert named in refusal(MATRIX, entry)


def test_a_tensor_of_floats_is_not_a_tensor_of_integers() -> None:
    assert "FP32" in refusal(INTEGERS, tensor("x", "FP32", [1, 2], [1, 2]))
    assert "FP64" in refusal(INTEGERS, tensor("x", "FP64", [1, 2], [1, 2]))
    assert "INT64" in refusal(BOOLEANS, tensor("a", "INT64", [1], [1]))


def test_an_unsigned_integer_beyond_int64_is_refused() -> None:
    assert "18446744073709551615" in refusal(INTEGERS, tensor("x", "UINT64", [1, 2], [1, 2**64 - 1]))


def test_a_double_too_large_for_fp32_is_refused_as_bytes_too() -> None:
    raw = np.array([[1, 1e300]]).tobytes()
    assert "1e+300" in refusal(MATRIX, tensor("x", "FP64", [1, 2], binary_data_size=16), raw=raw)
    assert ask(DOUBLES, tensor("a", "FP64", [1, 1], binary_data_size=8), raw=raw[8:]).batch.arrays[
        "input-0"
    ].tolist() == [[1e300]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_where_nothing_may_be_missing(value: float) -> None:
    raw = np.array([[value, 1]], dtype="<f4").tobytes()
    assert "'a'" in refusal(MATRIX, tensor("x", "FP32", [1, 2], binary_data_size=8), raw=raw)


def test_infinity_is_never_a_missing_value() -> None:
    raw = np.array([[1, np.inf]], dtype="<f4").tobytes()
    assert "infinity" in refusal(MATRIX, tensor("x", "FP32", [1, 2], binary_data_size=8), raw=raw)


@pytest.mark.parametrize(
    ("size", "raw", "named"),
    [
        (8, b"1234", "binary_data_size"),
        (4, b"1234", "8 bytes"),
        (8, b"123456789", "after the last"),
        (-1, b"", "binary_data_size"),
        ("8", b"12345678", "binary_data_size"),
        (True, b"12345678", "binary_data_size"),
    ],
)
def test_a_lie_about_the_length_is_refused(size: Any, raw: bytes, named: str) -> None:
    assert named in refusal(MATRIX, tensor("x", "FP32", [1, 2], binary_data_size=size), raw=raw)


@pytest.mark.parametrize(
    "raw", [b"\x03\x00\x00\x00re", b"\x03\x00", b"\xff\xff\xff\xffred", b"\x02\x00\x00\x00\xff\xff", b""]
)
def test_a_broken_text_tensor_is_refused(raw: bytes) -> None:
    columns = [column for column in MIXED_COLUMNS if column["name"] != "colour"]
    refusal(MIXED, *columns, tensor("colour", "BYTES", [2], binary_data_size=len(raw)), raw=raw)


def test_a_truth_value_of_two_is_refused() -> None:
    assert "BOOL" in refusal(BOOLEANS, tensor("a", "BOOL", [1], binary_data_size=1), raw=b"\x02")


@pytest.mark.parametrize("length", [-1, 10_000])
def test_a_header_longer_than_the_body_is_refused(length: int) -> None:
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        v2(MATRIX, json.dumps({"inputs": [GOOD]}).encode(), length, LIMITS)


def test_features_must_all_be_there_and_of_one_length() -> None:
    assert "'b'" in refusal(MATRIX, tensor("a", "FP32", [1], [1]))
    assert "'nobody'" in refusal(MATRIX, tensor("a", "FP32", [1], [1]), tensor("nobody", "FP32", [1], [1]))
    assert "twice" in refusal(MATRIX, tensor("a", "FP32", [1], [1]), tensor("a", "FP32", [1], [1]))
    assert "inputs[1].shape" in refusal(
        MATRIX, tensor("a", "FP32", [1], [1]), tensor("b", "FP32", [2], [1, 2])
    )
    assert "inputs[0].name" in refusal(MIXED, tensor("input-0", "FP32", [1, 5], [1] * 5))


@pytest.mark.parametrize(
    "rest",
    [
        {"id": 7},
        {"parameters": 7},
        {"outputs": 7},
        {"outputs": [7]},
        {"outputs": [{"name": "nobody"}]},
        {"outputs": [{"name": "label"}, {"name": "label"}]},
        {"outputs": [{"name": "label", "parameters": 7}]},
    ],
)
def test_a_wrong_part_beside_the_inputs_is_refused(rest: dict[str, Any]) -> None:
    refusal(MATRIX, GOOD, **rest)


def test_a_request_without_inputs_is_refused() -> None:
    refusal(MATRIX)
    with pytest.raises(RequestError, match="inputs: expected a list of tensors"):
        v2(MATRIX, b'{"instances": [[1, 2]]}', None, LIMITS)


NAMES = st.sampled_from(["a", "b", "size", "colour", "input-0", "x"])
ANY = st.none() | st.booleans() | st.integers(-5, 300) | st.floats(allow_nan=False) | st.text(max_size=3)
INPUTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "datatype": st.sampled_from(["FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "FP16"]),
            "shape": st.lists(st.integers(-1, 3), max_size=3),
        },
        optional={
            "data": st.lists(ANY | st.lists(ANY, max_size=3), max_size=6),
            "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | ANY}) | ANY,
        },
    )
    | ANY,
    max_size=3,
)


@pytest.mark.parametrize("contract", [MATRIX, MIXED, INTEGERS])
@given(inputs=INPUTS, raw=st.none() | st.binary(max_size=24), outputs=st.none() | st.lists(ANY, max_size=2))
def test_any_request_is_answered_or_refused_in_a_sentence(
    contract: Contract, inputs: list[Any], raw: bytes | None, outputs: Any
) -> None:
    body = json.dumps({"inputs": inputs, "outputs": outputs}, allow_nan=True).encode()
    try:
        v2(contract, body + (raw or b""), None if raw is None else len(body), LIMITS)
    except RequestError as error:
        assert str(error).endswith(".")  # noqa: PT017


def test_a_shape_of_very_many_sizes_is_refused_before_it_is_multiplied() -> None:
    sentence = refusal(MATRIX, tensor("x", "FP32", [2**62] * 200_000, [1.0]))
    assert "inputs[0].shape: expected one or two sizes" in sentence
    assert "received 200000" in sentence


def test_more_tensors_than_features_are_refused_before_they_are_read() -> None:
    sentence = refusal(MATRIX, *[None] * 1000)
    assert "expected at most 2 tensors" in sentence


def test_bytes_elements_beyond_the_shape_are_not_split() -> None:
    city = tensor("city", "BYTES", [1], binary_data_size=4_000_000)
    columns = [city, *(entry for entry in MIXED_COLUMNS if entry["name"] != "city")]
    sentence = refusal(MIXED, *columns, raw=bytes(4_000_000))
    assert "expected 1 BYTES elements, as the shape says, received more" in sentence


@pytest.mark.parametrize("length", [100, 1_000_000])
def test_a_refusal_never_repeats_a_long_name(length: int) -> None:
    assert len(refusal(MATRIX, GOOD, outputs=[{"name": "é" * length}])) < 200
    assert len(refusal(MATRIX, GOOD | {"datatype": "é" * length})) < 400
    assert len(str(RequestError("é" * length))) <= 501
