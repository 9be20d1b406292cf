# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tidegate_serving._kserve import pb

from tests.protocol.test_rest import metric
from tests.support.servers import LiveServer
from tidegate.batch import Batch
from tidegate.contract import MATRIX, close
from tidegate.protocol.requests import encode_raw_tensor
from tidegate.protocol.samples import sample_rows

SERVICE = "/inference.GRPCInferenceService/"
FIELDS = {
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}


def call(server: LiveServer, method: str, request: Any, response: Any) -> Any:
    content = request if isinstance(request, bytes) else request.SerializeToString()
    with grpc.insecure_channel(server.grpc) as channel:
        return response.FromString(channel.unary_unary(SERVICE + method)(content, timeout=20))


def infer(server: LiveServer, request: Any) -> Any:
    return call(server, "ModelInfer", request, pb.ModelInferResponse)


def record_error(server: LiveServer, method: str, request: Any, code: str) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(server, method, request, pb.ModelInferResponse)
    assert caught.value.code().name == code
    sentence = str(caught.value.details())
    assert sentence.endswith(".")
    return sentence


def question(server: LiveServer, rows: list[list[Any]], raw: bool) -> Any:
    contract = server.bundle.contract
    request = pb.ModelInferRequest(model_name=server.name, id="7")
    for name, array in Batch.from_rows(contract, rows).arrays.items():
        datatype = contract.matrix_datatype or next(f.datatype for f in contract.features if f.name == name)
        entry = request.inputs.add(name=name, datatype=str(datatype), shape=array.shape)
        if raw:
            request.raw_input_contents.append(encode_raw_tensor(array))
        else:
            values = array.reshape(-1).tolist()
            field = getattr(entry.contents, FIELDS[datatype])
            field.extend(value.encode() if isinstance(value, str) else value for value in values)
    return request


def one_row(server: LiveServer) -> list[list[Any]]:
    return sample_rows(server.bundle.contract, 1, seed=0)


@pytest.mark.parametrize("raw", [True, False])
def test_the_golden_questions_have_the_known_answers(raw: bool, any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    golden = contract.golden
    answer = infer(any_server, question(any_server, [list(row) for row in golden.rows], raw))
    assert (answer.model_name, answer.id) == (any_server.name, "7")
    assert answer.model_version == any_server.bundle.digest[:12]
    assert bool(answer.raw_output_contents) == raw
    for index, output in enumerate(contract.outputs):
        tensor = answer.outputs[index]
        assert (tensor.name, tensor.datatype) == (output.name, output.datatype)
        if output.datatype == "BYTES":
            continue  # the next test reads text
        values = (
            np.frombuffer(answer.raw_output_contents[index], dtype=output.datatype.dtype)
            if raw
            else np.array(getattr(tensor.contents, FIELDS[output.datatype]))
        )
        found = values.reshape(tuple(tensor.shape)).tolist()
        for one, expected in zip(found, golden.outputs[output.name], strict=True):
            assert close(one, expected, golden.tolerance)


def test_text_answers_come_raw_with_their_length_or_typed(numeric_server: LiveServer) -> None:
    rows = [list(row) for row in numeric_server.bundle.contract.golden.rows]
    expected = numeric_server.bundle.contract.golden.outputs["label"]
    typed = infer(numeric_server, question(numeric_server, rows, raw=False))
    assert [label.decode() for label in typed.outputs[0].contents.bytes_contents] == expected
    raw = infer(numeric_server, question(numeric_server, rows, raw=True))
    assert raw.raw_output_contents[0] == b"".join(
        len(str(label)).to_bytes(4, "little") + str(label).encode() for label in expected
    )


def test_every_call_of_the_protocol_is_answered(numeric_server: LiveServer) -> None:
    assert call(numeric_server, "ServerLive", b"", pb.ServerLiveResponse).live
    assert call(numeric_server, "ServerReady", b"", pb.ServerReadyResponse).ready
    assert call(numeric_server, "ServerMetadata", b"", pb.ServerMetadataResponse).name == "tidegate"
    ready = call(
        numeric_server, "ModelReady", pb.ModelReadyRequest(name=numeric_server.name), pb.ModelReadyResponse
    )
    assert ready.ready
    metadata = call(
        numeric_server,
        "ModelMetadata",
        pb.ModelMetadataRequest(name=numeric_server.name),
        pb.ModelMetadataResponse,
    )
    assert list(metadata.versions) == [numeric_server.bundle.digest[:12]]
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [(MATRIX, "FP32", [-1, 30])]


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_the_model_cannot_be_changed(method: str, numeric_server: LiveServer) -> None:
    refused(
        numeric_server, method, pb.RepositoryModelLoadRequest(model_name=numeric_server.name), "UNIMPLEMENTED"
    )
    assert call(numeric_server, "ServerReady", b"", pb.ServerReadyResponse).ready


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata"])
def test_an_unknown_model_or_version_is_not_found(method: str, numeric_server: LiveServer) -> None:
    messages = {
        "ModelInfer": lambda name, version: pb.ModelInferRequest(model_name=name, model_version=version),
        "ModelReady": lambda name, version: pb.ModelReadyRequest(name=name, version=version),
        "ModelMetadata": lambda name, version: pb.ModelMetadataRequest(name=name, version=version),
    }
    refused(numeric_server, method, messages[method]("nobody", ""), "NOT_FOUND")
    refused(numeric_server, method, messages[method](numeric_server.name, "1"), "NOT_FOUND")


@pytest.mark.parametrize(
    ("content", "sentence", "reason"),
    [
        (b"\xff\xff\xff", "parsed", "invalid_argument"),
        (bytes(300_001), "at most 300000 bytes", "content_too_large"),
        # gRPC itself would call this an overload, after which clients ask again.
        (bytes(590_000), "at most 300000 bytes", "content_too_large"),
    ],
)
def test_a_message_that_cannot_be_read_is_an_invalid_argument_and_counted(
    content: bytes, sentence: str, reason: str, numeric_server: LiveServer
) -> None:
    lines = (
        'tidegate_requests_total{code="INVALID_ARGUMENT",protocol="grpc"}',
        f'tidegate_requests_rejected_total{{reason="{reason}"}}',
    )
    before = [metric(numeric_server, line) for line in lines]
    assert sentence in refused(numeric_server, "ModelInfer", content, "INVALID_ARGUMENT")
    assert [metric(numeric_server, line) for line in lines] == [count + 1 for count in before]


def wrong(change: str) -> Any:
    def apply(request: Any) -> None:
        exec(change, {"request": request, "entry": request.inputs[0]})

    return pytest.param(apply, id=change)


@pytest.mark.parametrize(
    "change",
    [
        wrong("del request.inputs[:]; del request.raw_input_contents[:]"),
        wrong("request.raw_input_contents.append(b'')"),
        wrong("request.raw_input_contents[0] = b'123'"),
        wrong("entry.shape[0] = 2"),
        wrong("entry.shape[1] = 29"),
        wrong("entry.shape[0] = -1"),
        wrong("entry.shape[0] = 0; request.raw_input_contents[0] = b''"),
        wrong("del entry.shape[:]"),
        wrong("entry.datatype = 'FP99'"),
        wrong("entry.datatype = 'BOOL'"),
        wrong("entry.datatype = 'BYTES'"),
        wrong("entry.contents.fp32_contents.append(1)"),
        wrong("del request.raw_input_contents[:]"),
        wrong("del request.raw_input_contents[:]; entry.contents.int_contents.extend([1] * 30)"),
        wrong("del request.raw_input_contents[:]; entry.datatype = 'FP16'"),
        wrong(
            "del request.raw_input_contents[:]; entry.datatype = 'INT8'; "
            "entry.contents.int_contents.extend([300] * 30)"
        ),
        wrong("request.raw_input_contents[0] = b'\\x00\\x00\\xc0\\x7f' * 30"),
        wrong("request.outputs.add(name='nobody')"),
        wrong("request.outputs.add(name='é' * 20_000)"),
        wrong("entry.shape.extend([2**62] * 20_000)"),
        wrong("entry.datatype = 'é' * 20_000"),
        wrong("request.inputs.extend([entry] * 50)"),
        wrong("request.inputs.append(entry); request.raw_input_contents.append(bytes(9))"),
    ],
)
def test_a_mistake_is_an_invalid_argument_with_a_sentence(change: Any, numeric_server: LiveServer) -> None:
    request = question(numeric_server, one_row(numeric_server), raw=True)
    change(request)
    sentence = refused(numeric_server, "ModelInfer", request, "INVALID_ARGUMENT")
    assert "expected" in sentence
    assert "received" in sentence


def test_too_many_rows_are_an_invalid_argument(numeric_server: LiveServer) -> None:
    rows = sample_rows(numeric_server.bundle.contract, 501, seed=0)
    sentence = refused(
        numeric_server, "ModelInfer", question(numeric_server, rows, raw=True), "INVALID_ARGUMENT"
    )
    assert "at most 500 rows" in sentence


def test_text_that_is_no_utf8_is_an_invalid_argument(mixed_server: LiveServer) -> None:
    request = question(mixed_server, one_row(mixed_server), raw=False)
    for entry in request.inputs:
        if entry.datatype == "BYTES":
            entry.contents.bytes_contents[0] = b"\xff"
    assert "UTF-8" in refused(mixed_server, "ModelInfer", request, "INVALID_ARGUMENT")


def test_calls_are_counted(regression_server: LiveServer) -> None:
    line = 'tidegate_requests_total{code="OK",protocol="grpc"}'
    before = metric(regression_server, line)
    infer(regression_server, question(regression_server, one_row(regression_server), raw=True))
    assert metric(regression_server, line) == before + 1


@pytest.fixture(scope="module")
def channel(mixed_server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(mixed_server.grpc) as opened:
        yield opened


TENSOR = st.builds(
    lambda name, datatype, shape, floats, integers: pb.ModelInferRequest.InferInputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        contents=pb.InferTensorContents(fp32_contents=floats, int64_contents=integers),
    ),
    st.sampled_from(["age", "visits", "smoker", "city", "grade", "input-0"]),
    st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "FP16", "X", ""]),
    st.lists(st.integers(-1, 3), max_size=3),
    st.lists(st.floats(width=32), max_size=3),
    st.lists(st.integers(-5, 5), max_size=3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.builds(
        lambda inputs, raw: pb.ModelInferRequest(
            model_name="mixed", inputs=inputs, raw_input_contents=raw
        ).SerializeToString(),
        st.lists(TENSOR, max_size=6),
        st.lists(st.binary(max_size=9), max_size=2),
    )
)
def test_no_message_is_an_internal_error(content: bytes, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + "ModelInfer")(content, timeout=20)
    assert caught.value.code().name in ("INVALID_ARGUMENT", "NOT_FOUND")
