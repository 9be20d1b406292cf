# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The readiness check: one request before the load, so that a wrong address does not cost a campaign."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

from tidegate.errors import ServerError
from tidegate.protocol.connect import retry_connect
from tidegate_loadtests.campaign import Target


def verify_readiness(
    target: Target,
    model: str,
    timeout: float,
    headers: Mapping[str, str],
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Check that a server is ready for a model. Only connections are retried, for a few seconds.

    From the Open Inference Protocol, "Model Ready".

    Args:
        target: The server's addresses; each that is given must be ready.
        model: The model's name.
        timeout: Seconds to wait for the response.
        headers: The headers of each request.
        sleep: Waits the given seconds between attempts to connect.

    Raises:
        ServerError: If the server cannot be reached or is not ready for the model.
    """
    if target.url is not None:
        address = f"{target.url.rstrip('/')}/v2/models/{model}/ready"
        request = urllib.request.Request(address, headers=dict(headers))
        # Without a proxy, because the load generator uses none.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        problem = _find_problem(lambda: opener.open(request, timeout=timeout).close(), sleep)
        if problem is not None:
            raise ServerError(f"{address} {problem}: start the server for this model, or correct --url.")
    if target.grpc_url is not None:
        problem = _find_grpc_problem(target.grpc_url, model, timeout, headers)
        if problem is not None:
            raise ServerError(
                f"{target.grpc_url} {problem}: start the server for this model, or correct --grpc-url."
            )


def _find_problem(get: Callable[[], None], sleep: Callable[[float], object]) -> str | None:
    try:
        retry_connect(get, _is_retryable, sleep=sleep)
    except urllib.error.HTTPError as error:
        error.close()
        return f"returned status {error.code}, expected 200"
    except urllib.error.URLError as error:
        return f"did not respond ({error.reason})"
    except (OSError, ValueError) as error:
        return f"did not respond ({error})"
    return None


def _find_grpc_problem(address: str, model: str, timeout: float, headers: Mapping[str, str]) -> str | None:
    import grpc  # here, because most campaigns use HTTP

    from tidegate.protocol.messages import SERVICE, ModelReadyRequest, ModelReadyResponse

    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    options += [
        ("grpc.default_authority", value) for name, value in headers.items() if name.lower() == "host"
    ]
    metadata = [(name.lower(), value) for name, value in headers.items() if name.lower() != "host"]
    with grpc.insecure_channel(address, options) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelReady",
            request_serializer=ModelReadyRequest.SerializeToString,
            response_deserializer=ModelReadyResponse.FromString,
        )
        try:
            response = call(
                ModelReadyRequest(name=model), timeout=timeout, metadata=metadata, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return f"returned {error.code().name} ({error.details()}), expected OK"
    return None if response.ready else f"is not ready for the model '{model}'"


def _is_retryable(error: Exception) -> bool:
    return isinstance(error, urllib.error.URLError) and isinstance(
        error.reason, ConnectionRefusedError | socket.gaierror
    )
