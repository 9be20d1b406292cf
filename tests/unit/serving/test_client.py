# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client retries the connection, and sends no request twice."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tidegate.errors import ConfigurationError, ServerError
from tidegate.protocol.constants import Protocol
from tidegate_serving import client
from tidegate_serving._kserve import InferResponse, pb
from tidegate_serving.client import Prediction, predict

INPUTS = [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
METADATA = {"name": "iris", "versions": ["1"], "inputs": INPUTS, "outputs": [{"name": "label"}]}
LABELS = {"name": "label", "datatype": "INT64", "shape": [1], "data": [7]}
REST = [Protocol.V1, Protocol.V2, Protocol.V2_BINARY]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_PAUSES_SECONDS", (0.0, 0.0, 0.0))


class FakeServer:
    """A replacement of httpx's transport: it fails the given number of times, then returns a response."""

    def __init__(self) -> None:
        self.failure: type[httpx.TransportError] = httpx.ConnectError
        self.failures_left = 0
        self.status = 200
        self.body: bytes | None = None
        self.paths: list[str] = []
        """The path of each attempt."""

    async def handle(self, _: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.paths.append(path)
        if self.failures_left:
            self.failures_left -= 1
            raise self.failure("no route")
        bodies = {":predict": {"predictions": [7]}, "/infer": {"model_name": "iris", "outputs": [LABELS]}}
        body = next((body for suffix, body in bodies.items() if path.endswith(suffix)), METADATA)
        content = json.dumps(body).encode() if self.body is None else self.body
        return httpx.Response(self.status, content=content, request=request)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr(
        httpx.AsyncHTTPTransport, "handle_async_request", lambda *arguments: fake.handle(*arguments)
    )
    return fake


def predict_one(protocol: Protocol) -> Prediction:
    return predict("http://models.test", "iris", protocol, [[1.0, 2.0]])


@pytest.mark.parametrize("protocol", REST)
def test_predict_retries_a_failed_connection(server: FakeServer, protocol: Protocol) -> None:
    server.failures_left = 3
    assert predict_one(protocol) == Prediction("1", {"label": [7]})
    assert len(server.paths) == 3 + 2


@pytest.mark.parametrize("protocol", REST)
def test_predict_without_connection_names_the_address(server: FakeServer, protocol: Protocol) -> None:
    server.failures_left = 99
    with pytest.raises(ServerError, match=r"^http://models.test cannot be reached: no route\.$"):
        predict_one(protocol)
    assert len(server.paths) == 4


@pytest.mark.parametrize("protocol", REST)
@pytest.mark.parametrize("failure", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_predict_never_retries_a_request_that_was_sent(
    server: FakeServer, protocol: Protocol, failure: type[httpx.TransportError]
) -> None:
    server.failure, server.failures_left = failure, 1
    with pytest.raises(ServerError, match="no route"):
        predict_one(protocol)
    assert len(server.paths) == 1


@pytest.mark.parametrize("protocol", REST)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, ServerError),
        (500, ServerError),
        (429, ServerError),
        (400, ConfigurationError),
        (404, ConfigurationError),
        (413, ConfigurationError),
    ],
)
def test_predict_error_response_is_not_retried(
    server: FakeServer, protocol: Protocol, status: int, error: type[Exception]
) -> None:
    server.status, server.body = status, b'{"error": "the reason"}'
    with pytest.raises(error, match=f"returned {status}: the reason"):
        predict_one(protocol)
    assert len(server.paths) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"<html>", "<html>"), (b"", "no message"), (b"[]", r"\[\]"), (b"\xff" * 9, "returned 503: ")],
)
def test_predict_error_response_may_have_any_body(server: FakeServer, body: bytes, message: str) -> None:
    server.status, server.body = 503, body
    with pytest.raises(ServerError, match=message):
        predict_one(Protocol.V1)


MIXED = [
    {"name": "size", "datatype": "FP32", "shape": [-1]},
    {"name": "colour", "datatype": "BYTES", "shape": [-1]},
]


def tensors(
    metadata: list[dict[str, Any]], rows: list[Any], *, binary: bool = False
) -> list[tuple[Any, ...]]:
    inputs = client._input_tensors(metadata, rows, binary=binary)
    return [(tensor.name, tensor.datatype, tensor.shape, tensor.data) for tensor in inputs]


def test_input_tensors_of_lists_is_the_matrix() -> None:
    assert tensors(INPUTS, [[1, 2], [3, 4]]) == [("input", "FP64", [2, 2], [1, 2, 3, 4])]


def test_input_tensors_of_lists_is_one_per_feature() -> None:
    assert tensors(MIXED, [[1.5, "red"], [2.5, None]]) == [
        ("size", "FP32", [2], [1.5, 2.5]),
        ("colour", "BYTES", [2], ["red", None]),
    ]


def test_input_tensors_of_objects_is_one_per_name() -> None:
    assert tensors(MIXED, [{"colour": "red"}, {"size": 1.5}]) == [
        ("colour", "BYTES", [2], ["red", None]),
        ("size", "FP32", [2], [None, 1.5]),
    ]


def test_input_tensors_guesses_unknown_names_for_the_server() -> None:
    rows = [{"flavour": "sour", "weight": 7}]
    assert tensors(MIXED, rows) == [
        ("flavour", "BYTES", [1], ["sour"]),
        ("weight", "FP64", [1], [7]),
    ]
    assert tensors(INPUTS, [{"a": 1}]) == [("a", "FP64", [1], [1])]


@pytest.mark.parametrize(
    ("metadata", "rows", "complaint"),
    [
        (INPUTS, [[1, 2], [3]], "different numbers of values"),
        (MIXED, [[1, "red", 3]], "has 3 values, but the model takes 2 features"),
        (MIXED, [["x", "red"]], "'size' are not a FP32 tensor"),
        ([{"name": "n", "datatype": "INT8", "shape": [-1]}], [[300]], "'n' are not a INT8 tensor"),
    ],
)
def test_input_tensors_rejects_rows_that_are_no_tensor(
    metadata: list[dict[str, Any]], rows: list[Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        client._input_tensors(metadata, rows, binary=True)


def metadata(request: Any, context: Any) -> Any:
    inputs = [pb.ModelMetadataResponse.TensorMetadata(**entry) for entry in INPUTS]
    return pb.ModelMetadataResponse(name=request.name, versions=["1"], inputs=inputs)


def infer(request: Any, context: Any) -> Any:
    response = pb.ModelInferResponse(model_name=request.model_name)
    response.outputs.add(name="label", datatype="INT64", shape=[1]).contents.int64_contents.append(7)
    return response


def handler(behavior: Any, request: Any, response: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(behavior, request.FromString, response.SerializeToString)


async def connection_failed(address: str) -> None:
    """Wait until a connection to this address has failed."""
    async with grpc.aio.insecure_channel(address) as channel:
        while (
            state := channel.get_state(try_to_connect=True)
        ) is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)


def test_predict_by_grpc_waits_for_a_late_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_PAUSES_SECONDS", (60.0,))

    async def main() -> Prediction:
        with socket.socket() as reserved:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{reserved.getsockname()[1]}"
            request = asyncio.create_task(client._predict_grpc(address, "iris", [[1.0, 2.0]]))
            await connection_failed(address)
            server = grpc.aio.server()
            methods = {
                "ModelMetadata": handler(metadata, pb.ModelMetadataRequest, pb.ModelMetadataResponse),
                "ModelInfer": handler(infer, pb.ModelInferRequest, pb.ModelInferResponse),
            }
            service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
            server.add_generic_rpc_handlers([service])
            server.add_insecure_port(address)
            await server.start()
            try:
                return await request
            finally:
                await server.stop(None)

    assert asyncio.run(main()) == Prediction("1", {"label": [7]})


def test_prediction_of_rows_of_texts_is_text() -> None:
    texts = pb.ModelInferResponse.InferOutputTensor(name="items", datatype="BYTES", shape=[2, 2])
    texts.contents.bytes_contents.extend([b"tea", "caf\u00e9".encode(), b"mug", b""])
    message = pb.ModelInferResponse(model_name="m", outputs=[texts])
    response = InferResponse.from_grpc(message)
    assert client._prediction(response, ["1"]).outputs == {"items": [["tea", "café"], ["mug", ""]]}


def test_predict_by_grpc_without_server_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ServerError, match=r"returned UNAVAILABLE: .*Connection refused"):
            predict(f"127.0.0.1:{closed.getsockname()[1]}", "iris", Protocol.GRPC, [[1.0, 2.0]])


@pytest.mark.parametrize("protocol", [*REST, Protocol.GRPC])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_predict_without_authorities_names_the_variable(
    protocol: Protocol, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE: expected .* in PEM, received .*ca\.crt"):
        predict("https://localhost:1", "iris", protocol, [[1.0, 2.0]])
