# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate_serving.grpc.http2.headers import (
    MAX_HEADER_BYTES,
    HeadersTooLargeError,
    MalformedHeadersError,
    RequestHeads,
    parse_request_headers,
)
from tidegate_serving.grpc.http2.hpack import Field, encode

PSEUDO: list[Field] = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x")]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        PSEUDO[1:],
        [PSEUDO[0], PSEUDO[2]],
        PSEUDO[:2],
        [*PSEUDO, (":path", "/b")],
        [*PSEUDO, (":status", "200")],
        [*PSEUDO, (":unknown", "")],
        [("a", "b"), *PSEUDO],
        [*PSEUDO[:2], (":path", "")],
        [*PSEUDO, ("Upper", "a")],
        [*PSEUDO, ("", "a")],
        [*PSEUDO, ("a b", "a")],
        [*PSEUDO, ("connection", "close")],
        [*PSEUDO, ("transfer-encoding", "chunked")],
        [*PSEUDO, ("te", "gzip")],
        [*PSEUDO, ("a", "b\r\nc: d")],
        [*PSEUDO, ("a", "b\0")],
        [*PSEUDO, ("a", "b\n"), ("a", "c")],
    ],
)
def test_parse_malformed_fields_raise(fields: list[Field]) -> None:
    for _ in range(2):  # the second time, the names may be known
        with pytest.raises(MalformedHeadersError):
            parse_request_headers(fields)


@pytest.mark.parametrize(
    "fields",
    [
        PSEUDO,
        PSEUDO[:3],
        [*PSEUDO, ("te", "trailers"), ("grpc-timeout", "1S")],
        [*PSEUDO, ("a", "b | c"), ("b", "d e"), ("c", "é\x7f\xa0"), ("d", " ")],
    ],
)
def test_parse_valid_fields_by_name(fields: list[Field]) -> None:
    for _ in range(2):
        assert parse_request_headers(fields) == dict(fields)


def test_parse_fields_that_occur_twice_have_the_last_value() -> None:
    assert parse_request_headers([*PSEUDO, ("a", "b"), ("a", "c")])["a"] == "c"


def test_parse_fields_up_to_the_limit() -> None:
    size = MAX_HEADER_BYTES - sum(len(name) + len(value) + 32 for name, value in PSEUDO) - 33
    for _ in range(2):  # the second time, the names are known
        assert len(parse_request_headers([*PSEUDO, ("a", "b" * size)])["a"]) == size
        with pytest.raises(HeadersTooLargeError):
            parse_request_headers([*PSEUDO, ("a", "b" * (size + 1))])
    with pytest.raises(HeadersTooLargeError):
        parse_request_headers([*PSEUDO, *[("a", "b")] * 600])


def test_heads_repeated_block_is_decoded_once() -> None:
    heads, block = RequestHeads(), encode(PSEUDO)
    assert heads.decode(block) is heads.decode(block)


def test_heads_block_after_a_change_of_the_table_is_decoded_again() -> None:
    heads = RequestHeads()
    start = encode(PSEUDO)
    heads.decode(start + b"\x40\x01a\x01b")
    assert heads.decode(start + b"\xbe")["a"] == "b"
    heads.decode(start + b"\x40\x01a\x01c")
    assert heads.decode(start + b"\xbe")["a"] == "c"
    heads.decode_trailers(b"\x40\x01a\x01d")
    assert heads.decode(start + b"\xbe")["a"] == "d"


def test_heads_rejected_block_changes_the_table() -> None:
    heads = RequestHeads()
    start = encode(PSEUDO)
    heads.decode(start + b"\x40\x01a\x01b")
    assert heads.decode(start + b"\xbe")["a"] == "b"
    with pytest.raises(HeadersTooLargeError):
        heads.decode(start + b"\x40\x01a\x01c" + encode([("x", "y" * MAX_HEADER_BYTES)]))
    assert heads.decode(start + b"\xbe")["a"] == "c"
    with pytest.raises(MalformedHeadersError):
        heads.decode(start + b"\x40\x01a\x01d" + encode([("X", "")]))
    assert heads.decode(start + b"\xbe")["a"] == "d"


def test_heads_malformed_trailers_raise() -> None:
    with pytest.raises(MalformedHeadersError):
        RequestHeads().decode_trailers(encode([(":path", "/a")]))
