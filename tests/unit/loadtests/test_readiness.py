# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.stub_grpc_server import run_stub_grpc_server
from tests.support.stub_server import run_stub_server
from tidegate.errors import ServerError
from tidegate_loadtests.campaign import Target
from tidegate_loadtests.readiness import verify_readiness


@pytest.mark.parametrize(
    "reason", [ConnectionRefusedError(111, "Connection refused"), socket.gaierror(-3, "try again")]
)
def test_readiness_retries_a_failed_connection(reason: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [reason] * 3
    pauses: list[float] = []
    connect = socket.create_connection

    def fail_first(*arguments: Any, **options: Any) -> socket.socket:
        if failures:
            raise failures.pop()
        return connect(*arguments, **options)

    with run_stub_server() as stub:
        monkeypatch.setattr("socket.create_connection", fail_first)
        verify_readiness(Target(url=stub.url), "stub", 20, {}, pauses.append)
    assert not failures
    assert len(pauses) == 3


def test_readiness_does_not_retry_after_the_request_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as executor:

        def hang_up() -> int:
            with listener.accept()[0] as connection:
                return len(connection.recv(9))

        received = executor.submit(hang_up)
        with pytest.raises(ServerError, match="did not respond"):
            verify_readiness(Target(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), "stub", 20, {})
        assert received.result() == 9
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_readiness_of_another_model_is_an_error() -> None:
    with (
        run_stub_server() as stub,
        pytest.raises(ServerError, match=r"other/ready returned status 404, expected 200: .*correct --url"),
    ):
        verify_readiness(Target(url=stub.url), "other", 20, {})


def test_readiness_over_grpc_has_the_headers() -> None:
    with run_stub_grpc_server() as stub:
        verify_readiness(Target(grpc_url=stub.address), "stub", 20, {"Host": "a.example", "X-Token": "1"})
    assert ("x-token", "1") in stub.metadata


def test_readiness_over_grpc_of_another_model_is_an_error() -> None:
    with (
        run_stub_grpc_server(ready=False) as stub,
        pytest.raises(ServerError, match=r"is not ready for the model 'stub': .*correct --grpc-url"),
    ):
        verify_readiness(Target(grpc_url=stub.address), "stub", 20, {})


def test_readiness_over_grpc_without_a_server_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"returned (DEADLINE_EXCEEDED|UNAVAILABLE) .*correct --grpc-url"):
        verify_readiness(Target(grpc_url=address), "stub", 0.2, {})
