# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from tests.protocol.clients import JSON_HEADERS, SERVICE, connect, infer_request, one_row
from tests.support.http_client import receive_response
from tests.support.router import routing
from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.protocol.requests import v1_body
from tidegate_serving._kserve import pb

ENDLESS_DRAIN = ("--drain-seconds", "600")
REQUESTS_AFTER_SIGNAL = 40


@pytest.fixture
def draining(numeric_bundle: Bundle, tmp_path: Path) -> Iterator[LiveServer]:
    """A server with a short drain."""
    with serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "1.5") as server:
        yield server


@pytest.fixture
def grpc_draining(numeric_bundle: Bundle, tmp_path: Path, transport: str) -> Iterator[LiveServer]:
    """A server with a short drain on each transport of gRPC in turn."""
    options = ("--drain-seconds", "1.5")
    with serving(numeric_bundle, tmp_path / "log", *options, transport=transport) as server:
        yield server


def body_of(server: LiveServer) -> bytes:
    return v1_body(server.bundle.contract, one_row(server))


def send_partial_request(server: LiveServer) -> tuple[socket.socket, bytes]:
    """A connection with the beginning of a request, and the missing bytes."""
    body = body_of(server)
    connection = connect(server)
    connection.sendall(
        f"POST /v1/models/{server.name}:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body[:10]
    )
    return connection, body[10:]


def test_every_request_during_the_drain_is_successful(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", *ENDLESS_DRAIN) as server:
        url, body = f"{server.http}/v1/models/{server.name}:predict", body_of(server)
        started, terminated = threading.Barrier(3), threading.Event()
        statuses: list[int] = []
        closing: list[bool] = []

        def send_requests(keeps_connection: bool) -> None:
            """Send requests before the signal, during it, and a number after it."""
            client, sent_after, announced = httpx.Client(timeout=30), 0, False
            while sent_after < REQUESTS_AFTER_SIGNAL:
                sent_after += terminated.is_set()
                response = client.post(url, content=body, headers=JSON_HEADERS)
                statuses.append(response.status_code)
                closing.append(response.headers.get("connection") == "close")
                if not keeps_connection:
                    client.close()
                    client = httpx.Client(timeout=30)
                if not announced:
                    started.wait(30)
                    announced = True
            client.close()

        with ThreadPoolExecutor(2) as pool:
            clients = [pool.submit(send_requests, keeps) for keeps in (True, False)]
            started.wait(30)
            server.terminate()
            terminated.set()
            for client in clients:
                client.result(60)
        assert set(statuses) == {200}
        assert len(statuses) >= 2 * REQUESTS_AFTER_SIGNAL + 2
        assert sum(closing) > 1.5 * REQUESTS_AFTER_SIGNAL
        server.terminate()
        assert server.process.wait(20) == 0


def test_partial_request_at_the_end_of_listening_is_served(draining: LiveServer) -> None:
    connection, missing = send_partial_request(draining)
    draining.terminate()
    while True:  # until the server stops listening
        try:
            assert httpx.get(f"{draining.http}/v2/health/ready", timeout=30).json() == {"ready": True}
        except httpx.ConnectError:
            break
        except (httpx.ReadError, httpx.RemoteProtocolError):
            continue  # the kernel accepted it, but the server had stopped listening
    with connection:
        connection.sendall(missing)
        response = receive_response(connection)
        assert connection.recv(1) == b""
    assert response.status == 200
    assert response.closes
    assert response.json()["predictions"]
    assert draining.process.wait(20) == 0


def test_grpc_is_served_through_the_drain_and_then_stops(grpc_draining: LiveServer) -> None:
    content = infer_request(grpc_draining, one_row(grpc_draining), raw=True).SerializeToString()
    with grpc.insecure_channel(grpc_draining.grpc, options=[("grpc.enable_retries", 0)]) as channel:
        infer = channel.unary_unary(
            SERVICE + "ModelInfer", response_deserializer=pb.ModelInferResponse.FromString
        )
        infer(content, timeout=20)
        grpc_draining.terminate()
        succeeded = 0
        while True:
            try:
                infer(content, timeout=20)
                succeeded += 1
            except grpc.RpcError as error:
                # gRPC cancels a call that reaches it at the moment in which it stops.
                stopped = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
                assert error.code() in stopped  # noqa: PT017
                break
    assert succeeded > 0
    assert grpc_draining.process.wait(20) == 0


def test_grpc_channel_moves_to_another_server_without_loss(
    grpc_draining: LiveServer, numeric_server: LiveServer
) -> None:
    content = infer_request(grpc_draining, one_row(grpc_draining), raw=True).SerializeToString()
    with routing(grpc_draining.grpc) as router, grpc.insecure_channel(router.address) as channel:
        infer = channel.unary_unary(SERVICE + "ModelInfer")
        infer(content, timeout=20)
        router.target = numeric_server.grpc
        grpc_draining.terminate()
        while grpc_draining.process.poll() is None:  # a lost call raises
            infer(content, timeout=20)
        infer(content, timeout=20)
    assert router.connections >= 2
    assert grpc_draining.process.returncode == 0


def test_second_signal_ends_the_drain_with_a_request(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", *ENDLESS_DRAIN) as server:
        connection, _ = send_partial_request(server)
        server.terminate()
        assert httpx.get(f"{server.http}/v2/health/ready", timeout=30).status_code == 200
        server.terminate()
        server.process.wait(20)
        connection.close()


def test_second_signal_on_an_idle_server_logs_no_traceback(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", *ENDLESS_DRAIN) as server:
        server.terminate()
        assert httpx.get(f"{server.http}/v2/health/ready", timeout=30).status_code == 200
        server.terminate()
        assert server.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_sigint_skips_the_drain(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", *ENDLESS_DRAIN) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
