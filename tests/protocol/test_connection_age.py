# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The maximum age of a gRPC connection: clients that keep a channel and never pause lose no call."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.protocol.clients import SERVICE, infer_request, one_row
from tests.support.http2 import (
    MAX_WINDOW,
    ErrorCode,
    Flag,
    Frame,
    FrameType,
    Http2Connection,
    call_frames,
    ping_frame,
)
from tests.support.router import routing
from tests.support.servers import GRPC_TRANSPORTS, LiveServer, serving
from tidegate.bundle import Bundle

AGES = 4
"""Connections that a channel uses."""

CALLERS = 4


@pytest.fixture(scope="module", params=GRPC_TRANSPORTS)
def ageing(
    request: pytest.FixtureRequest, numeric_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """A server whose connections end after a fifth of a second, on each transport in turn."""
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(numeric_bundle, log, "--drain-seconds", "0.4", transport=request.param) as server:
        yield server
    assert "Traceback" not in log.read_text()


def test_channel_outlives_its_connections_without_loss(ageing: LiveServer) -> None:
    """A lost call raises."""
    content = infer_request(ageing, one_row(ageing), raw=True).SerializeToString()
    with (
        routing(ageing.grpc) as router,
        grpc.insecure_channel(router.address) as channel,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        infer = channel.unary_unary(f"{SERVICE}ModelInfer")

        def make_calls() -> int:
            calls = 0
            while router.connections < AGES:
                infer(content, timeout=20)
                calls += 1
            return calls

        callers = [pool.submit(make_calls) for _ in range(CALLERS)]
        assert sum(caller.result(60) for caller in callers) > AGES


def test_call_that_crosses_the_first_goaway_is_served(ageing: LiveServer) -> None:
    """The second one names the last call, and the connection ends after its response. From RFC 9113, 6.8."""
    content = infer_request(ageing, one_row(ageing), raw=True).SerializeToString()
    while True:
        with Http2Connection(ageing.grpc, {}) as connection:
            assert connection.call(1, "ModelInfer", content).status == "0"
            if connection.goaway is not None:
                continue  # on a busy machine its age passed before the response
            assert last_stream(wait_for_frame(connection, FrameType.GOAWAY)) == MAX_WINDOW
            connection.acknowledges = False  # as if the frame were still in transit
            ping = wait_for_frame(connection, FrameType.PING)
            assert connection.call(3, "ModelInfer", content).status == "0"
            connection.acknowledges = True
            connection.send(call_frames(5, "ModelInfer", content) + ping_frame(ping.payload, Flag.ACK))
            assert last_stream(wait_for_frame(connection, FrameType.GOAWAY)) == 5
            assert connection.wait(5).status == "0"
            assert connection.wait_for_end() == ErrorCode.NO_ERROR
            return


def wait_for_frame(connection: Http2Connection, kind: FrameType) -> Frame:
    return next(received for received in connection.frames() if received.kind == kind)


def last_stream(goaway: Frame) -> int:
    return int.from_bytes(goaway.payload[:4])
