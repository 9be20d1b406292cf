# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import MATRIX, TARGETS, contract, several_targets
from tidegate.batch import Batch
from tidegate_serving._kserve import pb
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.codecs.tensors import parse_raw_tensor
from tidegate_serving.codecs.validation import DATATYPES
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.grpc.codec import (
    CONTENTS_FIELDS,
    ResponseEncoder,
    parse_infer_request,
    parse_message,
    parse_tensors,
)

LIMITS = Limits(rows=4, body_bytes=1_000)


def message(datatype: str = "FP32", shape: tuple[int, ...] = (1, 2), **contents: Any) -> Any:
    request = pb.ModelInferRequest(model_name="test", id="7")
    entry = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(entry.contents, field).extend(values)
    return request


def raw_message(content: bytes, datatype: str = "FP32", shape: tuple[int, ...] = (1, 2)) -> Any:
    request = message(datatype, shape)
    request.raw_input_contents.append(content)
    return request


def test_contents_fields_are_those_of_the_protocol() -> None:
    fields = {field.name for field in pb.InferTensorContents.DESCRIPTOR.fields}
    assert set(CONTENTS_FIELDS.values()) == fields
    assert set(CONTENTS_FIELDS) == set(DATATYPES) - {"FP16"} | {"BYTES"}


def test_parse_message_malformed_raises() -> None:
    with pytest.raises(RequestError, match=r"expected a ModelInferRequest, received 2 bytes") as caught:
        parse_message(pb.ModelInferRequest, b"\xff\xff")
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "request_", [message(fp32_contents=[1, 2]), raw_message(np.array([1, 2], "<f4").tobytes())]
)
def test_parse_tensors_typed_and_raw_are_equal(request_: Any) -> None:
    (tensor,) = parse_tensors(request_)
    assert (tensor.name, tensor.datatype, tuple(tensor.shape)) == ("x", "FP32", (1, 2))
    assert list(tensor.elements) == [1, 2]


def test_parse_tensors_names_the_place_of_an_element() -> None:
    (typed,) = parse_tensors(message(fp32_contents=[1, 2]))
    (raw,) = parse_tensors(raw_message(bytes(8)))
    assert typed.place(1) == "inputs[0].contents.fp32_contents[1]"
    assert raw.place(1) == "inputs[0] element 1"


@pytest.mark.parametrize(
    ("request_", "place", "received"),
    [
        (message(), "inputs[0]", "0"),
        (message(int64_contents=[1, 2]), "inputs[0].contents", "2 in int64_contents"),
        (message("FP16"), "inputs[0].datatype", "contents"),
        (message("INT8", int_contents=[1, 300]), "inputs[0].contents.int_contents", "1 to 300"),
        (message("UINT16", uint_contents=[1, 70_000]), "inputs[0].contents.uint_contents", "1 to 70000"),
        (message("FP99"), "inputs[0].datatype", "FP99"),
        (raw_message(b"123"), "inputs[0]", "3"),
        (message("BYTES", bytes_contents=[b"a", b"\xff"]), "inputs[0]", "UTF-8"),
    ],
)
def test_parse_tensors_invalid_raises_with_place(request_: Any, place: str, received: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_tensors(request_)
    assert str(caught.value).startswith(place)
    assert received in str(caught.value)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_parse_tensors_number_of_raw_contents_differs_raises() -> None:
    request = raw_message(bytes(8))
    request.raw_input_contents.append(b"")
    with pytest.raises(RequestError, match=r"raw_input_contents: expected one .* the 1 inputs, received 2"):
        parse_tensors(request)


def test_parse_tensors_raw_and_typed_contents_raises() -> None:
    request = message(fp32_contents=[1, 2])
    request.raw_input_contents.append(bytes(8))
    with pytest.raises(RequestError, match=r"inputs\[0\].contents: expected none .*raw_input_contents"):
        parse_tensors(request)


def test_parse_infer_request_selects_the_outputs() -> None:
    request = message(fp32_contents=[1, 2])
    assert [output.name for output in parse_infer_request(MATRIX, request, LIMITS).outputs] == [
        "label",
        "probabilities",
    ]
    request.outputs.add(name="probabilities")
    parsed = parse_infer_request(MATRIX, request, LIMITS)
    assert [output.name for output in parsed.outputs] == ["probabilities"]
    assert (parsed.id, len(parsed.inputs)) == ("7", 1)


def test_parse_infer_request_without_id_gets_a_new_one() -> None:
    request = message(fp32_contents=[1, 2])
    request.id = ""
    ids = {parse_infer_request(MATRIX, request, LIMITS).id for _ in range(2)}
    assert len(ids) == 2
    assert "" not in ids


def test_parse_infer_request_above_the_rows_raises() -> None:
    with pytest.raises(RequestError, match="at most 4 rows, received 5") as caught:
        parse_infer_request(MATRIX, message(shape=(5, 2), fp32_contents=[1] * 10), LIMITS)
    assert caught.value.code is ErrorCode.CONTENT_TOO_LARGE
    assert caught.value.code.grpc_status == "INVALID_ARGUMENT"


def slice_of(request: Any, outputs: dict[str, Any]) -> ResultSlice:
    rows = len(next(iter(outputs.values())))
    return ResultSlice(BatchResult(Batch({}), outputs), 0, rows)


TEXTS = contract(
    [{"name": "a", "datatype": "FP32"}],
    [{"name": "label", "datatype": "BYTES"}, {"name": "probabilities", "datatype": "FP32", "width": 2}],
)


def encode(all_outputs: Any, request: InferenceRequest, outputs: Any, as_raw: bool) -> Any:
    encoder = ResponseEncoder("m", "abc", all_outputs)
    content, again = (encoder.encode(request, slice_of(request, outputs), as_raw=as_raw) for _ in range(2))
    assert content == again
    return pb.ModelInferResponse.FromString(content)


@pytest.mark.parametrize("as_raw", [True, False])
def test_encode_has_the_requests_form(as_raw: bool) -> None:
    outputs = {
        "label": np.array(["é", "b"], dtype=object),
        "probabilities": np.array([[0.25, 0.75], [1, 0]], dtype="float32"),
    }
    inputs: Any = None
    request = InferenceRequest(inputs, "7", TEXTS.outputs)
    response = encode(TEXTS.outputs, request, outputs, as_raw)
    assert (response.model_name, response.model_version, response.id) == ("m", "abc", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [
        ("label", "BYTES", [2]),
        ("probabilities", "FP32", [2, 2]),
    ]
    if as_raw:
        assert list(response.raw_output_contents) == [
            b"\x02\x00\x00\x00" + "é".encode() + b"\x01\x00\x00\x00b",
            np.array([0.25, 0.75, 1, 0], "<f4").tobytes(),
        ]
        assert not any(output.HasField("contents") for output in response.outputs)
    else:
        assert list(response.outputs[0].contents.bytes_contents) == ["é".encode(), b"b"]
        assert list(response.outputs[1].contents.fp32_contents) == [0.25, 0.75, 1, 0]
        assert not response.raw_output_contents


@pytest.mark.parametrize("datatype", TARGETS)
@pytest.mark.parametrize("as_raw", [True, False])
def test_encode_response_of_several_targets(datatype: str, as_raw: bool) -> None:
    inputs: Any = None
    request, values = InferenceRequest(inputs, "7", several_targets(datatype).outputs), TARGETS[datatype]
    response = encode(request.outputs, request, {"label": values}, as_raw)
    (output,) = response.outputs
    assert (output.datatype, list(output.shape)) == (datatype, [2, 2])
    if as_raw:
        (content,) = response.raw_output_contents
        received = list(parse_raw_tensor("", datatype, (2, 2), memoryview(content)))
    else:
        received = list(getattr(output.contents, CONTENTS_FIELDS[datatype]))
        received = [text.decode() for text in received] if datatype == "BYTES" else received
    assert received == values.reshape(-1).tolist()


@pytest.mark.parametrize("as_raw", [True, False])
def test_encode_selected_outputs_and_long_contents(as_raw: bool) -> None:
    inputs: Any = None
    rows = 5_000
    outputs = {"label": np.array(["é"] * rows, dtype=object), "probabilities": np.zeros((rows, 2), "float32")}
    request = InferenceRequest(inputs, "7" * 200, TEXTS.outputs[1:])
    response = encode(TEXTS.outputs, request, outputs, as_raw)
    assert response.id == "7" * 200
    assert [(each.name, list(each.shape)) for each in response.outputs] == [("probabilities", [rows, 2])]
    if as_raw:
        assert list(response.raw_output_contents) == [bytes(8 * rows)]
