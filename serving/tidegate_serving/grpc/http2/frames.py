# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The frames of HTTP/2: their layout, their codes, and the frames that a server sends.

From RFC 9113, sections 4, 6 and 7. The meaning of frames is in
:mod:`tidegate_serving.grpc.http2.connection`.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of each client."""

HEAD = Struct(">IBI")
"""The head of a frame: the length of its payload and its type, its flags, and its stream."""

HEAD_BYTES = HEAD.size

MAX_FRAME_BYTES = 16_384
"""The longest payload that the server accepts, which is the shortest limit that HTTP/2 allows.

Clients send a longer message in several frames.
"""

MAX_WINDOW = (1 << 31) - 1
"""The largest window of flow control, and the largest number of a stream."""

DEFAULT_WINDOW = 65_535
"""The window of a new stream and of a new connection."""

# Types
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

# Flags
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

# Settings
HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

_SETTING = Struct(">HI")
_CODE = Struct(">I")
_GOAWAY = Struct(">II")


class ErrorCode(IntEnum):
    """The reason for the end of a stream or of a connection."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB
    HTTP_1_1_REQUIRED = 0xD


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Build a frame.

    Args:
        kind: The type.
        flags: The flags.
        stream_id: The stream; 0 is the connection.
        payload: The payload.
    """
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Build a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*value) for value in values))


def parse_settings(payload: bytes) -> dict[int, int]:
    """Return the values of a SETTINGS frame; of a setting that occurs twice, the last one."""
    return dict(_SETTING.iter_unpack(payload))


def rst_stream(stream_id: int, code: int) -> bytes:
    """Build a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, _CODE.pack(code))


def goaway(last_stream_id: int, code: int, message: str = "") -> bytes:
    """Build a GOAWAY frame.

    Args:
        last_stream_id: The last stream whose request the server has accepted.
        code: The reason.
        message: A message for the client's log.
    """
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code) + message.encode())


def window_update(stream_id: int, increment: int) -> bytes:
    """Build a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream_id, _CODE.pack(increment))


def parse_uint32(payload: bytes) -> int:
    """Return the number that a payload of four bytes holds."""
    value: int = _CODE.unpack(payload)[0]
    return value
