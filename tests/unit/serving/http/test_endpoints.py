# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from tests.support.stub_service import FailingEngine, StubPredictor, make_predictor
from tidegate_serving.http import endpoints

ROW = {"instances": [[1, 2]]}


@pytest.fixture
def predictor() -> Iterator[StubPredictor]:
    predictor = make_predictor()
    yield predictor
    predictor.service.close()


class Client:
    """A client of the application, without a socket."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app)

    def get(self, path: str) -> httpx.Response:
        return self._send("GET", path)

    def post(self, path: str, **content: Any) -> httpx.Response:
        return self._send("POST", path, **content)

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        async def main() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://server") as client:
                return await client.request(method, path, **content)

        return asyncio.run(asyncio.wait_for(main(), 60))


def application_of(predictor: Any, **options: Any) -> Starlette:
    async def kserve(_: object) -> PlainTextResponse:
        return PlainTextResponse("KServe")

    app = Starlette(routes=[Route("/v2", kserve), Route("/metrics", kserve), Route("/openapi.json", kserve)])
    app.openapi_url = "/openapi.json"  # type: ignore[attr-defined]
    endpoints.install(app, predictor, **options)
    return app


def client_of(predictor: Any, **options: Any) -> Client:
    return Client(application_of(predictor, **options))


def test_install_precedes_kserves_routes_and_keeps_the_rest(predictor: StubPredictor) -> None:
    client = client_of(predictor)
    assert client.get("/v2").json()["name"] == "tidegate"
    assert client.get("/metrics").text == "KServe"
    assert client.get("/openapi.json").status_code == 404


def test_install_without_metrics_hides_kserves_endpoint(predictor: StubPredictor) -> None:
    assert client_of(predictor, exposes_metrics=False).get("/metrics").status_code == 404


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/test/ready", "/v1/models/test"])
def test_readiness_follows_the_predictor(path: str, predictor: StubPredictor) -> None:
    client = client_of(predictor)
    assert client.get(path).status_code == 200
    predictor.ready = False
    assert client.get(path).status_code == 503
    assert client.get("/v2/health/live").status_code == 200


def test_inference_before_the_model_is_ready_is_503(predictor: StubPredictor) -> None:
    predictor.ready = False
    response = client_of(predictor).post("/v1/models/test:predict", json=ROW)
    assert response.status_code == 503
    assert "test is not ready" in response.json()["error"]
    assert predictor.counts("tidegate_requests_rejected_total") == {("unavailable",): 1}


def test_engine_failure_is_500_without_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    predictor = make_predictor(FailingEngine())
    response = client_of(predictor).post("/v1/models/test:predict", json=ROW)
    predictor.service.close()
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "secret cause" in caplog.text
    assert predictor.counts("tidegate_requests_total") == {("500", "v1"): 1}


@pytest.mark.parametrize(
    ("path", "operation"),
    [("/v1/models/test:explain", "explain"), ("/v2/repository/models/test/unload", "unload")],
)
def test_unimplemented_operation_is_501(path: str, operation: str, predictor: StubPredictor) -> None:
    response = client_of(predictor).post(path)
    assert response.status_code == 501
    assert f"'{operation}' is not implemented" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models/test:predict", "expected application/json, received 'text/plain'"),
        (
            "/v2/models/test/infer",
            "expected application/json, or application/octet-stream with the header "
            "Inference-Header-Content-Length, received 'text/plain'",
        ),
    ],
)
def test_other_content_type_is_415(path: str, expected: str, predictor: StubPredictor) -> None:
    response = client_of(predictor).post(path, content=b"x", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    assert response.json()["error"] == f"Content-Type: {expected}."


@pytest.mark.parametrize("chunked", [False, True])
def test_body_above_the_limit_is_413_and_closes(chunked: bool, predictor: StubPredictor) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1_000

    content = chunks() if chunked else b" " * 5_000
    response = client_of(predictor).post("/v1/models/test:predict", content=content)
    assert response.status_code == 413
    assert response.headers["connection"] == "close"
    assert "at most 4000 bytes" in response.json()["error"]
    assert predictor.counts("tidegate_requests_rejected_total") == {("content_too_large",): 1}


class Chunk(bytes):
    """A part of a body, which a test can see in memory."""

    def __init__(self, _: bytes) -> None:
        self.token = Token()


class Token:
    """An object with weak references, which bytes do not have."""


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("aborted", [False, True])
def test_body_that_is_not_complete_is_freed_at_once(aborted: bool, predictor: StubPredictor) -> None:
    tokens: list[weakref.ref[Token]] = []

    async def receive() -> Message:
        if aborted and tokens:
            return {"type": "http.disconnect"}
        chunk = Chunk(b" " * 1_000)
        tokens.append(weakref.ref(chunk.token))
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(_: Message) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/models/test:predict", "headers": []}
    asyncio.run(application_of(predictor)(scope, receive, send))
    assert len(tokens) == (1 if aborted else 5)
    assert [token() for token in tokens] == [None] * len(tokens)


def test_rows_above_the_limit_are_413_and_keep_the_connection(predictor: StubPredictor) -> None:
    body = json.dumps({"instances": [[1, 2]] * 21})
    response = client_of(predictor).post("/v1/models/test:predict", content=body)
    assert response.status_code == 413
    assert "connection" not in response.headers
    assert "at most 20 rows, received 21" in response.json()["error"]
    assert predictor.counts("tidegate_requests_rejected_total") == {("content_too_large",): 1}
