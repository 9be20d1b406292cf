# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Arbitrary frames on a gRPC connection: the server ends it or serves it, and serves the next one."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.clients import infer_request, one_row
from tests.support.http2 import (
    PREFACE,
    ErrorCode,
    Flag,
    FrameType,
    Http2Connection,
    call_frames,
    call_headers,
    data_frame,
    encode_headers,
    frame,
    headers_frame,
    message,
    ping_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from tests.support.servers import LiveServer

streams = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1])
methods = st.sampled_from(["ServerLive", "ModelInfer", "ModelReady", "Unknown", ""])
windows = st.integers(0, 2**31 - 1)
fields = st.lists(
    st.tuples(
        st.sampled_from(
            ["x-a", "grpc-timeout", "grpc-encoding", "te", ":path", ":status", "X-B", "a-bin", "connection"]
        ),
        st.text(st.characters(max_codepoint=255), max_size=12),
    ),
    max_size=4,
)
blocks = st.builds(
    lambda method, further: encode_headers(call_headers(method, *further)), methods, fields
) | st.binary(max_size=40)

valid_frames = st.one_of(
    st.builds(call_frames, st.sampled_from([1, 3, 5, 7]), methods, st.binary(max_size=40)),
    st.builds(headers_frame, streams, blocks, st.sampled_from([0, 1, 4, 5])),
    st.builds(
        lambda stream, block, flags: frame(FrameType.CONTINUATION, flags, stream, block),
        streams,
        blocks,
        st.sampled_from([0, 4]),
    ),
    st.builds(
        lambda stream, content, flags: data_frame(stream, message(content), flags),
        streams,
        st.binary(max_size=40),
        st.sampled_from([0, 1]),
    ),
    st.builds(reset_frame, streams, st.sampled_from(ErrorCode)),
    st.builds(window_frame, streams, windows),
    st.builds(settings_frame, st.dictionaries(st.integers(0, 8), st.integers(0, 2**32 - 1), max_size=4)),
    st.builds(ping_frame, st.binary(min_size=8, max_size=8), st.sampled_from([0, Flag.ACK])),
)
arbitrary_frames = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    streams | st.integers(0, 2**32 - 1),
    st.binary(max_size=64),
)
"""Any type, flags and length."""

changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3)
"""Bytes that are replaced, by their place in the whole."""


@st.composite
def connections(draw: st.DrawFn) -> bytes:
    """Return the bytes of a client: frames, usually after a preface, with some bytes replaced."""
    content = bytearray(b"".join(draw(st.lists(valid_frames | arbitrary_frames, min_size=1, max_size=12))))
    for place, value in draw(changes):
        content[int(place * len(content))] = value
    beginning = draw(st.sampled_from([PREFACE + settings_frame({})] * 9 + [b""]))
    return beginning + bytes(content)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=connections(), piece=st.sampled_from([1, 7, 100_000]))
def test_arbitrary_frames_end_at_most_their_connection(
    content: bytes, piece: int, http2_server: LiveServer
) -> None:
    with Http2Connection(http2_server.grpc) as connection:
        for start in range(0, len(content), piece):
            if not connection.send(content[start : start + piece]):
                break
        connection.shut_down()
        connection.wait_for_end()
    assert http2_server.process.poll() is None
    with Http2Connection(http2_server.grpc, {}) as connection:
        assert connection.call(1, "ServerLive", b"").status == "0"


@pytest.mark.parametrize("piece", [1, 2, 3, 9, 10])
def test_call_in_pieces_is_served(piece: int, http2_server: LiveServer) -> None:
    request = infer_request(http2_server, one_row(http2_server), raw=True).SerializeToString()
    content = PREFACE + settings_frame({}) + call_frames(1, "ModelInfer", request)
    with Http2Connection(http2_server.grpc) as connection:
        for start in range(0, len(content), piece):
            connection.send(content[start : start + piece])
        assert connection.wait(1).status == "0"
