# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.clients import CONTENTS_FIELDS, SERVICE, call, infer_request, metric_value, one_row
from tests.protocol.conftest import StartServer
from tests.support.servers import GRPC_TRANSPORTS, LiveServer
from tidegate.contract import MATRIX
from tidegate.protocol.samples import sample_rows
from tidegate_serving._kserve import pb

# Each test runs on each transport: the servers of the whole suite have the first one.


@pytest.fixture
def numeric_server(numeric_server: LiveServer, transport: str, other_server: StartServer) -> LiveServer:
    return other_server("numeric") if transport == GRPC_TRANSPORTS[1] else numeric_server


@pytest.fixture
def mixed_server(mixed_server: LiveServer, transport: str, other_server: StartServer) -> LiveServer:
    return other_server("mixed") if transport == GRPC_TRANSPORTS[1] else mixed_server


@pytest.fixture
def forest_server(forest_server: LiveServer, transport: str, other_server: StartServer) -> LiveServer:
    return other_server("forest") if transport == GRPC_TRANSPORTS[1] else forest_server


@pytest.fixture
def regression_server(regression_server: LiveServer, transport: str, other_server: StartServer) -> LiveServer:
    return other_server("regression") if transport == GRPC_TRANSPORTS[1] else regression_server


@pytest.fixture(params=["numeric", "mixed", "forest", "regression"])
def any_server(request: pytest.FixtureRequest, transport: str) -> LiveServer:
    """Each kind of model in turn."""
    server: LiveServer = request.getfixturevalue(f"{request.param}_server")
    return server


def infer(server: LiveServer, request: Any) -> Any:
    return call(server, "ModelInfer", request, pb.ModelInferResponse)


def error_of(server: LiveServer, method: str, request: Any, status: str) -> str:
    """The message of a call that ends with this status."""
    with pytest.raises(grpc.RpcError) as caught:
        call(server, method, request, pb.ModelInferResponse)
    assert caught.value.code().name == status
    message = str(caught.value.details())
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("raw", [True, False])
def test_golden_requests_return_the_golden_outputs(raw: bool, any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    golden = contract.golden
    response = infer(any_server, infer_request(any_server, [list(row) for row in golden.rows], raw=raw))
    assert (response.model_name, response.id) == (any_server.name, "7")
    assert response.model_version == any_server.bundle.digest[:12]
    assert bool(response.raw_output_contents) == raw
    for index, output in enumerate(contract.outputs):
        tensor = response.outputs[index]
        assert (tensor.name, tensor.datatype) == (output.name, output.datatype)
        if output.datatype == "BYTES":
            continue  # the next test reads text
        values = (
            np.frombuffer(response.raw_output_contents[index], dtype=output.datatype.dtype)
            if raw
            else np.array(getattr(tensor.contents, CONTENTS_FIELDS[output.datatype]))
        )
        actual = values.reshape(tuple(tensor.shape)).tolist()
        for value, expected in zip(actual, golden.outputs[output.name], strict=True):
            assert golden.is_close(value, expected)


def test_text_outputs_are_raw_with_length_or_typed(numeric_server: LiveServer) -> None:
    rows = [list(row) for row in numeric_server.bundle.contract.golden.rows]
    expected = numeric_server.bundle.contract.golden.outputs["label"]
    typed = infer(numeric_server, infer_request(numeric_server, rows, raw=False))
    assert [label.decode() for label in typed.outputs[0].contents.bytes_contents] == expected
    raw = infer(numeric_server, infer_request(numeric_server, rows, raw=True))
    assert raw.raw_output_contents[0] == b"".join(
        len(str(label)).to_bytes(4, "little") + str(label).encode() for label in expected
    )


def test_metadata_calls_return_the_models_state(numeric_server: LiveServer) -> None:
    name = numeric_server.name
    assert call(numeric_server, "ServerLive", b"", pb.ServerLiveResponse).live
    assert call(numeric_server, "ServerReady", b"", pb.ServerReadyResponse).ready
    assert call(numeric_server, "ServerMetadata", b"", pb.ServerMetadataResponse).name == "tidegate"
    assert call(numeric_server, "ModelReady", pb.ModelReadyRequest(name=name), pb.ModelReadyResponse).ready
    metadata = call(
        numeric_server, "ModelMetadata", pb.ModelMetadataRequest(name=name), pb.ModelMetadataResponse
    )
    assert list(metadata.versions) == [numeric_server.bundle.digest[:12]]
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [(MATRIX, "FP32", [-1, 30])]
    assert [output.name for output in metadata.outputs] == ["label", "probabilities"]


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_repository_calls_are_unimplemented(method: str, numeric_server: LiveServer) -> None:
    request = pb.RepositoryModelLoadRequest(model_name=numeric_server.name)
    error_of(numeric_server, method, request, "UNIMPLEMENTED")
    assert call(numeric_server, "ServerReady", b"", pb.ServerReadyResponse).ready


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata"])
def test_unknown_model_or_version_is_not_found(method: str, numeric_server: LiveServer) -> None:
    messages = {
        "ModelInfer": lambda name, version: pb.ModelInferRequest(model_name=name, model_version=version),
        "ModelReady": lambda name, version: pb.ModelReadyRequest(name=name, version=version),
        "ModelMetadata": lambda name, version: pb.ModelMetadataRequest(name=name, version=version),
    }
    assert "'unknown'" in error_of(numeric_server, method, messages[method]("unknown", ""), "NOT_FOUND")
    assert "'1'" in error_of(numeric_server, method, messages[method](numeric_server.name, "1"), "NOT_FOUND")


@pytest.mark.parametrize(
    ("content", "words", "reason"),
    [
        (b"\xff\xff\xff", "parsed", "invalid_argument"),
        (bytes(300_001), "at most 300000 bytes", "content_too_large"),
        # gRPC's own status for it is that of an overload, after which clients retry.
        (bytes(590_000), "at most 300000 bytes", "content_too_large"),
    ],
    ids=["malformed", "too-large", "almost-twice-too-large"],
)
def test_unreadable_message_is_an_invalid_argument(
    content: bytes, words: str, reason: str, numeric_server: LiveServer
) -> None:
    lines = (
        'tidegate_requests_total{code="INVALID_ARGUMENT",protocol="grpc"}',
        f'tidegate_requests_rejected_total{{reason="{reason}"}}',
    )
    before = [metric_value(numeric_server, line) for line in lines]
    assert words in error_of(numeric_server, "ModelInfer", content, "INVALID_ARGUMENT")
    assert [metric_value(numeric_server, line) for line in lines] == [count + 1 for count in before]


def change(statements: str) -> Any:
    """A parameter that changes a request by Python statements about ``request`` and its first ``entry``."""

    def apply(request: Any) -> None:
        exec(statements, {"request": request, "entry": request.inputs[0]})

    return pytest.param(apply, id=statements)


@pytest.mark.parametrize(
    "apply",
    [
        change("del request.inputs[:]; del request.raw_input_contents[:]"),
        change("request.raw_input_contents.append(b'')"),
        change("request.raw_input_contents[0] = b'123'"),
        change("entry.shape[0] = 2"),
        change("entry.shape[1] = 29"),
        change("entry.shape[0] = -1"),
        change("entry.shape[0] = 0; request.raw_input_contents[0] = b''"),
        change("del entry.shape[:]"),
        change("entry.datatype = 'FP99'"),
        change("entry.datatype = 'BOOL'"),
        change("entry.datatype = 'BYTES'"),
        change("entry.contents.fp32_contents.append(1)"),
        change("del request.raw_input_contents[:]"),
        change("del request.raw_input_contents[:]; entry.contents.int_contents.extend([1] * 30)"),
        change("del request.raw_input_contents[:]; entry.datatype = 'FP16'"),
        change(
            "del request.raw_input_contents[:]; entry.datatype = 'INT8'; "
            "entry.contents.int_contents.extend([300] * 30)"
        ),
        change("request.raw_input_contents[0] = b'\\x00\\x00\\xc0\\x7f' * 30"),
        change("request.outputs.add(name='unknown')"),
        change("request.outputs.add(name='é' * 20_000)"),
        change("entry.shape.extend([2**62] * 20_000)"),
        change("entry.datatype = 'é' * 20_000"),
        change("request.inputs.extend([entry] * 50)"),
        change("request.inputs.append(entry); request.raw_input_contents.append(bytes(9))"),
    ],
)
def test_invalid_request_is_an_invalid_argument(apply: Any, numeric_server: LiveServer) -> None:
    request = infer_request(numeric_server, one_row(numeric_server), raw=True)
    apply(request)
    message = error_of(numeric_server, "ModelInfer", request, "INVALID_ARGUMENT")
    assert "expected" in message
    assert "received" in message


def test_too_many_rows_are_an_invalid_argument(numeric_server: LiveServer) -> None:
    line = 'tidegate_requests_rejected_total{reason="content_too_large"}'
    before = metric_value(numeric_server, line)
    rows = sample_rows(numeric_server.bundle.contract, 501, seed=0)
    request = infer_request(numeric_server, rows, raw=True)
    assert "at most 500 rows, received 501" in error_of(
        numeric_server, "ModelInfer", request, "INVALID_ARGUMENT"
    )
    assert metric_value(numeric_server, line) == before + 1


def test_text_that_is_not_utf8_is_an_invalid_argument(mixed_server: LiveServer) -> None:
    request = infer_request(mixed_server, one_row(mixed_server), raw=False)
    for entry in request.inputs:
        if entry.datatype == "BYTES":
            entry.contents.bytes_contents[0] = b"\xff"
    assert "UTF-8" in error_of(mixed_server, "ModelInfer", request, "INVALID_ARGUMENT")


def test_calls_are_counted(regression_server: LiveServer) -> None:
    line = 'tidegate_requests_total{code="OK",protocol="grpc"}'
    before = metric_value(regression_server, line)
    infer(regression_server, infer_request(regression_server, one_row(regression_server), raw=True))
    assert metric_value(regression_server, line) == before + 1


@pytest.fixture
def channel(mixed_server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(mixed_server.grpc) as opened:
        yield opened


tensors = st.builds(
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
        st.lists(tensors, max_size=6),
        st.lists(st.binary(max_size=9), max_size=2),
    )
)
def test_arbitrary_message_is_the_clients_error(content: bytes, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + "ModelInfer")(content, timeout=20)
    assert caught.value.code().name in ("INVALID_ARGUMENT", "NOT_FOUND")
