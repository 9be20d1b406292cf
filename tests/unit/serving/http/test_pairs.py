# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tests.support.contracts import MATRIX
from tests.support.fake_connection import FakeHttpServer
from tests.support.stub_service import FailingEngine, StubPredictor, make_predictor
from tidegate_serving.http.pairs import pairs_route
from tidegate_serving.http.responses import http_exception_response
from tidegate_serving.observability.pairs import PairRecorder

BODY = b'{"instances": [[1, 2], [3, 4]]}'


@pytest.fixture
def predictor() -> Iterator[StubPredictor]:
    predictor = make_predictor()
    predictor.service.pairs = PairRecorder(MATRIX, 1)
    yield predictor
    predictor.service.close()


def post(predictor: StubPredictor, *headers: str, body: bytes = BODY, fast_path: bool = True) -> int:
    """Send a request on a connection of its own, and return the response's status."""
    lines = ["POST /v1/models/test:predict HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]

    async def main() -> int:
        server = FakeHttpServer(predictor, fast_path=fast_path)
        connection = server.connect()
        connection.protocol.data_received("\r\n".join([*lines, "", ""]).encode() + body)
        await asyncio.wait_for(server.settle(connection), 60)
        connection.lose()
        (response,) = connection.responses
        return response.status

    return asyncio.run(main())


def get(predictor: StubPredictor, path: str) -> httpx.Response:
    app = Starlette(
        routes=[pairs_route(predictor.service)], exception_handlers={HTTPException: http_exception_response}
    )

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get(path)

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_pairs_are_those_of_both_paths(predictor: StubPredictor) -> None:
    for fast_path in (True, False):
        assert post(predictor, "X-Request-Id: r-1", fast_path=fast_path) == 200
    document = get(predictor, "/pairs").json()
    samples = document.pop("samples")
    assert samples[:2] == samples[2:]
    assert [label for _, _, label, _ in samples[:2]] == [2, 6]
    pairs: Any = predictor.service.pairs
    assert document == {"digest": "d" * 64, "epoch": pairs.epoch, "next": 4}
    assert get(predictor, "/pairs?after=3").json()["samples"] == samples[3:]


@pytest.mark.parametrize("headers", [(), ("X-Request-Id;: r-1",)])
def test_request_without_id_has_no_pair(headers: tuple[str, ...], predictor: StubPredictor) -> None:
    post(predictor, *headers)
    assert get(predictor, "/pairs").json()["samples"] == []


def test_error_response_has_no_pair(predictor: StubPredictor) -> None:
    assert post(predictor, "X-Request-Id: r-1", body=b"{}") == 400
    failing = make_predictor(FailingEngine())
    failing.service.pairs = PairRecorder(MATRIX, 1)
    assert post(failing, "X-Request-Id: r-1") == 500
    failing.service.close()
    for each in (predictor, failing):
        assert get(each, "/pairs").json()["samples"] == []


def test_failure_of_the_sample_does_not_fail_the_request(
    predictor: StubPredictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PairRecorder, "record", lambda *_: 1 / 0)
    assert post(predictor, "X-Request-Id: r-1") == 200
    assert "cannot be sampled" in caplog.text


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 19, "٣"])
def test_after_that_is_no_number_is_400(after: str, predictor: StubPredictor) -> None:
    response = get(predictor, f"/pairs?after={after}")
    assert response.status_code == 400
    assert "after: expected a number" in response.json()["error"]
