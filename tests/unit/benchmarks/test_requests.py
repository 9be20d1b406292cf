# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.case import Protocol
from benchmarks.requests import build_request, compare_labels, parse_labels
from tidegate.contract import Contract
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH


def contract(*datatypes: str) -> Contract:
    rows = [
        [1.5 if kind == "FP32" else "x" for kind in datatypes],
        [2.5 if k == "FP32" else "y" for k in datatypes],
    ]
    return Contract.model_validate(
        {
            "name": "m",
            "task": "classification",
            "layout": "frame" if "BYTES" in datatypes else "matrix",
            "features": [
                {"name": f"f{i}", "datatype": kind} | ({"categories": ["x", "y"]} if kind == "BYTES" else {})
                for i, kind in enumerate(datatypes)
            ],
            "outputs": [{"name": "label", "datatype": "INT64"}],
            "labels": [0, 1],
            "golden": {"rows": rows, "outputs": {"label": [1, 0]}, "tolerance": 1e-5},
        },
        strict=False,
    )


NUMBERS = contract("FP32", "FP32")
MIXED = contract("FP32", "BYTES")


def test_build_request_repeats_golden_rows_and_labels() -> None:
    request = build_request(NUMBERS, Protocol.V1, 5)
    assert json.loads(request.body)["instances"] == [
        [1.5, 1.5],
        [2.5, 2.5],
        [1.5, 1.5],
        [2.5, 2.5],
        [1.5, 1.5],
    ]
    assert request.labels == [1, 0, 1, 0, 1]
    assert request.headers == {"Content-Type": "application/json"}


def test_build_request_binary_has_the_header_length() -> None:
    request = build_request(NUMBERS, Protocol.V2_BINARY, 2)
    length = int(request.headers[INFERENCE_HEADER_CONTENT_LENGTH])
    assert json.loads(request.body[:length])["inputs"][0]["shape"] == [2, 2]
    assert request.body[length:] == np.array([[1.5, 1.5], [2.5, 2.5]], "<f4").tobytes()


def test_build_request_mixed_columns_are_sent_by_name() -> None:
    assert json.loads(build_request(MIXED, Protocol.V1, 1).body) == {"instances": [{"f0": 1.5, "f1": "x"}]}
    document = json.loads(build_request(MIXED, Protocol.V2, 1).body)
    assert document["parameters"] == {"content_type": "pd"}
    assert [tensor["name"] for tensor in document["inputs"]] == ["f0", "f1"]


def test_build_request_grpc_is_a_model_infer_request() -> None:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

    request = ModelInferRequest.FromString(build_request(NUMBERS, Protocol.GRPC, 2).body)
    assert request.model_name == "m"
    assert list(request.inputs[0].shape) == [2, 2]
    assert request.raw_input_contents[0] == np.array([[1.5, 1.5], [2.5, 2.5]], "<f4").tobytes()


@pytest.mark.parametrize(
    ("protocol", "response"),
    [
        (Protocol.V1, {"predictions": [1, 0]}),
        (Protocol.V2, {"outputs": [{"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]}]}),
        (Protocol.BENTOML, [1, 0]),
    ],
)
def test_parse_labels_reads_every_json_form(protocol: Protocol, response: Any) -> None:
    assert parse_labels(protocol, json.dumps(response).encode()) == [1, 0]


def test_parse_labels_reads_binary_tensors() -> None:
    tensor = {"name": "label", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}
    header = json.dumps({"outputs": [tensor]}).encode()
    content = header + np.array([1, 0], "<i8").tobytes()
    assert parse_labels(Protocol.V2_BINARY, content, str(len(header))) == [1, 0]


@pytest.mark.parametrize("raw", [True, False])
def test_parse_labels_reads_both_grpc_forms(raw: bool) -> None:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse

    response = ModelInferResponse()
    output = response.outputs.add(name="label", datatype="INT64", shape=[2])
    if raw:
        response.raw_output_contents.append(np.array([1, 0], "<i8").tobytes())
    else:
        output.contents.int64_contents.extend([1, 0])
    assert parse_labels(Protocol.GRPC, response.SerializeToString()) == [1, 0]


@given(
    st.sampled_from([Protocol.V1, Protocol.V2, Protocol.BENTOML]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["predictions", "outputs", "data"]), inner)
        ),
    ),
)
def test_parse_labels_other_json_raises_or_returns_a_list(protocol: Protocol, document: Any) -> None:
    try:
        labels = parse_labels(protocol, json.dumps(document).encode())
    except ValueError:
        return
    assert isinstance(labels, list)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"{", b'{"outputs":[]}', b'{"error":"no"}'])
@pytest.mark.parametrize("protocol", [Protocol.V1, Protocol.V2, Protocol.V2_BINARY])
def test_parse_labels_other_bytes_raise(protocol: Protocol, content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each case has another message
        parse_labels(protocol, content)


@pytest.mark.parametrize(
    ("labels", "expected", "difference"),
    [
        ([1, 0], [1, 0], None),
        ([1.0, 0.0], [1, 0], None),
        ([[1], [0]], [1, 0], None),
        (["yes", "no"], ["yes", "no"], None),
        ([1, 1], [1, 0], "1 of 2 labels are not scikit-learn's"),
        ([1], [1, 0], "1 labels for 2 rows"),
        (["1", "0"], [1, 0], "2 of 2 labels are not scikit-learn's"),
        ([float("nan"), 0], [1, 0], "1 of 2 labels are not scikit-learn's"),
    ],
)
def test_compare_labels_compares_by_value(
    labels: list[Any], expected: list[Any], difference: str | None
) -> None:
    assert compare_labels(labels, expected) == difference
