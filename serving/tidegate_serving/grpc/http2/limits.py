# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The limits of a connection, which bound what a client can cost the server without a call.

Each attack on HTTP/2 of the last years sends frames that cost the receiver more than the sender. Such frames
draw on an allowance that grows with time and with calls. A client that exceeds it is disconnected.
"""

MAX_CONCURRENT_STREAMS = 256
"""Most calls of one connection at a time.

With it, incomplete messages of a connection hold at most about the memory of REST's default limit of a body,
because each has the default window of 64 KiB until its connection grants it more.
"""

CONNECTION_WINDOW = 4 << 20
"""Bytes that a client may send in advance on its connection: enough for 16 MB/s at a round trip of 250 ms."""

MAX_HEADER_BLOCK_BYTES = 65_536
"""The longest header block in all its frames.

It is several times the accepted size of the fields, so that metadata somewhat too large end only their call.
"""

MAX_CONTINUATIONS = 16
"""Most frames that continue a header block, which otherwise need not end (CVE-2024-27316)."""

HANDSHAKE_SECONDS = 10.0
"""The time from the connection to the client's preface and settings, and of TLS's handshake."""

STALL_SECONDS = 30.0
"""The time without progress after which a connection is closed.

It applies to a client that does not read its responses or opens no window for them, and to one that does not
continue a message.
"""

CLOSE_SECONDS = 5.0
"""The time that a closing connection has to send its last bytes."""

PING_SECONDS = 5.0
"""The time that a client has to confirm the first GOAWAY by its responses to PINGs."""

LINGER_SECONDS = 1.0
LINGER_BYTES = 8 << 20
"""The time that a client has to close a connection that has ended, and the bytes that are then discarded.

If the server closed it with unread frames in its socket, the kernel would reset it, and a last response that
is still in transit would be lost.
"""

MAX_RESETS = 1_000
RESETS_PER_SECOND = 100
RESETS_PER_RESPONSE = 1
"""Streams that end by RST_STREAM, at once, per second and per response.

They count whether the client resets them (rapid reset, CVE-2023-44487) or makes the server reset them by
invalid frames (MadeYouReset, CVE-2025-8671). A reset call costs no more than another one, because the batcher
drops it. Clients whose deadlines pass in an overload reset many calls, but receive responses, too.
"""

MAX_CONTROL_FRAMES = 2_000
CONTROL_FRAMES_PER_SECOND = 500
CONTROL_FRAMES_PER_CALL = 8
CONTROL_FRAMES_PER_DATA = 2
"""Frames without a part of a call, at once, per second, per call and per further frame of a long response.

They bound CVE-2019-9511 to CVE-2019-9518. A client in Go sends up to one PING and one WINDOW_UPDATE per
response while it measures its window, and any client may open both windows after each frame.
"""


class Allowance:
    """A number of events that a client may cause.

    Calls add to it without a maximum, until the next second of the connection's timeouts.

    Args:
        maximum: The most events at once.
        per_second: The events per second.
    """

    __slots__ = ("_maximum", "_per_second", "left")

    def __init__(self, maximum: int, per_second: int) -> None:
        self._maximum = maximum
        self._per_second = per_second
        self.left = maximum

    def grow(self) -> None:
        """Add the events of a second."""
        self.left = min(self._maximum, self.left + self._per_second)
