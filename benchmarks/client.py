# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A client for single requests: whether a server is ready, and whether its labels are scikit-learn's."""

import time
from contextlib import suppress

import httpx

from benchmarks.case import Protocol
from benchmarks.process import ServerProcess
from benchmarks.requests import BenchmarkRequest, compare_labels, parse_labels
from benchmarks.servers import HOST, PATHS, Launch, Server
from tidegate.errors import ServerError
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH

READY_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.02
_RESPONSE_TIMEOUT_SECONDS = 30.0


def wait_until_ready(server: Server, launch: Launch, process: ServerProcess) -> None:
    """Poll the server's readiness path until it returns the expected status.

    Args:
        server: The server's description.
        launch: The ports of the running server.
        process: The server's process.

    Raises:
        ServerError: If the process has exited, or is not ready in time.
    """
    url = f"http://{HOST}:{launch.port}" + server.ready_path.format(name=launch.model_name)
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    with httpx.Client(trust_env=False, timeout=_RESPONSE_TIMEOUT_SECONDS) as client:
        while time.monotonic() < deadline:
            process.raise_if_exited()
            with suppress(httpx.TransportError):
                if client.get(url).status_code == server.expected_status:
                    return
            time.sleep(_POLL_SECONDS)
    raise ServerError(f"it was not ready within {READY_TIMEOUT_SECONDS:.0f} s")


def verify_labels(
    server: Server, launch: Launch, protocol: Protocol, request: BenchmarkRequest
) -> str | None:
    """Send one request and compare its labels with scikit-learn's.

    Args:
        server: The server's description.
        launch: The ports of the running server.
        protocol: The protocol of the request.
        request: The request with the expected labels.

    Returns:
        The difference, or None if there is none. A ceiling makes no predictions; only its status counts.
    """
    try:
        if protocol is Protocol.GRPC:
            content, header_length = send_grpc(launch, request), None
        else:
            url = f"http://{HOST}:{launch.port}" + PATHS[protocol].format(name=launch.model_name)
            response = httpx.post(
                url,
                content=request.body,
                headers=request.headers,
                timeout=_RESPONSE_TIMEOUT_SECONDS,
                trust_env=False,
            )
            if response.status_code != server.expected_status:
                return f"status {response.status_code}: {response.text[:200]}"
            content = response.content
            header_length = response.headers.get(INFERENCE_HEADER_CONTENT_LENGTH)
        if not server.predicts:
            return None
        return compare_labels(parse_labels(protocol, content, header_length), request.labels)
    except (httpx.HTTPError, ServerError, ValueError) as error:
        return str(error) or type(error).__name__


def send_grpc(launch: Launch, request: BenchmarkRequest) -> bytes:
    """Send one call and return the response's message.

    Raises:
        ServerError: If the call fails.
    """
    import grpc

    with grpc.insecure_channel(f"{HOST}:{launch.grpc_port}") as channel:
        call = channel.unary_unary(PATHS[Protocol.GRPC])
        try:
            return bytes(call(request.body, timeout=_RESPONSE_TIMEOUT_SECONDS, wait_for_ready=True))
        except grpc.RpcError as error:
            raise ServerError(f"{error.code().name}: {error.details()}") from None
