# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.case import Protocol
from benchmarks.question import HEADER_LENGTH, ask, difference, labels
from tidegate.contract import Contract


def contract(*datatypes: str) -> Contract:
    rows = [
        [1.5 if kind == "FP32" else "x" for kind in datatypes],
        [2.5 if k == "FP32" else "y" for k in datatypes],
    ]
    return Contract.model_validate(
        {
            "name": "m",
            "task": "classification",
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


def test_rows_are_the_golden_ones_as_often_as_needed_with_their_answers() -> None:
    question = ask(NUMBERS, Protocol.V1, 5)
    assert json.loads(question.body)["instances"] == [
        [1.5, 1.5],
        [2.5, 2.5],
        [1.5, 1.5],
        [2.5, 2.5],
        [1.5, 1.5],
    ]
    assert question.labels == [1, 0, 1, 0, 1]
    assert question.headers == {"Content-Type": "application/json"}


def test_a_binary_question_says_where_its_header_ends() -> None:
    question = ask(NUMBERS, Protocol.V2_BINARY, 2)
    length = int(question.headers[HEADER_LENGTH])
    assert json.loads(question.body[:length])["inputs"][0]["shape"] == [2, 2]
    assert question.body[length:] == np.array([[1.5, 1.5], [2.5, 2.5]], "<f4").tobytes()


def test_mixed_columns_are_asked_by_name() -> None:
    assert json.loads(ask(MIXED, Protocol.V1, 1).body) == {"instances": [{"f0": 1.5, "f1": "x"}]}
    document = json.loads(ask(MIXED, Protocol.V2, 1).body)
    assert document["parameters"] == {"content_type": "pd"}
    assert [tensor["name"] for tensor in document["inputs"]] == ["f0", "f1"]


def test_a_grpc_question_is_a_request_of_the_protocol() -> None:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

    request = ModelInferRequest.FromString(ask(NUMBERS, Protocol.GRPC, 2).body)
    assert request.model_name == "m"
    assert list(request.inputs[0].shape) == [2, 2]
    assert request.raw_input_contents[0] == np.array([[1.5, 1.5], [2.5, 2.5]], "<f4").tobytes()


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        (Protocol.V1, {"predictions": [1, 0]}),
        (Protocol.V2, {"outputs": [{"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]}]}),
        (Protocol.BENTOML, [1, 0]),
    ],
)
def test_labels_are_found_in_every_server_s_json(protocol: Protocol, answer: Any) -> None:
    assert labels(protocol, json.dumps(answer).encode()) == [1, 0]


def test_labels_are_found_in_bytes_after_the_header() -> None:
    tensor = {"name": "label", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}
    header = json.dumps({"outputs": [tensor]}).encode()
    content = header + np.array([1, 0], "<i8").tobytes() + b"another output"
    assert labels(Protocol.V2_BINARY, content, str(len(header))) == [1, 0]


@pytest.mark.parametrize("raw", [True, False])
def test_labels_are_found_in_both_forms_of_a_grpc_answer(raw: bool) -> None:
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse

    response = ModelInferResponse()
    output = response.outputs.add(name="label", datatype="INT64", shape=[2])
    if raw:
        response.raw_output_contents.append(np.array([1, 0], "<i8").tobytes())
    else:
        output.contents.int64_contents.extend([1, 0])
    assert labels(Protocol.GRPC, response.SerializeToString()) == [1, 0]


@given(
    st.sampled_from([Protocol.V1, Protocol.V2, Protocol.BENTOML]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["predictions", "outputs", "data"]), inner)
        ),
    ),
)
def test_any_other_answer_is_one_without_labels_or_a_list_of_them(protocol: Protocol, answer: Any) -> None:
    try:
        found = labels(protocol, json.dumps(answer).encode())
    except ValueError:
        return
    assert isinstance(found, list)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"{", b'{"outputs":[]}', b'{"error":"no"}'])
@pytest.mark.parametrize("protocol", [Protocol.V1, Protocol.V2, Protocol.V2_BINARY])
def test_what_is_no_answer_has_no_labels(protocol: Protocol, content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's own
        labels(protocol, content)


@pytest.mark.parametrize(
    ("answered", "expected", "wrong"),
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
def test_labels_are_compared_by_value(answered: list[Any], expected: list[Any], wrong: str | None) -> None:
    assert difference(answered, expected) == wrong
