# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tidegate_serving._kserve import pb

from tests.protocol.test_grpc import SERVICE, one_row, question
from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.protocol.requests import v1_body
from tidegate.protocol.samples import sample_rows


@pytest.fixture
def draining(numeric_bundle: Bundle, tmp_path: Path) -> Iterator[LiveServer]:
    with serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "1.5") as server:
        yield server


def body(server: LiveServer) -> bytes:
    return v1_body(server.bundle.contract, sample_rows(server.bundle.contract, 1, 0))


def half_a_request(server: LiveServer) -> tuple[socket.socket, bytes]:
    """A connection whose request is under way, and what is missing of it."""
    host, port = server.http.removeprefix("http://").split(":")
    content = body(server)
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(
        f"POST /v1/models/{server.name}:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n".encode()
        + content[:10]
    )
    return connection, content[10:]


def whole_answer(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_no_request_is_lost_after_the_signal(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "600") as server:
        url, content = f"{server.http}/v1/models/{server.name}:predict", body(server)
        begun, terminated = threading.Barrier(3), threading.Event()
        statuses: list[int] = []
        closing: list[bool] = []

        def ask(client: httpx.Client) -> None:
            answer = client.post(url, content=content, headers={"Content-Type": "application/json"})
            statuses.append(answer.status_code)
            closing.append(answer.headers.get("connection") == "close")

        def keep_asking(kept: bool) -> None:
            """Ask before the signal, while it comes, and forty times after, on one connection or many."""
            client, after, announced = httpx.Client(), 0, False
            while after < 40:
                after += terminated.is_set()
                ask(client)
                if not kept:
                    client.close()
                    client = httpx.Client()
                if not announced:
                    begun.wait(30)
                    announced = True
            client.close()

        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(keep_asking, kept) for kept in (True, False)]
            begun.wait(30)
            server.terminate()
            terminated.set()
            for client in asked:
                client.result(60)
        assert set(statuses) == {200}
        assert len(statuses) >= 82
        assert sum(closing) > 60
        server.terminate()
        assert server.process.wait(20) == 0


def test_a_request_that_is_under_way_when_listening_ends_is_answered(draining: LiveServer) -> None:
    connection, missing = half_a_request(draining)
    draining.terminate()
    while True:  # until nothing listens any more
        try:
            assert httpx.get(f"{draining.http}/v2/health/ready").json() == {"ready": True}
        except httpx.ConnectError:
            break
        except httpx.ReadError:
            continue  # the kernel took it, and nobody will: it was too late
    with connection:
        connection.sendall(missing)
        answer = whole_answer(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]
    assert draining.process.wait(20) == 0


def test_grpc_goes_on_through_the_window_and_then_stops_with_rest(draining: LiveServer) -> None:
    content = question(draining, one_row(draining), raw=True).SerializeToString()
    with grpc.insecure_channel(draining.grpc, options=[("grpc.enable_retries", 0)]) as channel:
        infer = channel.unary_unary(
            SERVICE + "ModelInfer", response_deserializer=pb.ModelInferResponse.FromString
        )
        infer(content, timeout=20)
        draining.terminate()
        answered = 0
        while True:
            try:
                infer(content, timeout=20)
                answered += 1
            except grpc.RpcError as error:
                # gRPC cancels a call that reaches it in the very moment in which it stops.
                stopped = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
                assert error.code() in stopped  # noqa: PT017
                break
    assert answered > 10
    assert draining.process.wait(20) == 0


class Router(socketserver.ThreadingTCPServer):
    """Passes each new connection on to its target, as a Service does, and counts them."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        self.target = target
        self.connections = 0
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        host, port = self.target.split(":")
        with socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=_copy, args=(server, request), daemon=True)
            back.start()
            _copy(request, server)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def router(draining: LiveServer) -> Iterator[Router]:
    with Router(draining.grpc) as router:
        threading.Thread(target=router.serve_forever, daemon=True).start()
        yield router
        router.shutdown()


def test_a_grpc_channel_leaves_a_server_that_drains_without_losing_a_call(
    draining: LiveServer, numeric_server: LiveServer, router: Router
) -> None:
    content = question(draining, one_row(draining), raw=True).SerializeToString()
    with grpc.insecure_channel(router.address) as channel:
        infer = channel.unary_unary(SERVICE + "ModelInfer")
        infer(content, timeout=20)
        router.target = numeric_server.grpc
        draining.terminate()
        while draining.process.poll() is None:  # any lost call raises here
            infer(content, timeout=20)
        infer(content, timeout=20)
    assert router.connections >= 2
    assert draining.process.returncode == 0


def test_a_second_signal_ends_the_waiting(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "600") as server:
        connection, _ = half_a_request(server)
        server.terminate()
        assert httpx.get(f"{server.http}/v2/health/ready").status_code == 200
        server.terminate()
        server.process.wait(20)
        connection.close()


def test_a_second_signal_with_nothing_under_way_leaves_no_trace(
    numeric_bundle: Bundle, tmp_path: Path
) -> None:
    with serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "600") as server:
        server.terminate()
        assert httpx.get(f"{server.http}/v2/health/ready").status_code == 200
        server.terminate()
        assert server.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_interrupt_does_not_wait_for_routers(numeric_bundle: Bundle, tmp_path: Path) -> None:
    with serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "600") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
