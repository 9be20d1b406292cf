# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Servers for the tests of this folder alone; those of the whole suite are one folder above."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.support.servers import GRPC_TRANSPORTS, NUMERIC_LIMITS, LiveServer, serving
from tidegate.bundle import Bundle

StartServer = Callable[[str], LiveServer]
"""From the kind of a model to its server."""


@pytest.fixture
def unused_server(numeric_bundle: Bundle, tmp_path: Path) -> Iterator[LiveServer]:
    """A server that has received no request."""
    with serving(numeric_bundle, tmp_path / "log") as server:
        yield server


@pytest.fixture(params=GRPC_TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport of gRPC in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def other_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartServer]:
    """Start the server of a kind of model, once, with the second transport of gRPC."""
    with ExitStack() as running:

        @cache
        def start(kind: str) -> LiveServer:
            bundle: Bundle = request.getfixturevalue(f"{kind}_bundle")
            log = tmp_path_factory.mktemp("log") / "log"
            options = NUMERIC_LIMITS if kind == "numeric" else ()
            return running.enter_context(serving(bundle, log, *options, transport=GRPC_TRANSPORTS[1]))

        yield start


@pytest.fixture(scope="session")
def grpc_servers(
    numeric_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, LiveServer]]:
    """By transport, a server of the same bundle with the same options."""
    with ExitStack() as running:
        yield {
            name: running.enter_context(
                serving(numeric_bundle, tmp_path_factory.mktemp(name) / "log", "--access-log", transport=name)
            )
            for name in GRPC_TRANSPORTS
        }


@pytest.fixture
def http2_server(grpc_servers: dict[str, LiveServer]) -> LiveServer:
    """A server whose HTTP/2 is its own."""
    return grpc_servers["asyncio"]
