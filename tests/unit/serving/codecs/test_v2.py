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

from tests.support.contracts import (
    BOOLEANS,
    DOUBLES,
    INTEGERS,
    MATRIX,
    MIXED,
    TARGETS,
    contract,
    several_targets,
)
from tests.support.requests import validated_v2
from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate_serving.codecs import v2
from tidegate_serving.codecs.inputs import ARRAY_VALUES, UncheckedRows
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.codecs.tensors import parse_raw_tensor
from tidegate_serving.codecs.v2 import ResponseEncoder
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import RequestError

LIMITS = Limits(rows=4)


def tensor(name: str, datatype: str, shape: Any, data: Any = None, **parameters: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        entry["data"] = data
    return entry | ({"parameters": parameters} if parameters else {})


def parse(contract: Contract, *inputs: Any, raw: bytes | None = None, **rest: Any) -> InferenceRequest:
    header = json.dumps({"inputs": inputs, **rest}).encode()
    return validated_v2(contract, header + (raw or b""), None if raw is None else len(header), LIMITS)


def rejection(contract: Contract, *inputs: Any, raw: bytes | None = None, **rest: Any) -> str:
    with pytest.raises(RequestError) as caught:
        parse(contract, *inputs, raw=raw, **rest)
    message = str(caught.value)
    assert re.search("expected .*received ", message), message
    return message


GOOD = tensor("anything", "FP32", [2, 2], [1, 2, 3, 4])
MIXED_COLUMNS = [
    tensor("flag", "BOOL", [2], [True, False]),
    tensor("size", "FP32", [2, 1], [1.5, None]),
    tensor("city", "BYTES", [2], ["Rome", None]),
    tensor("colour", "BYTES", [2, 1], [["red"], ["blue"]]),
    tensor("count", "INT32", [2], [1, 2]),
]


def plain_columns(rows: list[list[Any]]) -> list[dict[str, Any]]:
    """Return the tensors of the usual request for ``MIXED``."""
    columns = zip(MIXED.features, zip(*rows, strict=True), strict=True)
    return [tensor(feature.name, feature.datatype, [len(rows)], [*column]) for feature, column in columns]


def parse_unchecked(*inputs: Any, limits: Limits = LIMITS) -> object:
    return v2.parse(MIXED, json.dumps({"inputs": inputs}).encode(), None, limits).inputs


def test_parse_one_tensor_of_any_name_is_the_matrix() -> None:
    request = parse(MATRIX, GOOD, id="7")
    assert request.inputs.arrays["input-0"].tolist() == [[1, 2], [3, 4]]
    assert request.id == "7"
    assert [output.name for output in request.outputs] == ["label", "probabilities"]


def test_parse_nested_data_equals_flat_data() -> None:
    nested = parse(MATRIX, tensor("x", "FP32", [2, 2], [[1, 2], [3, 4]]))
    assert nested.inputs.arrays["input-0"].tolist() == [[1, 2], [3, 4]]


def test_parse_matrix_may_be_one_tensor_per_feature() -> None:
    request = parse(MATRIX, tensor("b", "FP32", [2], [2, None]), tensor("a", "FP64", [2, 1], [1, 3]))
    np.testing.assert_array_equal(
        request.inputs.arrays["input-0"], np.array([[1, 2], [3, np.nan]], dtype=np.float32)
    )


def test_parse_data_frame_request_is_one_tensor_per_feature() -> None:
    request = parse(MIXED, *MIXED_COLUMNS, parameters={"content_type": "pd"})
    arrays = request.inputs.arrays
    assert list(arrays) == ["size", "count", "flag", "colour", "city"]
    assert arrays["city"].tolist() == ["Rome", ""]
    assert arrays["colour"].tolist() == ["red", "blue"]
    assert arrays["count"].dtype == np.int64


def test_parse_request_without_id_gets_a_new_one() -> None:
    assert parse(MATRIX, GOOD).id
    assert parse(MATRIX, GOOD).id != parse(MATRIX, GOOD).id


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT8", "UINT64"])
def test_parse_raw_number_of_any_type_is_a_float(datatype: str) -> None:
    dtype = {"FP": "f", "IN": "i", "UI": "u"}[datatype[:2]]
    array = np.array([[1, 2]], dtype=np.dtype(f"<{dtype}{int(re.sub('[A-Z]', '', datatype)) // 8}"))
    entry = tensor("x", datatype, [1, 2], binary_data_size=array.nbytes)
    assert parse(MATRIX, entry, raw=array.tobytes()).inputs.arrays["input-0"].tolist() == [[1.0, 2.0]]


def test_parse_binary_tensors_mix_with_json_ones() -> None:
    text = struct.pack("<I", 3) + b"red" + struct.pack("<I", 4) + b"blue"
    sizes = np.array([np.nan, 1], dtype="<f4").tobytes()
    request = parse(
        MIXED,
        tensor("colour", "BYTES", [2], binary_data_size=len(text)),
        tensor("size", "FP32", [2], binary_data_size=8),
        tensor("flag", "BOOL", [2], binary_data_size=2),
        tensor("count", "INT64", [2], [1, 2]),
        tensor("city", "BYTES", [2], ["", "Oslo"]),
        raw=text + sizes + b"\x00\x01",
    )
    assert request.inputs.arrays["colour"].tolist() == ["red", "blue"]
    assert request.inputs.arrays["flag"].tolist() == [False, True]
    assert np.isnan(request.inputs.arrays["size"][0])


def test_parse_outputs_selects_names_and_form() -> None:
    request = parse(
        MATRIX,
        GOOD,
        outputs=[
            {"name": "probabilities", "parameters": {"binary_data": True}},
            {"name": "label"},
        ],
    )
    assert [output.name for output in request.outputs] == ["probabilities", "label"]
    assert request.binary == {"probabilities"}


@pytest.mark.parametrize("value", ["false", 0, 1, 0.5, [], {}])
def test_parse_binary_output_flag_is_a_boolean_only(value: object) -> None:
    where = "request.parameters.binary_data_output"
    assert where in rejection(MATRIX, GOOD, parameters={"binary_data_output": value})
    outputs = [{"name": "label", "parameters": {"binary_data": value}}]
    assert "outputs[0].parameters.binary_data" in rejection(MATRIX, GOOD, outputs=outputs)


def test_parse_binary_data_output_applies_to_all_outputs() -> None:
    assert parse(MATRIX, GOOD, parameters={"binary_data_output": True}).binary == {"label", "probabilities"}
    chosen = parse(
        MATRIX,
        GOOD,
        parameters={"binary_data_output": True},
        outputs=[{"name": "label", "parameters": {"binary_data": False}}],
    )
    assert chosen.binary == frozenset()


@pytest.mark.parametrize(
    ("entry", "place"),
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
def test_parse_invalid_tensor_is_rejected_with_its_place(entry: Any, place: str) -> None:
    assert place in rejection(MATRIX, entry)


def test_parse_tensor_of_another_kind_is_rejected() -> None:
    assert "FP32" in rejection(INTEGERS, tensor("x", "FP32", [1, 2], [1, 2]))
    assert "FP64" in rejection(INTEGERS, tensor("x", "FP64", [1, 2], [1, 2]))
    assert "INT64" in rejection(BOOLEANS, tensor("a", "INT64", [1], [1]))


def test_parse_unsigned_integer_beyond_int64_is_rejected() -> None:
    assert "18446744073709551615" in rejection(INTEGERS, tensor("x", "UINT64", [1, 2], [1, 2**64 - 1]))


def test_parse_raw_double_beyond_fp32_is_rejected() -> None:
    raw = np.array([[1, 1e300]]).tobytes()
    assert "1e+300" in rejection(MATRIX, tensor("x", "FP64", [1, 2], binary_data_size=16), raw=raw)
    assert parse(DOUBLES, tensor("a", "FP64", [1, 1], binary_data_size=8), raw=raw[8:]).inputs.arrays[
        "input-0"
    ].tolist() == [[1e300]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_parse_raw_nan_or_infinity_is_rejected(value: float) -> None:
    raw = np.array([[value, 1]], dtype="<f4").tobytes()
    assert "'a'" in rejection(MATRIX, tensor("x", "FP32", [1, 2], binary_data_size=8), raw=raw)


def test_parse_infinity_is_never_a_missing_value() -> None:
    raw = np.array([[1, np.inf]], dtype="<f4").tobytes()
    assert "infinity" in rejection(MATRIX, tensor("x", "FP32", [1, 2], binary_data_size=8), raw=raw)


@pytest.mark.parametrize(
    ("size", "raw", "place"),
    [
        (8, b"1234", "binary_data_size"),
        (4, b"1234", "8 bytes"),
        (8, b"123456789", "after the last"),
        (-1, b"", "binary_data_size"),
        ("8", b"12345678", "binary_data_size"),
        (True, b"12345678", "binary_data_size"),
    ],
)
def test_parse_wrong_binary_data_size_is_rejected(size: Any, raw: bytes, place: str) -> None:
    assert place in rejection(MATRIX, tensor("x", "FP32", [1, 2], binary_data_size=size), raw=raw)


@pytest.mark.parametrize(
    "raw", [b"\x03\x00\x00\x00re", b"\x03\x00", b"\xff\xff\xff\xffred", b"\x02\x00\x00\x00\xff\xff", b""]
)
def test_parse_broken_raw_text_is_rejected(raw: bytes) -> None:
    columns = [column for column in MIXED_COLUMNS if column["name"] != "colour"]
    rejection(MIXED, *columns, tensor("colour", "BYTES", [2], binary_data_size=len(raw)), raw=raw)


def test_parse_raw_boolean_of_two_is_rejected() -> None:
    assert "BOOL" in rejection(BOOLEANS, tensor("a", "BOOL", [1], binary_data_size=1), raw=b"\x02")


@pytest.mark.parametrize("length", [-1, 10_000])
def test_parse_header_length_beyond_the_body_is_rejected(length: int) -> None:
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        validated_v2(MATRIX, json.dumps({"inputs": [GOOD]}).encode(), length, LIMITS)


def test_parse_features_must_be_complete_and_equally_long() -> None:
    assert "'b'" in rejection(MATRIX, tensor("a", "FP32", [1], [1]))
    assert "'unknown'" in rejection(
        MATRIX, tensor("a", "FP32", [1], [1]), tensor("unknown", "FP32", [1], [1])
    )
    assert "twice" in rejection(MATRIX, tensor("a", "FP32", [1], [1]), tensor("a", "FP32", [1], [1]))
    assert "inputs[1].shape" in rejection(
        MATRIX, tensor("a", "FP32", [1], [1]), tensor("b", "FP32", [2], [1, 2])
    )
    assert "inputs[0].name" in rejection(MIXED, tensor("input-0", "FP32", [1, 5], [1] * 5))


@pytest.mark.parametrize(
    "rest",
    [
        {"id": 7},
        {"parameters": 7},
        {"outputs": 7},
        {"outputs": [7]},
        {"outputs": [{"name": "unknown"}]},
        {"outputs": [{"name": "label"}, {"name": "label"}]},
        {"outputs": [{"name": "label", "parameters": 7}]},
    ],
)
def test_parse_invalid_member_besides_inputs_is_rejected(rest: dict[str, Any]) -> None:
    rejection(MATRIX, GOOD, **rest)


def test_parse_request_without_inputs_is_rejected() -> None:
    rejection(MATRIX)
    with pytest.raises(RequestError, match="inputs: expected a list of tensors"):
        validated_v2(MATRIX, b'{"instances": [[1, 2]]}', None, LIMITS)


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
def test_parse_any_request_is_accepted_or_rejected(
    contract: Contract, inputs: list[Any], raw: bytes | None, outputs: Any
) -> None:
    body = json.dumps({"inputs": inputs, "outputs": outputs}, allow_nan=True).encode()
    try:
        validated_v2(contract, body + (raw or b""), None if raw is None else len(body), LIMITS)
    except RequestError as error:
        assert str(error).endswith(".")  # noqa: PT017


def test_parse_shape_of_many_sizes_is_not_multiplied() -> None:
    message = rejection(MATRIX, tensor("x", "FP32", [2**62] * 200_000, [1.0]))
    assert "inputs[0].shape: expected one or two sizes" in message
    assert "received 200000" in message


def test_parse_more_tensors_than_features_reads_none() -> None:
    message = rejection(MATRIX, *[None] * 1000)
    assert "expected at most 2 tensors" in message


def test_parse_raw_texts_beyond_the_shape_are_not_read() -> None:
    city = tensor("city", "BYTES", [1], binary_data_size=4_000_000)
    columns = [city, *(entry for entry in MIXED_COLUMNS if entry["name"] != "city")]
    message = rejection(MIXED, *columns, raw=bytes(4_000_000))
    assert "expected 1 BYTES elements, as the shape says, received more" in message


@pytest.mark.parametrize("length", [100, 1_000_000])
def test_parse_error_never_repeats_a_long_name(length: int) -> None:
    assert len(rejection(MATRIX, GOOD, outputs=[{"name": "é" * length}])) < 200
    assert len(rejection(MATRIX, GOOD | {"datatype": "é" * length})) < 400
    assert len(str(RequestError("é" * length))) <= 501


OUTPUTS = {"label": np.array([1, 0]), "probabilities": np.array([[0.1, 0.9], [0.75, 0.25]], np.float32)}
TEXT = contract([{"name": "a", "datatype": "FP32"}], [{"name": "label", "datatype": "BYTES"}])


def encode(
    contract: Contract, values: dict[str, np.ndarray], binary: frozenset[str] = frozenset(), **options: Any
) -> tuple[bytes, int | None]:
    selected = options.get("selected", contract.outputs)
    request = InferenceRequest(Batch({}), options.get("id", "7"), selected, binary)
    result = ResultSlice(BatchResult(Batch({}), values), options.get("start", 0), options.get("stop", 2))
    return ResponseEncoder(options.get("name", "m"), "abc", contract.outputs).encode(request, result)


def test_encode_json_response_has_all_outputs() -> None:
    body, length = encode(MATRIX, OUTPUTS)
    assert length is None
    assert b"[0.1,0.9,0.75,0.25]" in body, "floats in the shortest form"
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "abc",
        "id": "7",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 0]},
            {"name": "probabilities", "shape": [2, 2], "datatype": "FP32", "data": [0.1, 0.9, 0.75, 0.25]},
        ],
    }


def test_encode_template_equals_the_general_form() -> None:
    copied = (*MATRIX.outputs,)
    assert copied is not MATRIX.outputs, "only the same object has a template"
    for name, request_id in (("m", "7"), ('100% "m"', "%s %b"), ("é", '"')):
        options = {"name": name, "id": request_id}
        assert encode(MATRIX, OUTPUTS, **options) == encode(MATRIX, OUTPUTS, selected=copied, **options)


def test_encode_more_row_counts_than_templates_are_kept() -> None:
    values = {"label": np.arange(100), "probabilities": np.zeros((100, 2), np.float32)}
    encoder = ResponseEncoder("m", "abc", MATRIX.outputs)
    request = InferenceRequest(Batch({}), "7", MATRIX.outputs)
    for _ in range(2):
        for rows in range(1, 101):
            body, _ = encoder.encode(request, ResultSlice(BatchResult(Batch({}), values), 0, rows))
            assert json.loads(body)["outputs"][0]["data"] == list(range(rows))


def test_encode_binary_outputs_follow_the_json() -> None:
    body, length = encode(MATRIX, OUTPUTS, frozenset({"probabilities"}))
    assert length is not None
    outputs = json.loads(body[:length])["outputs"]
    assert outputs[0]["data"] == [1, 0]
    assert outputs[1]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(body[length:], "<f4").tolist() == OUTPUTS["probabilities"].reshape(-1).tolist()


def test_encode_raw_text_has_its_length_first() -> None:
    body, length = encode(TEXT, {"label": np.array(["no", "ja"], object)}, frozenset({"label"}))
    assert body[length:] == b"\x02\x00\x00\x00no\x02\x00\x00\x00ja"


def test_encode_slice_contains_its_own_rows_only() -> None:
    body, _ = encode(MATRIX, OUTPUTS, start=1, stop=2)
    assert json.loads(body)["outputs"][1]["data"] == [0.75, 0.25]
    body, length = encode(MATRIX, OUTPUTS, frozenset({"label"}), start=1, stop=2)
    assert np.frombuffer(body[length:], "<i8").tolist() == [0]


def test_encode_selected_outputs_are_in_the_requested_order() -> None:
    body, _ = encode(MATRIX, OUTPUTS, selected=MATRIX.outputs[::-1])
    assert [output["name"] for output in json.loads(body)["outputs"]] == ["probabilities", "label"]


@pytest.mark.parametrize("datatype", TARGETS)
@pytest.mark.parametrize("repeats", [1, 10])
def test_encode_several_targets_is_row_major_in_both_forms(datatype: str, repeats: int) -> None:
    wide, values = several_targets(datatype), np.tile(TARGETS[datatype], (repeats, 1))
    options = {"start": 1, "stop": len(values)}
    (output,) = json.loads(encode(wide, {"label": values}, **options)[0])["outputs"]
    assert output["shape"] == [len(values) - 1, 2]
    assert output["data"] == values[1:].reshape(-1).tolist()
    body, length = encode(wide, {"label": values}, frozenset({"label"}), **options)
    (header,) = json.loads(body[:length])["outputs"]
    assert header["parameters"] == {"binary_data_size": len(body[length:])}
    raw = parse_raw_tensor("", datatype, tuple(header["shape"]), memoryview(body)[length:])
    assert list(raw) == values[1:].reshape(-1).tolist()


ROW = [1.5, 3, True, "red", "Oslo"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["red", "", "x"]),
)


@st.composite
def nearly_valid_rows(draw: st.DrawFn) -> list[list[Any]]:
    """Return rows of which at most one value is invalid."""
    rows = [[*ROW] for _ in range(draw(st.integers(1, 4)))]
    rows[draw(st.integers(0, len(rows) - 1))][draw(st.integers(0, 4))] = draw(VALUES)
    return rows


@given(rows=nearly_valid_rows())
def test_parse_plain_columns_equals_any_other_form(rows: list[list[Any]]) -> None:
    plain = plain_columns(rows)
    outcomes: list[object] = []
    for columns in (plain, [column | {"parameters": {}} for column in plain]):
        try:
            outcomes.append(repr(parse(MIXED, *columns).inputs.arrays))
        except RequestError as error:
            outcomes.append((str(error), error.violation, error.feature))
    assert outcomes[0] == outcomes[1]


def unchecked_with(change: dict[str, Any]) -> object:
    """Return the inputs of the usual request with a change to its second tensor."""
    columns = plain_columns([ROW])
    columns[1] |= change
    return parse_unchecked(*columns)


def test_parse_plain_columns_are_not_validated_yet() -> None:
    assert isinstance(unchecked_with({}), UncheckedRows)
    assert isinstance(unchecked_with({"data": ["x"]}), UncheckedRows)


@pytest.mark.parametrize("change", [{"shape": [1, 1]}, {"datatype": "INT8"}, {"parameters": {}}])
def test_parse_other_columns_are_validated_at_once(change: dict[str, Any]) -> None:
    assert isinstance(unchecked_with(change), Batch)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [True]},
        {"shape": [1.0]},
        {"shape": [2]},
        {"shape": [0], "data": []},
        {"data": [[1]]},
        {"datatype": "FP64"},
        {"datatype": 7},
        {"name": "size"},
        {"data": None},
    ],
)
def test_parse_invalid_columns_are_rejected_at_once(change: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"^inputs"):
        unchecked_with(change)


def test_parse_many_plain_columns_validates_them_at_once() -> None:
    rows = ARRAY_VALUES // len(ROW) + 1
    assert isinstance(parse_unchecked(*plain_columns([ROW] * rows), limits=Limits(rows=rows)), Batch)
