# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_serving.http import head as head_module
from tidegate_serving.http.head import RequestHead, RequestHeadParser

PATHS = {b"/v1/models/m:predict": "v1", b"/v2/models/m/infer": "v2"}
MAX_BODY_BYTES = 1_000


def parse(
    *lines: str, path: str = "/v2/models/m/infer", line: str = "POST {} HTTP/1.1"
) -> RequestHead | None:
    head = "\r\n".join([line.format(path), "Host: x", *lines, "", ""])
    return RequestHeadParser(PATHS, MAX_BODY_BYTES).parse(head.encode("latin-1"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Content-Length: 5"], RequestHead("v2", 5, None, None)),
        (["content-length: 1000"], RequestHead("v2", 1_000, None, None)),
        (["Content-Length: 5", "Connection: Keep-Alive"], RequestHead("v2", 5, None, None)),
        (["Content-Length: 5", "Content-Encoding: identity"], RequestHead("v2", 5, None, None)),
        (["Content-Length: 5", "Accept-Encoding: gzip"], RequestHead("v2", 5, None, None)),
        (
            ["Content-Length: 5", "Content-Type: application/json; charset=utf-8"],
            RequestHead("v2", 5, None, None),
        ),
        (
            [
                "Content-Length: 5",
                "Inference-Header-Content-Length: 3",
                "Content-Type: application/octet-stream",
            ],
            RequestHead("v2", 5, 3, None),
        ),
        (["Content-Length: 5", "X-Request-Timeout-Ms: 250"], RequestHead("v2", 5, None, 0.25)),
        (["Content-Length: 5", "X-Envoy-Expected-Rq-Timeout-Ms: 500"], RequestHead("v2", 5, None, 0.5)),
    ],
)
def test_parse_plain_head_returns_its_fields(lines: list[str], expected: RequestHead) -> None:
    assert parse(*lines) == expected


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Content-Length: 0"],
        ["Content-Length: 1001"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Expect: 100-continue"],
        ["Content-Length: 5", "Connection: close"],
        ["Content-Length: 5", "Connection: upgrade", "Upgrade: websocket"],
        ["Content-Length: 5", "Content-Encoding: gzip"],
        ["Content-Length: 5", "Content-Type: text/plain"],
        ["Content-Length: 5", "Content-Type: application/octet-stream"],
        ["Content-Length: 5", "Inference-Header-Content-Length: x"],
        ["Content-Length: 5", "X-Request-Timeout-Ms: soon"],
        ["Content-Length: 5", "X-Request-Timeout-Ms: 1", "x-request-timeout-ms: 2"],
        ["Content-Length: 5", "Content-Type: application/json\r\n text/plain"],
        ["Content-Length: 5\nX: y"],
    ],
)
def test_parse_head_that_is_not_plain_returns_none(lines: list[str]) -> None:
    assert parse(*lines) is None


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/v2/models/other/infer", "POST {} HTTP/1.1"),
        ("/v2/models/m/infer?a=b", "POST {} HTTP/1.1"),
        ("/v2/models/%6d/infer", "POST {} HTTP/1.1"),
        ("/v2/models/m/infer", "GET {} HTTP/1.1"),
        ("/v2/models/m/infer", "POST {} HTTP/1.0"),
        ("/v2/models/m/infer", "POST {}"),
    ],
)
def test_parse_other_request_line_returns_none(path: str, line: str) -> None:
    assert parse("Content-Length: 5", path=path, line=line) is None


def test_parse_v1_ignores_the_length_of_json() -> None:
    lines = ("Content-Length: 5", "Inference-Header-Content-Length: 3")
    assert parse(*lines, path="/v1/models/m:predict") == RequestHead("v1", 5, None, None)


def test_parse_repeated_head_uses_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = RequestHeadParser(PATHS, MAX_BODY_BYTES)  # type: ignore[arg-type]
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    first = parser.parse(head)
    monkeypatch.setattr(head_module.httptools, "HttpRequestParser", None)
    assert parser.parse(head) is first is not None


def test_parse_head_of_another_trace_uses_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = RequestHeadParser(PATHS, MAX_BODY_BYTES, frozenset({"x-request-id", "b3"}))  # type: ignore[arg-type]
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nX-Request-Id: %d\r\nContent-Length: 5\r\nb3: %d-1\r\n\r\n"
    parser.parse(head % (1, 1))
    monkeypatch.setattr(head_module.httptools, "HttpRequestParser", None)
    assert parser.parse(head % (2, 3)) == RequestHead("v2", 5, None, None, {"x-request-id": "2", "b3": "3-1"})


header_lines = st.sampled_from(
    [
        *("Content-Length: 5", "content-length: 50", "Transfer-Encoding: chunked", "X-Request-Timeout-Ms: 7"),
        *("X-Request-Id: a", "X-Request-Id: a b", "x-request-id:a", "x-request-id : a", "X-Request-Id: "),
        *("traceparent: 00-a", "b3: 0", "b3: \x00", "b3: a\nContent-Length: 50", "b3: a\rContent-Length: 50"),
        *(" folded", "\tb3: 1", "", "Host: x", "A: b3: 1", ":", "x-b3-traceid: 1", "x-b3-: 1"),
    ]
)


@given(st.lists(header_lines, max_size=8))
def test_parse_with_the_cache_equals_the_parser(lines: list[str]) -> None:
    head = "\r\n".join(["POST /v2/models/m/infer HTTP/1.1", *lines, "", ""]).encode("latin-1")
    head = head[: head.find(b"\r\n\r\n") + 4]
    parser = RequestHeadParser(PATHS, MAX_BODY_BYTES)  # type: ignore[arg-type]
    assert parser.parse(head) == parser._parse_uncached(head)


def test_cache_is_bounded_in_heads_and_bytes() -> None:
    parser = RequestHeadParser(PATHS, MAX_BODY_BYTES)  # type: ignore[arg-type]
    for number in range(3_000):
        parser.parse(b"POST / HTTP/1.1\r\nHost: %d\r\n\r\n" % number)
    parser.parse(b"POST / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"x" * 5_000))
    assert len(parser._cache) <= 1_024
    assert max(map(len, parser._cache)) <= 2_048


@given(st.binary(max_size=200))
def test_parse_arbitrary_bytes_returns_none(content: bytes) -> None:
    assert RequestHeadParser(PATHS, MAX_BODY_BYTES).parse(content) is None  # type: ignore[arg-type]
