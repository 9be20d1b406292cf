# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.fake_connection import FakeHttpServer, FakeTransport, wait_until
from tests.support.stub_service import make_predictor
from tidegate_serving.observability.recorder import Model, Response, ResponseRecorder

BODY = b'{"instances": [[1, 2]]}'
Scenario = Callable[[FakeHttpServer, FakeTransport, list[Response]], Awaitable[None]]


def request(*headers: str, body: bytes = BODY) -> bytes:
    lines = ["POST /v1/models/test:predict HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def run(scenario: Scenario, *, fast_path: bool = True) -> None:
    """Run a scenario with one connection of a server with a recorder."""
    responses: list[Response] = []

    def record_span(response: Response) -> str:
        responses.append(response)
        return ""

    async def main() -> None:
        recorder = ResponseRecorder(
            Model("test", "abc"), ["X-Client"], access_log=False, record_span=record_span
        )
        server = FakeHttpServer(make_predictor(recorder=recorder), fast_path=fast_path)
        connection = server.connect()
        await asyncio.wait_for(scenario(server, connection, responses), 60)
        connection.lose()
        await server.settle(connection)
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
@pytest.mark.parametrize("body", [BODY, b"{}", b" " * 4_001], ids=["200", "400", "413"])
def test_response_has_the_request_id_and_a_record(body: bytes, fast_path: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport, records: list[Response]) -> None:
        headers = ("X-Request-Id: r-1", "X-Client: a", "X-Client: b", "X-Other: c", "Traceparent: 00-1")
        connection.protocol.data_received(request(*headers, body=body))
        await server.settle(connection)
        (response,) = connection.responses
        assert response.headers["x-request-id"] == "r-1"
        (record,) = records
        assert (record.protocol, record.code) == ("v1", str(response.status))
        assert record.rows == (response.status == 200)
        assert record.context.headers == {"x-request-id": "r-1", "x-client": "a", "traceparent": "00-1"}

    run(scenario, fast_path=fast_path)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
def test_each_request_of_a_connection_has_its_own_context(fast_path: bool) -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport, records: list[Response]) -> None:
        for headers in (("X-Request-Id: r-1",), (), ("X-Request-Id: r-2",)):
            connection.protocol.data_received(request(*headers))  # also while the one before is served
        await server.settle(connection)
        ids = [response.headers["x-request-id"] for response in connection.responses]
        assert (ids[0], ids[2], len(set(ids))) == ("r-1", "r-2", 3)
        assert [record.context.request_id for record in records] == ids

    run(scenario, fast_path=fast_path)


def test_disconnected_client_has_a_record() -> None:
    async def scenario(server: FakeHttpServer, connection: FakeTransport, records: list[Response]) -> None:
        connection.protocol.data_received(request("X-Request-Id: r-1"))
        connection.lose()
        await wait_until(lambda: bool(records))
        assert [(record.code, record.context.request_id) for record in records] == [("499", "r-1")]

    run(scenario)
