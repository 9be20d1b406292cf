# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client finds its connection with patience, and asks no question twice."""

import asyncio
import json
import socket
from typing import Any

import grpc
import httpx
import pytest
from tidegate_serving import client
from tidegate_serving._kserve import pb
from tidegate_serving.client import Prediction, Protocol, predict

from tidegate.errors import ServerError

INPUTS = [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
METADATA = {"name": "iris", "versions": ["1"], "inputs": INPUTS, "outputs": [{"name": "label"}]}
LABELS = {"name": "label", "datatype": "INT64", "shape": [1], "data": [7]}
REST = [Protocol.V1, Protocol.V2, Protocol.V2_BINARY]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CONNECT_PAUSES", (0.0, 0.0, 0.0))


class Server:
    """Stands where httpx would connect: fails as often as it is told, and answers then."""

    def __init__(self, failure: type[httpx.TransportError] = httpx.ConnectError, times: int = 0) -> None:
        self.failure, self.left, self.code = failure, times, 200
        self.asked: list[str] = []

    async def handle(self, _: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if self.left:
            self.left -= 1
            raise self.failure("no way")
        answers = {":predict": {"predictions": [7]}, "/infer": {"model_name": "iris", "outputs": [LABELS]}}
        found = next((answer for end, answer in answers.items() if path.endswith(end)), METADATA)
        return httpx.Response(self.code, content=json.dumps(found), request=request)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", lambda *asked: found.handle(*asked))
    return found


def ask(protocol: Protocol) -> Prediction:
    return predict("http://models.test", "iris", protocol, [[1.0, 2.0]])


@pytest.mark.parametrize("protocol", REST)
def test_a_connection_that_fails_is_tried_again(server: Server, protocol: Protocol) -> None:
    server.left = 3
    assert ask(protocol) == Prediction("1", {"label": [7]})
    assert len(server.asked) == 3 + 2


@pytest.mark.parametrize("protocol", REST)
def test_a_server_that_is_never_found_is_told(server: Server, protocol: Protocol) -> None:
    server.left = 99
    with pytest.raises(ServerError, match=r"^http://models.test cannot be reached: no way\.$"):
        ask(protocol)
    assert len(server.asked) == 4


@pytest.mark.parametrize("protocol", REST)
@pytest.mark.parametrize("failure", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_question_that_may_have_been_sent_is_not_asked_again(
    server: Server, protocol: Protocol, failure: type[httpx.TransportError]
) -> None:
    server.failure, server.left = failure, 1
    with pytest.raises(ServerError, match="no way"):
        ask(protocol)
    assert len(server.asked) == 1


@pytest.mark.parametrize("protocol", REST)
def test_an_answer_is_taken_for_what_it_is(server: Server, protocol: Protocol) -> None:
    server.code = 503
    with pytest.raises(ServerError, match="answered 503"):
        ask(protocol)
    assert len(server.asked) == 1


def metadata(request: Any, context: Any) -> Any:
    inputs = [pb.ModelMetadataResponse.TensorMetadata(**entry) for entry in INPUTS]
    return pb.ModelMetadataResponse(name=request.name, versions=["1"], inputs=inputs)


def infer(request: Any, context: Any) -> Any:
    answer = pb.ModelInferResponse(model_name=request.model_name)
    answer.outputs.add(name="label", datatype="INT64", shape=[1]).contents.int64_contents.append(7)
    return answer


def handler(behavior: Any, request: Any, response: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(behavior, request.FromString, response.SerializeToString)


async def failed(address: str) -> None:
    """Come back when a connection to this address has failed."""
    async with grpc.aio.insecure_channel(address) as channel:
        while (
            state := channel.get_state(try_to_connect=True)
        ) is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)


def test_a_grpc_server_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CONNECT_PAUSES", (60.0,))

    async def main() -> Prediction:
        with socket.socket() as reserved:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{reserved.getsockname()[1]}"
            asking = asyncio.create_task(client._grpc(address, "iris", [[1.0, 2.0]]))
            await failed(address)
            listening = grpc.aio.server()
            methods = {
                "ModelMetadata": handler(metadata, pb.ModelMetadataRequest, pb.ModelMetadataResponse),
                "ModelInfer": handler(infer, pb.ModelInferRequest, pb.ModelInferResponse),
            }
            service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
            listening.add_generic_rpc_handlers([service])
            listening.add_insecure_port(address)
            await listening.start()
            try:
                return await asking
            finally:
                await listening.stop(None)

    assert asyncio.run(main()) == Prediction("1", {"label": [7]})


def test_a_grpc_server_that_is_never_found_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ServerError, match=r"answered UNAVAILABLE: .*refused"):
            predict(f"127.0.0.1:{closed.getsockname()[1]}", "iris", Protocol.GRPC, [[1.0, 2.0]])
