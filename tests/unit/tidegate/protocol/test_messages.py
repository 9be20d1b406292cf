# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The messages compared with KServe's generated classes."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.support.stub_server import make_contract
from tidegate.protocol import messages
from tidegate.protocol.messages import encode_infer_request, parse_infer_response

NAMES = ("ModelReadyRequest", "ModelReadyResponse", "ModelInferRequest", "ModelInferResponse")
CONTRACT = make_contract()


def describe(message_class: Any) -> Any:
    description = descriptor_pb2.DescriptorProto()
    message_class.DESCRIPTOR.CopyToProto(description)
    for nested in (description, *description.nested_type):
        for kind in ("nested_type", "field"):
            getattr(nested, kind).sort(key=lambda one: one.name)
        for field in nested.field:
            field.ClearField("json_name")
    return description


@pytest.mark.parametrize("name", NAMES)
def test_message_has_the_fields_of_kserves(name: str) -> None:
    assert describe(getattr(messages, name)) == describe(getattr(pb, name))


@pytest.mark.parametrize("name", ["InferParameter", "InferTensorContents"])
def test_shared_message_has_the_fields_of_kserves(name: str) -> None:
    assert describe(messages._message_class(name)) == describe(getattr(pb, name))


values = st.floats(width=32, allow_nan=False)


@given(rows=st.lists(st.tuples(values, values, values), min_size=1, max_size=4))
def test_request_is_byte_for_byte_kserves(rows: list[tuple[float, float, float]]) -> None:
    expected = pb.ModelInferRequest(model_name="stub")
    expected.inputs.add(name="input-0", datatype="FP32", shape=[len(rows), 3])
    expected.raw_input_contents.append(np.array(rows, dtype="<f4").tobytes())
    assert encode_infer_request(CONTRACT, rows) == expected.SerializeToString()


@pytest.mark.parametrize("raw", [True, False])
def test_outputs_of_a_response_are_parsed(raw: bool) -> None:
    response = pb.ModelInferResponse(model_name="stub")
    response.parameters["x"].int64_param = 3
    label = response.outputs.add(name="label", datatype="INT64", shape=[2])
    probabilities = response.outputs.add(name="probabilities", datatype="FP32", shape=[2, 2])
    if raw:
        response.raw_output_contents.append(np.array([0, 1], dtype="<i8").tobytes())
        response.raw_output_contents.append(np.array([1, 0, 0.25, 0.75], dtype="<f4").tobytes())
    else:
        label.contents.int64_contents.extend([0, 1])
        probabilities.contents.fp32_contents.extend([1, 0, 0.25, 0.75])
    assert parse_infer_response(response.SerializeToString()) == {
        "label": [0, 1],
        "probabilities": [1, 0, 0.25, 0.75],
    }


def test_texts_of_a_response_are_parsed() -> None:
    response = pb.ModelInferResponse()
    output = response.outputs.add(name="label", datatype="BYTES", shape=[2])
    output.contents.bytes_contents.extend([b"a", "ä".encode()])
    assert parse_infer_response(response.SerializeToString()) == {"label": ["a", "ä"]}


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "expected"),
    [
        ("INT64", [3], [bytes(16)], "outputs[0]: expected 3 values by its shape, received 2"),
        ("INT64", [2], [bytes(16), bytes(8)], "raw_output_contents: expected one for each of 1 outputs"),
        ("INT64", [2], [bytes(15)], "outputs[0]: raw INT64 tensor: expected a multiple of 8 bytes"),
        ("FP16", [2], [], "outputs[0]: expected one of BOOL"),
    ],
)
def test_response_that_contradicts_itself_is_rejected(
    datatype: str, shape: list[int], raw: list[bytes], expected: str
) -> None:
    response = pb.ModelInferResponse(raw_output_contents=raw)
    response.outputs.add(name="label", datatype=datatype, shape=shape)
    with pytest.raises(ValueError, match=r"^(raw_output_contents|outputs)") as error:
        parse_infer_response(response.SerializeToString())
    assert expected in str(error.value)


@settings(deadline=None)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_parsed_or_rejected(content: bytes) -> None:
    try:
        outputs = parse_infer_response(content)
    except ValueError:
        return
    assert all(isinstance(values, list) for values in outputs.values())
