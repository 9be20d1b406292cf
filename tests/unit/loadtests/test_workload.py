# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import struct
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.support.campaigns import make_load_campaign
from tests.support.contracts import several_targets
from tests.support.stub_server import make_contract
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH, Protocol
from tidegate_loadtests.partition import Partition, split_load
from tidegate_loadtests.workload import InferenceRequest, Workload, build_requests, validate_response

CONTRACT = make_contract()


def make_request(
    protocol: str, rows: int = 2, golden_outputs: dict[str, list[float]] | None = None
) -> InferenceRequest:
    return InferenceRequest(Protocol(protocol), "/", {}, b"", rows, golden_outputs)


def v2_response(label: object, probabilities: object, **changes: object) -> bytes:
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": [2], "data": label},
        {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": probabilities} | changes,
    ]
    return json.dumps({"outputs": outputs}).encode()


def binary_response(labels: list[int], probabilities: list[float]) -> tuple[str, bytes]:
    outputs = [
        {
            "name": "label",
            "datatype": "INT64",
            "shape": [len(labels)],
            "parameters": {"binary_data_size": 8 * len(labels)},
        },
        {"name": "probabilities", "datatype": "FP32", "shape": [len(labels), 2], "data": probabilities},
    ]
    header = json.dumps({"outputs": outputs}).encode()
    return str(len(header)), header + struct.pack(f"<{len(labels)}q", *labels)


def make_partition(recorded_rows: tuple[tuple[float, ...], ...] | None = None, **fields: Any) -> Partition:
    campaign = make_load_campaign({"model": "closed", "users": 1}, **fields)
    (partition,) = split_load(campaign, CONTRACT, 1, recorded_rows)
    return partition


def test_requests_have_the_campaigns_mix_and_golden_outputs() -> None:
    partition = make_partition(protocols={"v1": 3, "v2": 1})
    requests = build_requests(partition, 3)
    v1_ratio = Counter(request.protocol for request in requests)[Protocol.V1] / len(requests)
    assert abs(v1_ratio - 0.75) < 0.08
    golden = [request for request in requests if request.golden_outputs]
    assert len(golden) == len(requests) / 8
    assert golden[0].golden_outputs == {
        "label": [0, 0, 1],
        "probabilities": pytest.approx([1, 0, 0.7, 0.3, 0.4, 0.6]),
    }
    assert len({request.body for request in requests}) > len(requests) * 0.8
    assert build_requests(partition, 3) == requests


def test_binary_request_has_the_length_of_its_header() -> None:
    request = build_requests(make_partition(protocols={"v2-binary": 1}), 1)[0]
    header = orjson.loads(request.body[: int(request.headers[INFERENCE_HEADER_CONTENT_LENGTH])])
    assert header["inputs"][0]["shape"] == [1, 3]
    assert request.headers["Content-Type"] == "application/octet-stream"


def test_grpc_request_is_kserves_message() -> None:
    request = build_requests(make_partition(protocols={"grpc": 1}), 2)[1]
    message = pb.ModelInferRequest.FromString(request.body)
    assert (message.model_name, message.inputs[0].name, message.inputs[0].shape) == (
        "stub",
        "input-0",
        [2, 3],
    )
    assert len(message.raw_input_contents[0]) == 2 * 3 * 4
    assert request.path == "/inference.GRPCInferenceService/ModelInfer"


def test_requests_with_many_rows_are_fewer() -> None:
    assert len(build_requests(make_partition(rows_per_request=2_000), 2_000)) == 83


def test_requests_of_a_payload_have_all_its_rows_in_order() -> None:
    rows = tuple((float(index), 0.5, 0.25) for index in range(30))
    requests = build_requests(make_partition(rows), 2)
    sent = [request for request in requests if request.golden_outputs is None]
    instances = [row for request in sent for row in orjson.loads(request.body)["instances"]]
    assert instances[:30] == [list(row) for row in rows]
    assert len(requests) == 18


def test_workload_repeats_the_requests_of_each_size() -> None:
    workload = Workload(make_partition(((1.0, 0.0, 0.0), (2.0, 0.0, 0.0))))
    first, second, third = (workload.next_request(1) for _ in range(3))
    assert [request.golden_outputs is None for request in (first, second, third)] == [False, True, True]
    assert workload.next_request(1) is first


@pytest.mark.parametrize(
    ("protocol", "body"),
    [("v1", b'{"predictions": [0, 1]}'), ("v2", v2_response([0, 1], [1.0, 0.0, 0.25, 0.75]))],
)
def test_correct_response_has_no_error(protocol: str, body: bytes) -> None:
    golden_outputs = {"label": [0, 1], "probabilities": [1.0, 0.0, 0.25, 0.750001]}
    assert validate_response(make_request(protocol), CONTRACT, None, body) is None
    golden = make_request(protocol, golden_outputs=golden_outputs)
    assert validate_response(golden, CONTRACT, None, body) is None


def test_v1_response_with_several_values_per_row_has_no_error() -> None:
    contract = several_targets("BYTES")
    width = contract.prediction.width or 0
    body = orjson.dumps({"predictions": [["a"] * width, ["b"] * width]})
    assert validate_response(make_request("v1"), contract, None, body) is None
    error = validate_response(make_request("v1"), contract, None, b'{"predictions": ["a", "b"]}')
    assert error is not None
    assert f"expected {2 * width} values for 2 rows, received 2" in error


def test_grpc_response_is_read_from_its_message() -> None:
    response = pb.ModelInferResponse(
        raw_output_contents=[struct.pack("<2q", 0, 1), struct.pack("<4f", 1, 0, 0.25, 0.75)]
    )
    response.outputs.add(name="label", datatype="INT64", shape=[2])
    response.outputs.add(name="probabilities", datatype="FP32", shape=[2, 2])
    request = make_request("grpc", golden_outputs={"label": [0, 1]})
    assert validate_response(request, CONTRACT, None, response.SerializeToString()) is None
    response.raw_output_contents[0] = struct.pack("<2q", 0, 2)
    error = validate_response(request, CONTRACT, None, response.SerializeToString())
    assert error == "wrong response: output 'label' differs from the golden outputs"


def test_binary_response_is_read_from_its_raw_tensors() -> None:
    length, body = binary_response([0, 1], [1.0, 0.0, 0.25, 0.75])
    request = make_request("v2-binary", golden_outputs={"label": [0, 1]})
    assert validate_response(request, CONTRACT, length, body) is None
    length, body = binary_response([0, 2], [1.0, 0.0, 0.25, 0.75])
    error = validate_response(request, CONTRACT, length, body)
    assert error == "wrong response: output 'label' differs from the golden outputs"


@pytest.mark.parametrize(
    ("protocol", "body", "expected"),
    [
        ("v1", b'{"predictions": [0]}', ("invalid", "'label'", "expected 2 values for 2 rows", "received 1")),
        ("v1", b'{"predictions": "01"}', ("invalid", "predictions", "expected a list", "received '01'")),
        ("v1", b'{"predictions": [1, 1]}', ("wrong", "'label'", "golden outputs")),
        ("v1", b'{"predictions": [false, true]}', ("wrong", "'label'", "golden outputs")),
        ("v1", b"<html>", ("invalid", "expected JSON", "received b'<html>'")),
        ("v2", b"[]", ("invalid", "expected an object", "received []")),
        ("v2", b'{"outputs": []}', ("invalid", "expected the outputs label, probabilities", "received none")),
        ("v2", v2_response([0, 1], [1.0, 0.0]), ("invalid", "outputs[1]", "expected 4", "received 2")),
        (
            "v2",
            v2_response([0, 1], [1.0, 0.0], shape=[1, 2]),
            ("invalid", "'probabilities'", "expected 4 values for 2 rows", "received 2"),
        ),
        ("v2", v2_response([0, 1], [1.0, 0.0, 0.26, 0.74]), ("wrong", "'probabilities'", "golden outputs")),
        ("v2", v2_response([0, 1], [1.0, 0.0, None, 0.75]), ("wrong", "'probabilities'", "golden outputs")),
    ],
)
def test_incorrect_response_has_an_error_with_its_place(
    protocol: str, body: bytes, expected: tuple[str, ...]
) -> None:
    golden_outputs = {"label": [0, 1], "probabilities": [1.0, 0.0, 0.25, 0.75]}
    request = make_request(protocol, golden_outputs=golden_outputs)
    error = validate_response(request, CONTRACT, None, body)
    assert error is not None
    for text in expected:
        assert text in error


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["outputs", "predictions", "name", "shape", "data", "datatype", "parameters"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    protocol=st.sampled_from(["v1", "v2", "v2-binary", "grpc"]),
    header_length=st.none() | st.text(max_size=4) | st.integers(-5, 50).map(str),
    body=st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()),
)
def test_any_body_gives_an_error_and_no_exception(
    protocol: str, header_length: str | None, body: bytes
) -> None:
    error = validate_response(make_request(protocol, rows=50), CONTRACT, header_length, body)
    assert error is not None
    assert error.startswith("invalid response: ")
