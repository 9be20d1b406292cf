# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import socket
from typing import Any

import grpc
import pytest

from tests.support.fake_connection import wait_until
from tests.support.grpc_calls import infer_request
from tests.support.stub_service import BlockingEngine, make_predictor
from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import pb
from tidegate_serving.drain import Drain
from tidegate_serving.grpc.grpcio import GrpcioCall, GrpcioServer, generic_handler, server_options
from tidegate_serving.grpc.servicer import MODEL_INFER, SERVICE, Servicer


def test_server_options_allow_twice_the_limit() -> None:
    assert dict(server_options(1_000, 0))["grpc.max_receive_message_length"] == 2_000


def test_server_options_end_connections_within_the_drain() -> None:
    options = dict(server_options(1_000, 10))
    jitter = 1.1
    assert options["grpc.max_connection_age_ms"] * jitter < 10_000
    assert "grpc.max_connection_age_grace_ms" not in options


def test_server_options_without_a_drain_keep_connections() -> None:
    assert not [name for name, _ in server_options(1_000, 0) if "connection_age" in name]


def test_serve_until_the_drain_is_finished() -> None:
    predictor: Any = make_predictor()

    async def main() -> None:
        drain = Drain(0)
        server = GrpcioServer(predictor, ("127.0.0.1", 0), drain, 0)
        serving = asyncio.create_task(server.serve())
        await server.listening.wait()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            ready = await channel.unary_unary(f"/{SERVICE}/ServerReady")(b"")
            assert pb.ServerReadyResponse.FromString(ready).ready
        drain.finished.set()
        await serving

    asyncio.run(asyncio.wait_for(main(), 60))
    predictor.service.close()


def test_serve_on_a_port_in_use_raises() -> None:
    predictor: Any = make_predictor()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = GrpcioServer(predictor, ("127.0.0.1", port), Drain(0), 0)
        with pytest.raises(ConfigurationError, match=f"{port} of 127.0.0.1 .*--grpc-port"):
            asyncio.run(asyncio.wait_for(server.serve(), 60))
    predictor.service.close()


class FakeContext:
    """gRPC's context of a call."""

    def time_remaining(self) -> float | None:
        return None

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return ("x-request-id", "first"), ("x-request-id", "last"), ("key-bin", b"\xff")

    def peer(self) -> str:
        return "ipv6:%5B::1%5D:80"


def test_call_has_the_metadata_and_the_client_of_its_context() -> None:
    async def main() -> None:
        call = GrpcioCall(FakeContext())
        assert call.metadata == {"x-request-id": "last", "key-bin": "\xff"}
        assert call.client == "::1"
        assert call.deadline is None
        assert call.respond(b"first")
        assert not call.respond(b"second")

    asyncio.run(main())


def test_handler_cancelled_call_is_counted_as_cancelled() -> None:
    engine = BlockingEngine()
    predictor: Any = make_predictor(engine)

    async def main() -> None:
        details: Any = type("Details", (), {"method": MODEL_INFER, "invocation_metadata": ()})()
        handler = generic_handler(Servicer(predictor)).service(details)
        task = asyncio.ensure_future(handler.unary_unary(infer_request(1), FakeContext()))
        await wait_until(engine.started.is_set)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        engine.released.set()
        await wait_until(lambda: predictor.service.batcher.queued_rows == 0)

    asyncio.run(asyncio.wait_for(main(), 60))
    predictor.service.close()
    assert predictor.counts("tidegate_requests_total") == {("CANCELLED", "grpc"): 1}
