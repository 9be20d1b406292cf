# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tidegate_serving.grpc.http2 import frames


def test_frame_has_length_type_flags_and_stream() -> None:
    assert frames.frame(frames.PING, frames.ACK, 0, b"12345678") == b"\0\0\x08\x06\x01\0\0\0\x0012345678"
    assert frames.rst_stream(5, frames.ErrorCode.CANCEL) == b"\0\0\x04\x03\0\0\0\0\x05\0\0\0\x08"
    assert frames.window_update(0, 9) == b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x09"
    assert frames.goaway(7, 1, "x") == b"\0\0\x09\x07\0\0\0\0\0\0\0\0\x07\0\0\0\x01x"


def test_settings_return_the_last_value_of_each() -> None:
    frame = frames.settings(((1, 2), (3, 4), (1, 5)))
    assert frame[:9] == b"\0\0\x12\x04\0\0\0\0\0"
    assert frames.parse_settings(frame[9:]) == {1: 5, 3: 4}
