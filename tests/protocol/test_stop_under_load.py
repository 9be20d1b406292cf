# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM while clients of every kind ask in an open loop: each request is answered, and rightly.

The clients and their judgement are those of the scenarios on a cluster, and two more that no proxy is.
"""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.client import Answer, Http, Traffic, grpc_client, parse_head
from tests.protocol.test_grpc import question
from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.protocol.requests import v2_body

RATE = 50.0
"""Requests a second of each client."""
ENOUGH = 30
"""Answers of each client before the signal, and again after it."""

Ask = Callable[[], Awaitable[Answer]]


class Raw:
    """Requests over sockets that the caller writes to as it likes."""

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
        try:
            yield reader, writer
        finally:
            writer.close()

    @staticmethod
    async def answer(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        """One answer, and whether it is the connection's last."""
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        assert status == 200
        document = json.loads(await reader.readexactly(int(headers["content-length"])))
        version, label = document["model_version"], document["outputs"][0]["data"][0]
        return (version, label), headers.get("connection") == "close"

    async def slowly(self) -> Answer:
        """Head and body in five pieces, a turn of the server's loop and more between them."""
        content = self.head + self.body
        size = len(content) // 4
        async with self.connection() as (reader, writer):
            for start in range(0, len(content), size):
                writer.write(content[start : start + size])
                await asyncio.sleep(0.02)
            return (await self.answer(reader))[0]

    async def pipelined(self) -> Answer:
        """Three requests in one write; after an answer that says close, what is left goes out again.

        That is what RFC 9112 (9.3.2 and 9.6) has such a client do.
        """
        answers: list[Answer] = []
        while len(answers) < 3:
            async with self.connection() as (reader, writer):
                writer.write((self.head + self.body) * (3 - len(answers)))
                last = False
                while len(answers) < 3 and not last:
                    answer, last = await self.answer(reader)
                    answers.append(answer)
        assert len(set(answers)) == 1
        return answers[0]


@contextmanager
def abandoned(server: LiveServer, *contents: bytes) -> Iterator[None]:
    """Connections of clients that have sent so much and never send the rest."""
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


def test_no_client_of_any_kind_loses_an_answer_to_the_signal(
    numeric_bundle: Bundle, tmp_path: Path, body: bytes
) -> None:
    async def scenario(server: LiveServer) -> None:
        address = urlsplit(server.http)
        raw = Raw(server, body)

        def over_http(keep: bool) -> Ask:
            path = f"/v2/models/{server.name}/infer"
            return Http(address.hostname, address.port, "x", path, body, keep=keep, repeat=False).ask

        rows = [list(numeric_bundle.contract.golden.rows[0])]
        message = question(server, rows, raw=False).SerializeToString()
        clients: dict[str, Ask] = {
            "new": over_http(keep=False),
            "kept": over_http(keep=True),
            "pipelined": raw.pipelined,
            "slow": raw.slowly,
            "grpc": grpc_client(server.grpc, message),
        }
        label = numeric_bundle.contract.golden.outputs["label"][0]
        traffic = Traffic({numeric_bundle.digest[:12]: label})
        driving = [asyncio.create_task(traffic.drive(name, ask, RATE)) for name, ask in clients.items()]

        def record_response(phase: str) -> int:
            """How many answers the client with the fewest has had in a phase."""
            counts = [tally.versions.get(phase, Counter()).total() for tally in traffic.tallies.values()]
            return min(counts) if len(counts) == len(clients) else 0

        async def enough(phase: str) -> None:
            while answered(phase) < ENOUGH:
                await asyncio.sleep(0.01)

        await enough("start")
        traffic.enter("draining")
        server.terminate()
        await enough("draining")
        traffic.over.set()
        await asyncio.gather(*driving)
        assert {name: tally.lost for name, tally in traffic.tallies.items() if tally.lost} == {}
        assert all(tally.sent == tally.record_response for tally in traffic.tallies.values())

    with (
        serving(numeric_bundle, tmp_path / "log", "--drain-seconds", "600") as server,
        abandoned(server, b"", b"POST /v2/mo", Raw(server, body).head + body[:10]),
    ):
        asyncio.run(asyncio.wait_for(scenario(server), 60))
        server.terminate()
        assert server.process.wait(20) == 0


def test_a_client_that_never_finishes_its_request_does_not_hold_the_server(
    numeric_bundle: Bundle, tmp_path: Path, body: bytes
) -> None:
    patience = ("--drain-seconds", "0.5", "--shutdown-timeout", "1")
    with serving(numeric_bundle, tmp_path / "log", *patience) as server:
        raw = Raw(server, body)
        begun = (b"", b"POST /v2/mo", raw.head, raw.head + body[:10], b"GET /metrics HTTP/1.1\r\n")
        with abandoned(server, *begun):
            assert httpx.get(f"{server.http}/v2/health/ready").status_code == 200
            server.terminate()
            assert server.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
