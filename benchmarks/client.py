# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""One client that asks a server once: whether it is ready, and whether it answers what scikit-learn does."""

import time
from contextlib import suppress

import httpx

from benchmarks.case import Protocol
from benchmarks.process import Started
from benchmarks.question import HEADER_LENGTH, Question, difference, labels
from benchmarks.servers import HOST, PATHS, Place, Server
from tidegate.errors import ServerError

READY_SECONDS = 120.0
_POLL_SECONDS = 0.02
_ANSWER_SECONDS = 30.0


def wait_until_ready(server: Server, place: Place, started: Started) -> None:
    """Return as soon as the server says that it is ready.

    Raises:
        ServerError: It has ended, or does not become ready in time.
    """
    url = f"http://{HOST}:{place.port}" + server.ready.format(name=place.name)
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
        while time.monotonic() < deadline:
            started.check()
            with suppress(httpx.TransportError):
                if client.get(url).status_code == server.status:
                    return
            time.sleep(_POLL_SECONDS)
    raise ServerError(f"it was not ready within {READY_SECONDS:.0f} s")


def check(server: Server, place: Place, protocol: Protocol, question: Question) -> str | None:
    """Ask once; what is wrong with the answer, or None if nothing is."""
    try:
        if protocol is Protocol.GRPC:
            content, length = _ask_grpc(place, question), None
        else:
            url = f"http://{HOST}:{place.port}" + PATHS[protocol].format(name=place.name)
            answer = httpx.post(
                url, content=question.body, headers=question.headers, timeout=_ANSWER_SECONDS, trust_env=False
            )
            if answer.status_code != server.status:
                return f"status {answer.status_code}: {answer.text[:200]}"
            content, length = answer.content, answer.headers.get(HEADER_LENGTH)
        return difference(labels(protocol, content, length), question.labels) if server.answers else None
    except (httpx.HTTPError, ServerError, ValueError) as error:
        return str(error) or type(error).__name__


def _ask_grpc(place: Place, question: Question) -> bytes:
    import grpc

    with grpc.insecure_channel(f"{HOST}:{place.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            return bytes(call(question.body, timeout=_ANSWER_SECONDS, wait_for_ready=True))
        except grpc.RpcError as error:
            raise ServerError(f"{error.code().name}: {error.details()}") from None
