# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The same bytes through the fast path and through uvicorn alone: the responses must be equal."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_connection import FakeHttpServer
from tests.support.http_client import Response, parse_responses
from tests.support.stub_service import make_predictor
from tidegate_serving.codecs.request import Limits

PATHS = ("/v1/models/test:predict", "/v2/models/test/infer", "/v2/models/test/versions/abc/infer")
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


async def exchange(server: FakeHttpServer, chunks: Sequence[bytes], waits: bool) -> bytes:
    """Return the bytes that a client receives; it may wait for a response before the next chunk."""
    connection = server.connect()
    for chunk in chunks:
        if waits:
            await server.settle(connection)
        while connection.reading_paused and not connection.closing:
            await asyncio.sleep(0)
        if connection.closing:
            break
        connection.protocol.data_received(chunk)
    await server.settle(connection)
    connection.lose()
    await server.settle(connection)
    return connection.written


def converse(fast_path: bool, chunks: Sequence[bytes], waits: bool = True, **options: Any) -> bytes:
    async def main() -> bytes:
        server = FakeHttpServer(make_predictor(**options), fast_path=fast_path)
        try:
            return await asyncio.wait_for(exchange(server, chunks, waits), 60)
        finally:
            server.close()

    return asyncio.run(main())


def comparable(written: bytes) -> list[Response]:
    """The responses, without what always differs: ids that the server makes, and how late it would be."""
    responses = []
    for response in parse_responses(written):
        body = re.sub(rb'"id":"[0-9a-f]{32}-\d+"', b'"id":"new"', response.body)
        body = re.sub(rb"computed \d+\.\d{3} s after the deadline", b"computed late", body)
        headers = {**response.headers, "content-length": str(len(body))}
        responses.append(Response(replace(response.head, headers=headers), body))
    return responses


def post(body: bytes, path: str = PATHS[0], *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def v1_row(value: int) -> bytes:
    return json.dumps({"instances": [[value, 0.5]]}).encode()


def v2_row(value: int, **more: Any) -> bytes:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, None]}
    return json.dumps({"inputs": [entry], "id": str(value), **more}).encode()


PLAIN = post(v1_row(1))
PROBE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
TOO_MANY_ROWS = b'{"instances": [' + b",".join([b"[1,2]"] * 21) + b"]}"
V1_OUTPUTS = [
    b'{"instances": [[1, 2], [3, 4]], "parameters": {"outputs": %b}}' % outputs
    for outputs in (b'["probabilities"]', b'["label", "probabilities"]', b'["other"]', b'"label"', b"[]")
]

plain_requests = st.one_of(
    st.integers(0, 99).map(lambda value: post(v1_row(value))),
    st.integers(0, 99).map(lambda value: post(v2_row(value), PATHS[1], "X-Request-Timeout-Ms: 60000")),
    st.integers(0, 99).map(lambda value: post(v2_row(value), PATHS[2], "Connection: keep-alive")),
    st.sampled_from(
        [
            post(b"{}"),
            post(b'{"instances": [[1, true]]}'),
            post(b'{"instances": [[1, "1.5"], [2, 2]]}'),
            post(b'{"instances": [[null, 1]]}'),
            post(b'{"instances": [[1e39, 1]]}'),
            post(b'{"instances": [[%s, 1]]}' % (b"9" * 400)),
            post(b'{"instances": [{"a": 7, "b": null}, {"a": 8}]}'),
            post(TOO_MANY_ROWS),
            *map(post, V1_OUTPUTS),
            post(v2_row(3, outputs=[{"name": "label"}]), PATHS[1]),
            post(v2_row(3, parameters={"binary_data_output": True}), PATHS[1]),
            post(b"{", PATHS[1]),
        ]
    ),
)
other_requests = st.sampled_from(
    [
        PROBE,
        post(v1_row(5), PATHS[0], "X-Request-Timeout-Ms: soon"),
        post(v1_row(5), PATHS[0], "X-Request-Timeout-Ms: 0"),
        post(v1_row(5), PATHS[0], "Content-Type: text/plain"),
        post(v1_row(5), PATHS[0], "Content-Encoding: gzip"),
        post(v1_row(5), PATHS[0], "Expect: 100-continue"),
        post(v1_row(5), "/v1/models/other:predict"),
        post(v1_row(5), "/v2/models/test/versions/1/infer"),
        post(v1_row(5), PATHS[0] + "?a=b"),
        post(v1_row(5), "/v1/models/tes%74:predict"),
        post(b"", PATHS[0]),
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(v1_row(6)), v1_row(6)),
        b"GET " + PLAIN[5:],
    ]
)


@given(
    requests=st.lists(plain_requests | other_requests, min_size=1, max_size=6),
    data=st.data(),
    waits=st.booleans(),
)
@FUZZ
def test_requests_split_anywhere_equal_uvicorns_responses(
    requests: list[bytes], data: st.DataObject, waits: bool
) -> None:
    stream = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
    responses = comparable(converse(True, chunks, waits))
    assert responses == comparable(converse(False, requests))
    assert len(responses) == len(requests)


@given(data=st.data(), request=plain_requests | other_requests, value=st.integers(0, 99))
@FUZZ
def test_damaged_requests_equal_uvicorns_responses(data: st.DataObject, request: bytes, value: int) -> None:
    damaged = bytearray(request)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        damaged[start : start + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"\r\n", b"\n", b" ", b"\t", b"0", b":", b"\x00", b"\xff", b",", b"chunked"])
            | st.binary(max_size=3)
        )
    chunks = [bytes(damaged), post(v1_row(value)), PROBE]
    assert comparable(converse(True, chunks)) == comparable(converse(False, chunks))


@given(st.lists(st.binary(max_size=50), max_size=5))
@FUZZ
def test_arbitrary_bytes_get_an_error_or_no_response(chunks: list[bytes]) -> None:
    chunks = [chunk for chunk in chunks if chunk]
    written, sent = converse(True, chunks), b"".join(chunks)
    # The fast path buffers the beginning of a POST until its head is complete; uvicorn may reject it earlier.
    buffered = b"POST ".startswith(sent[:5]) and b"\r\n\r\n" not in sent
    assert written == (b"" if buffered else converse(False, chunks))


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 50",
        "Content-Length: 29\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 29",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding:\x0bchunked",
        "Content-Length: 29\r\n Transfer-Encoding: chunked",
        "Content-Length: 2\r\n 9",
        "Content-Length: +29",
        "Content-Length: 0x1d",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Content-Length : 29",
        "Content-Length: 29\nX: y",
        "Content-Length: 29\r\n\nX: y",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 29",
    ],
)
def test_smuggled_requests_equal_uvicorns_responses(head: str) -> None:
    stream = f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + v1_row(1) + PLAIN
    assert comparable(converse(True, [stream])) == comparable(converse(False, [stream]))


@pytest.mark.parametrize("options", [{"ready": False}, {"limits": Limits(20, 10)}])
def test_requests_that_cannot_be_served_equal_uvicorns_errors(options: dict[str, Any]) -> None:
    responses = comparable(converse(True, [PLAIN], **options))
    assert responses == comparable(converse(False, [PLAIN], **options))
    assert responses[0].status in (413, 503)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
@pytest.mark.parametrize(
    "request_",
    [
        post(TOO_MANY_ROWS),
        post(
            json.dumps(
                {"inputs": [{"name": "x", "datatype": "FP32", "shape": [21, 2], "data": [1] * 42}]}
            ).encode(),
            PATHS[1],
        ),
    ],
    ids=["v1", "v2"],
)
def test_too_many_rows_are_413_on_a_kept_connection(request_: bytes, fast_path: bool) -> None:
    too_large, next_response = parse_responses(converse(fast_path, [request_, PLAIN]))
    assert (too_large.status, too_large.head.reason) == (413, "Request Entity Too Large")
    assert "connection" not in too_large.headers
    assert re.search("at most 20 rows, received 21", too_large.json()["error"])
    assert next_response.status == 200


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "framework"])
def test_too_many_bytes_are_413_and_close_the_connection(fast_path: bool) -> None:
    request = post(b" " * 4_001)
    (response,) = parse_responses(converse(fast_path, [request, PLAIN]))
    assert response.status == 413
    assert response.closes
    assert "at most 4000 bytes" in response.json()["error"]


def test_v1_outputs_equal_uvicorns_responses() -> None:
    requests = list(map(post, V1_OUTPUTS))
    responses = comparable(converse(True, requests))
    assert responses == comparable(converse(False, requests))
    assert [response.status for response in responses] == [200, 200, 400, 400, 400]
    assert responses[0].json() == {"predictions": [[2.0, 2.0], [6.0, 6.0]]}
    assert responses[1].json() == {
        "predictions": [
            {"label": 2, "probabilities": [2.0, 2.0]},
            {"label": 6, "probabilities": [6.0, 6.0]},
        ]
    }


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/test/ready", "/v1/models/test"])
def test_readiness_before_the_model_is_ready_is_503(path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    (before,) = parse_responses(converse(True, [request], ready=False))
    assert (before.status, before.head.reason) == (503, "Service Unavailable")
    assert before.json().get("ready") is not True
    (after,) = parse_responses(converse(True, [request]))
    assert after.status == 200
    assert after.json()["ready"] is True
