# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM while clients of several kinds send requests: every response is correct.

The clients and their verdict are those of the scenarios on a cluster. Two more kinds of clients connect
without a proxy. Each client is a closed loop with pauses. On a busy machine, the queue of an open loop would
grow until its requests time out.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.client import ClientStats, HttpClient, Prediction, TrafficGenerator, grpc_client
from tests.protocol.clients import infer_request
from tests.support.http_client import Response, read_response
from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.protocol.requests import v2_body

CONCURRENCY = 4
"""Requests in flight of each client."""

PAUSE_SECONDS = 0.05
"""Time between a response and the next request."""

MIN_RESPONSES = 30
"""Successful responses of each client before the signal, and again after it."""

Infer = Callable[[], Awaitable[Prediction]]


class RawClient:
    """Requests over sockets, split into writes as the test decides."""

    def __init__(self, server: LiveServer, body: bytes) -> None:
        address = urlsplit(server.http)
        self._address = address.hostname, address.port
        self.head = (
            f"POST /v2/models/{server.name}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self.body = body

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self._address)
        writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def infer_in_pieces(self) -> Prediction:
        """Send head and body in five pieces, while another request between them is served."""
        content = self.head + self.body
        size = len(content) // 4
        async with self.connection() as (reader, writer):
            for start in range(0, len(content), size):
                writer.write(content[start : start + size])
                await self._probe()
            return prediction(await read_response(reader))

    async def _probe(self) -> None:
        """Wait for a response on another connection, so that the server has run an event-loop iteration."""
        async with self.connection() as (reader, writer):
            writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_response(reader)).status == 200

    async def infer_pipelined(self) -> Prediction:
        """Send three requests in one write, and after a response that closes, the remaining ones again.

        From RFC 9112, sections 9.3.2 and 9.6.
        """
        predictions: list[Prediction] = []
        while len(predictions) < 3:
            async with self.connection() as (reader, writer):
                writer.write((self.head + self.body) * (3 - len(predictions)))
                closes = False
                while len(predictions) < 3 and not closes:
                    response = await read_response(reader)
                    predictions.append(prediction(response))
                    closes = response.closes
        assert len(set(predictions)) == 1
        return predictions[0]


async def run_client(traffic: TrafficGenerator, name: str, infer: Infer) -> None:
    """Send a few requests at a time until the traffic stops."""
    loop, stats = asyncio.get_running_loop(), traffic.stats.setdefault(name, ClientStats())

    async def send_in_turn() -> None:
        while not traffic.stopped.is_set():
            stats.sent += 1
            await traffic.send(name, infer, stats, loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(traffic.stopped.wait(), PAUSE_SECONDS)

    await asyncio.gather(*(send_in_turn() for _ in range(CONCURRENCY)))


def prediction(response: Response) -> Prediction:
    assert response.status == 200
    document = response.json()
    return Prediction(document["model_version"], document["outputs"][0]["data"][0])


@contextmanager
def abandoned(server: LiveServer, *contents: bytes) -> Iterator[None]:
    """Connections of clients that have sent these bytes and never send the rest."""
    address = urlsplit(server.http)
    with ExitStack() as connections:
        for content in contents:
            connection = socket.create_connection((address.hostname, address.port), timeout=20)
            connections.enter_context(connection).sendall(content)
        yield


@pytest.fixture
def body(numeric_bundle: Bundle) -> bytes:
    contract = numeric_bundle.contract
    return v2_body(contract, [list(contract.golden.rows[0])])


def test_no_client_loses_a_request_after_the_signal(
    numeric_bundle: Bundle, tmp_path: Path, body: bytes, transport: str
) -> None:
    async def scenario(server: LiveServer) -> None:
        address = urlsplit(server.http)
        raw = RawClient(server, body)
        responded = asyncio.Event()

        def notifying(infer: Infer) -> Infer:
            async def infer_and_notify() -> Prediction:
                try:
                    return await infer()
                finally:
                    responded.set()

            return infer_and_notify

        def http(keep: bool) -> Infer:
            path = f"/v2/models/{server.name}/infer"
            return HttpClient(
                address.hostname, address.port, "x", path, body, keep_alive=keep, retry=False
            ).infer

        rows = [list(numeric_bundle.contract.golden.rows[0])]
        message = infer_request(server, rows, raw=False).SerializeToString()
        clients: dict[str, Infer] = {
            "new-connections": http(keep=False),
            "kept-connections": http(keep=True),
            "pipelined": raw.infer_pipelined,
            "in-pieces": raw.infer_in_pieces,
            "grpc": grpc_client(server.grpc, message),
        }
        label = numeric_bundle.contract.golden.outputs["label"][0]
        traffic = TrafficGenerator({numeric_bundle.digest[:12]: label})
        running = [
            asyncio.create_task(run_client(traffic, name, notifying(infer)))
            for name, infer in clients.items()
        ]

        def fewest_responses(phase: str) -> int:
            """The successful responses in a phase of the client that has the fewest."""
            counts = [stats.versions.get(phase, Counter()).total() for stats in traffic.stats.values()]
            return min(counts) if len(counts) == len(clients) else 0

        async def wait_for_responses(phase: str) -> None:
            while fewest_responses(phase) < MIN_RESPONSES:
                responded.clear()
                await responded.wait()

        await wait_for_responses("start")
        traffic.enter("draining")
        server.terminate()
        await wait_for_responses("draining")
        traffic.stopped.set()
        await asyncio.gather(*running)
        assert {name: stats.losses for name, stats in traffic.stats.items() if stats.losses} == {}
        assert all(stats.sent == stats.succeeded for stats in traffic.stats.values())

    with (
        serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "600", transport=transport) as server,
        abandoned(server, b"", b"POST /v2/mo", RawClient(server, body).head + body[:10]),
    ):
        asyncio.run(asyncio.wait_for(scenario(server), 120))
        server.terminate()
        assert server.process.wait(20) == 0


def test_partial_requests_do_not_delay_the_shutdown(
    numeric_bundle: Bundle, tmp_path: Path, body: bytes
) -> None:
    options = ("--drain-seconds", "0.5", "--shutdown-timeout", "1")
    with serving(numeric_bundle, tmp_path / "log", *options) as server:
        head = RawClient(server, body).head
        partial = (b"", b"POST /v2/mo", head, head + body[:10], b"GET /metrics HTTP/1.1\r\n")
        with abandoned(server, *partial):
            assert httpx.get(f"{server.http}/v2/health/ready", timeout=30).status_code == 200
            server.terminate()
            assert server.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
