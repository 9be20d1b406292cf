# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import gzip
import time
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.http2_client import HEAD_FIELDS, Http2Client
from tidegate_serving.errors import BodyTooLargeError, ErrorCode, RequestError
from tidegate_serving.grpc.http2 import frames
from tidegate_serving.grpc.http2.calls import (
    CallError,
    GrpcApplication,
    decompress,
    encode_error,
    parse_timeout,
)
from tidegate_serving.grpc.http2.frames import DEFAULT_WINDOW, END_STREAM, MAX_FRAME_BYTES, frame
from tidegate_serving.grpc.servicer import Call, Method

MAX_BYTES = 100_000


class EchoMethod:
    """A method that returns its message, or leaves the response to the test."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.messages: list[bytes] = []
        self.responds = True
        self.cancelled = 0
        self.error: RequestError | None = None
        self.method = Method(self.start, self.reject)

    def start(self, message: bytes, call: Call) -> Any:
        self.calls.append(call)
        self.messages.append(message)
        if self.error is not None:
            call.reject(self.error)
        elif self.responds:
            call.respond(message)
        else:
            return self
        return None

    def reject(self, error: RequestError, call: Call) -> None:
        call.trailing_metadata = (("x-request-id", "7"),)
        call.reject(error)

    def cancel(self) -> None:
        self.cancelled += 1


def run(scenario: Callable[[Http2Client, EchoMethod], None]) -> None:
    async def main() -> None:
        echo = EchoMethod()
        client = Http2Client(GrpcApplication({"/a": echo.method}, MAX_BYTES), window=1 << 20)
        scenario(client, echo)
        client.transport.lose()

    asyncio.run(main())


def prefixed(message: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + len(message).to_bytes(4) + message


def error_fields(client: Http2Client) -> dict[str, str]:
    """The fields of a response without a message."""
    each = client.read()
    assert each[0].flags & END_STREAM
    assert [one.kind for one in each[1:]] in ([], [frames.RST_STREAM])
    fields = client.fields(each[0])
    assert fields[":status"] == "200"
    assert fields["content-type"] == "application/grpc"
    return fields | {"grpc-message": unquote(fields["grpc-message"])}


def with_field(name: str, value: str) -> list[tuple[str, str]]:
    return [(key, old) for key, old in HEAD_FIELDS if key != name] + [(name, value)]


def test_call_returns_the_message_and_ok() -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        client.write(client.request(1, prefixed(b"hello")))
        head, data, trailers = client.read()
        assert client.fields(head) == {":status": "200", "content-type": "application/grpc"}
        assert data.payload == prefixed(b"hello")
        assert client.fields(trailers) == {"grpc-status": "0"}
        assert echo.calls[0].deadline is None

    run(scenario)


@given(st.lists(st.integers(0, 9), max_size=8), st.binary(max_size=30), st.booleans())
def test_message_in_arbitrary_frames_is_the_same(sizes: list[int], message: bytes, apart: bool) -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        content, rest = client.headers(1), prefixed(message)
        for size in sizes:
            content += frame(frames.DATA, 0, 1, rest[:size])
            rest = rest[size:]
        content += frame(frames.DATA, 0 if apart else END_STREAM, 1, rest)
        client.write(content + (frame(frames.DATA, END_STREAM, 1) if apart else b""))
        assert echo.messages == [message]

    run(scenario)


def test_long_message_gets_the_window_that_it_needs() -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        body = prefixed(bytes(90_000))
        client.write(client.headers(1) + frame(frames.DATA, 0, 1, body[:10]))
        (update,) = client.read()
        assert (update.stream, int.from_bytes(update.payload)) == (1, len(body) - DEFAULT_WINDOW)
        for start in range(10, len(body), MAX_FRAME_BYTES):
            client.write(frame(frames.DATA, 0, 1, body[start : start + MAX_FRAME_BYTES]))
        client.write(frame(frames.DATA, END_STREAM, 1))
        assert echo.messages == [bytes(90_000)]

    run(scenario)


@pytest.mark.parametrize("ended", [True, False])
def test_too_long_message_is_rejected_by_its_prefix(ended: bool) -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        data = frame(frames.DATA, END_STREAM if ended else 0, 1, b"\0" + (MAX_BYTES + 1).to_bytes(4))
        client.write(client.headers(1) + data)
        fields = error_fields(client)
        assert fields["grpc-status"] == "3"
        assert fields["grpc-message"] == str(BodyTooLargeError(MAX_BYTES))
        assert fields["x-request-id"] == "7"
        if not ended:
            client.write(frame(frames.DATA, 0, 1, bytes(1_000)))
        assert client.read() == []
        assert echo.messages == []

    run(scenario)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", "12", "received none"),
        (b"\0\0", "13", "expected a prefix of 5 bytes, received 2"),
        (b"\0\0\0\0\x09abc", "13", "expected 9 bytes, received 3"),
        (prefixed(b"a") + prefixed(b"b"), "12", "expected one, received more"),
        (prefixed(b"a", compressed=1), "13", "grpc-encoding"),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_body_that_is_not_one_message_is_an_error(
    body: bytes, status: str, words: str, in_pieces: bool
) -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        if in_pieces:
            pieces = b"".join(frame(frames.DATA, 0, 1, bytes([byte])) for byte in body)
            client.write(client.headers(1) + pieces + frame(frames.DATA, END_STREAM, 1))
        else:
            client.write(client.request(1, body))
        fields = error_fields(client)
        assert fields["grpc-status"] == status
        assert words in fields["grpc-message"]
        assert echo.messages == []

    run(scenario)


def test_head_without_a_body_is_no_call() -> None:
    def scenario(client: Http2Client, _: EchoMethod) -> None:
        client.write(client.headers(1, flags=END_STREAM))
        assert error_fields(client)["grpc-status"] == "12"

    run(scenario)


@pytest.mark.parametrize(
    ("name", "value", "http_status", "words"),
    [
        (":method", "GET", "405", "expected POST"),
        ("content-type", "application/json", "415", "received 'application/json'"),
        ("content-type", "application/grpc-web", "415", "received 'application/grpc-web'"),
    ],
)
def test_request_that_is_no_call_gets_a_text(name: str, value: str, http_status: str, words: str) -> None:
    def scenario(client: Http2Client, _: EchoMethod) -> None:
        pseudo = [(key, value if key == name else old) for key, old in HEAD_FIELDS]
        client.write(client.headers(1, pseudo))
        assert client.read() == []
        client.write(frame(frames.DATA, END_STREAM, 1, b"x"))
        head, data = client.read()
        assert client.fields(head)[":status"] == http_status
        assert words in data.payload.decode()
        assert data.flags & END_STREAM

    run(scenario)


@pytest.mark.parametrize("value", ["application/grpc+proto", "application/grpc;charset=utf-8"])
def test_content_type_may_have_a_suffix(value: str) -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        client.write(client.request(1, prefixed(b"a"), with_field("content-type", value)))
        assert echo.messages == [b"a"]

    run(scenario)


def test_unknown_path_is_unimplemented() -> None:
    def scenario(client: Http2Client, _: EchoMethod) -> None:
        client.write(client.request(1, b"", [*HEAD_FIELDS[:2], (":path", "/b"), HEAD_FIELDS[3]]))
        fields = error_fields(client)
        assert fields["grpc-status"] == "12"
        assert fields["grpc-message"] == "Method not found!"

    run(scenario)


def test_timeout_becomes_a_deadline() -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        before = time.perf_counter()
        client.write(client.request(1, prefixed(b""), [*HEAD_FIELDS, ("grpc-timeout", "2S")]))
        assert before + 2 <= (echo.calls[0].deadline or 0) <= time.perf_counter() + 2
        client.read()
        client.write(client.request(3, prefixed(b""), [*HEAD_FIELDS, ("grpc-timeout", "2")]))
        fields = error_fields(client)
        assert fields["grpc-status"] == "3"
        assert "received '2'" in fields["grpc-message"]

    run(scenario)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5n", 5e-9), ("6u", 6e-6), ("7m", 7e-3), ("8M", 480), ("9H", 32_400), ("0S", 0)]
)
def test_parse_timeout_units(text: str, seconds: float) -> None:
    assert parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "٣S", "1 S"])
def test_parse_timeout_of_another_form_raises(text: str) -> None:
    with pytest.raises(CallError, match="expected at most 8 digits"):
        parse_timeout(text)


def test_error_has_a_percent_encoded_message() -> None:
    block = encode_error("NOT_FOUND", "100 % of 'ä'\n")
    assert b"100 %25 of '%C3%A4'%0A" in block


def test_rejected_call_has_status_message_and_metadata() -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        echo.error = RequestError("Model 'é' not found.", ErrorCode.NOT_FOUND)
        client.write(client.request(1, prefixed(b"a")))
        fields = error_fields(client)
        assert (fields["grpc-status"], fields["grpc-message"]) == ("5", "Model 'é' not found.")

    run(scenario)


def test_response_has_the_trailing_metadata() -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        echo.responds = False
        client.write(client.request(1, prefixed(b"a"), [*HEAD_FIELDS, ("x-request-id", "9")]))
        (call,) = echo.calls
        assert call.metadata["x-request-id"] == "9"
        assert call.client == ""
        call.trailing_metadata = (("x-request-id", "9"),)
        assert call.respond(b"b")
        assert client.fields(client.read()[-1]) == {"grpc-status": "0", "x-request-id": "9"}
        assert not call.respond(b"c")

    run(scenario)


def test_reset_cancels_the_pending_call() -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        echo.responds = False
        client.write(client.request(1, prefixed(b"a")) + client.headers(3))
        client.write(frames.rst_stream(1, 8) + frames.rst_stream(3, 8))
        assert echo.cancelled == 1
        assert not echo.calls[0].respond(b"a")

    run(scenario)


# Compression


def raw_deflate(message: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(message) + compressor.flush()


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_message_is_decompressed(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    def scenario(client: Http2Client, echo: EchoMethod) -> None:
        fields = [*HEAD_FIELDS, ("grpc-encoding", encoding)]
        client.write(client.request(1, prefixed(compress(b"hello"), 1), fields))
        client.write(client.request(3, prefixed(b"plain"), fields))
        assert echo.messages == [b"hello", b"plain"]

    run(scenario)


def test_unknown_encoding_names_the_known_ones() -> None:
    def scenario(client: Http2Client, _: EchoMethod) -> None:
        client.write(client.request(1, prefixed(b"a", 1), [*HEAD_FIELDS, ("grpc-encoding", "snappy")]))
        fields = error_fields(client)
        assert fields["grpc-status"] == "12"
        assert fields["grpc-accept-encoding"] == "identity,deflate,gzip"

    run(scenario)


def test_decompress_too_long_message_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(BodyTooLargeError):
        decompress(bomb, "gzip", 1_000)
    assert decompress(gzip.compress(bytes(1_000)), "gzip", 1_000) == bytes(1_000)


OTHER_BYTES = {
    "empty": (b"", "gzip"),
    "plain": (b"plain", "gzip"),
    "part": (gzip.compress(b"a")[:-1], "gzip"),
    "more": (gzip.compress(b"a") + b"b", "gzip"),
    "deflate as gzip": (zlib.compress(b"a"), "gzip"),
    "raw deflate": (raw_deflate(b"a"), "deflate"),
    "identity": (b"a", "identity"),
    "none": (b"a", None),
}


@pytest.mark.parametrize("name", OTHER_BYTES)
def test_decompress_other_bytes_raises(name: str) -> None:
    content, encoding = OTHER_BYTES[name]
    with pytest.raises(CallError) as caught:
        decompress(content, encoding, 1_000)
    assert caught.value.status == "INTERNAL"
