# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Flow control with h2, an independent client that raises if the server exceeds a window.

From RFC 9113, sections 5.2 and 6.9. The client begins with a window of any size and opens its windows in
steps of any size. Every response arrives completely in any order of the steps.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.protocol.clients import infer_request
from tests.support.http2 import call_headers, is_readable, message
from tests.support.servers import LiveServer
from tidegate.protocol.samples import sample_rows

MAX_CALLS = 6
ROWS = (1, 50, 2000)
"""Rows per call; with 2,000 rows, the request exceeds the window, and the response the size of a frame."""

_CHUNK = 65_536


class Client:
    """h2 on a socket."""

    def __init__(self, server: LiveServer, window: int) -> None:
        host, port = server.grpc.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.local_settings = Settings(
            client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        self.h2.initiate_connection()
        self.received: dict[int, bytes] = {}
        """By stream, the bytes of the response so far."""
        self.statuses: dict[int, str] = {}
        self.open: set[int] = set()
        self.is_connected = False
        self.flush()
        # h2 counts acknowledgements without knowing of which settings. With the one of the preface left over,
        # each later one would change the windows a step too early.
        while not self.is_connected:
            self.receive()

    def flush(self) -> None:
        """Send the frames that h2 has made."""
        if content := self.h2.data_to_send():
            self.socket.sendall(content)

    def receive(self, *, waits: bool = True) -> bool:
        """Handle the bytes that have arrived, and return whether there were some."""
        if not waits and not is_readable(self.socket):
            return False
        content = self.socket.recv(_CHUNK)
        assert content, "the server has ended the connection"
        for event in self.h2.receive_data(content):
            self._handle(event)
        self.flush()
        return True

    def _handle(self, event: Any) -> None:
        match event:
            case DataReceived():
                self.received[event.stream_id] += event.data
            case ResponseReceived() | TrailersReceived():
                fields = dict(event.headers)
                self.statuses[event.stream_id] = fields.get("grpc-status", "")
            case StreamEnded():
                self.open.discard(event.stream_id)
            case SettingsAcknowledged():
                self.is_connected = True
            case StreamReset() | ConnectionTerminated():
                raise AssertionError(event)

    def call(self, content: bytes) -> int:
        """Send a call, as far as the server's windows allow at a time, and return its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.received[stream] = b""
        self.open.add(stream)
        self.h2.send_headers(stream, call_headers("ModelInfer"))
        remaining = message(content)
        while remaining:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            piece, remaining = remaining[:size], remaining[size:]
            if size:
                self.h2.send_data(stream, piece, end_stream=not remaining)
            self.flush()
            if remaining and not size:
                self.receive()
        return stream

    def open_window(self, increment: int, stream: int | None = None) -> None:
        """Open the window of a stream, or that of the connection, unless it would exceed its maximum."""
        with suppress(ValueError):
            self.h2.increment_flow_control_window(increment, stream)
        self.flush()


class FlowControl(RuleBasedStateMachine):
    """Calls of several sizes at once, with windows that open in steps."""

    server: ClassVar[LiveServer]
    requests: ClassVar[dict[int, bytes]]
    """The message by number of rows."""
    responses: ClassVar[dict[int, bytes]]
    """The response by number of rows."""

    @initialize(window=st.integers(0, 70_000))
    def connect(self, window: int) -> None:
        """Connect with an initial window."""
        self.client = Client(self.server, window)
        self.calls: dict[int, int] = {}

    @precondition(lambda self: len(self.calls) < MAX_CALLS)
    @rule(rows=st.sampled_from(ROWS))
    def call(self, rows: int) -> None:
        """Send a call."""
        self.calls[self.client.call(self.requests[rows])] = rows

    @rule(increment=st.integers(1, 20_000))
    def open_connection(self, increment: int) -> None:
        """Open the connection's window."""
        self.client.open_window(increment)

    @precondition(lambda self: self.calls)
    @rule(increment=st.integers(1, 20_000), call=st.integers(0, MAX_CALLS - 1))
    def open_stream(self, increment: int, call: int) -> None:
        """Open the window of a stream unless it has ended. The draws depend on no arrival."""
        stream = list(self.calls)[call % len(self.calls)]
        if stream in self.client.open:
            self.client.open_window(increment, stream)

    @rule(window=st.integers(0, 70_000))
    def change_initial_window(self, window: int) -> None:
        """Change the windows of all streams, perhaps below zero. From RFC 9113, section 6.9.2."""
        self.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.client.flush()

    @rule()
    def receive(self) -> None:
        """Read without waiting."""
        self.client.receive(waits=False)

    def teardown(self) -> None:
        """Open all windows, and compare the responses."""
        if not hasattr(self, "client"):
            return
        client = self.client
        with client.socket:
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1_000_000})
            client.open_window(10_000_000)
            while client.open:
                client.receive()
            for stream, rows in self.calls.items():
                assert client.statuses[stream] == "0"
                assert client.received[stream] == self.responses[rows]


@pytest.fixture(scope="module")
def messages(grpc_servers: dict[str, LiveServer]) -> dict[int, bytes]:
    server = grpc_servers["grpcio"]
    contract = server.bundle.contract
    return {
        rows: infer_request(server, sample_rows(contract, rows, seed=0), raw=True).SerializeToString()
        for rows in ROWS
    }


@pytest.fixture
def expected(messages: dict[int, bytes], http2_server: LiveServer) -> Iterator[dict[int, bytes]]:
    """The responses of a client whose windows are always open."""
    client = Client(http2_server, 1_000_000)
    with client.socket:
        client.open_window(10_000_000)
        streams = {rows: client.call(content) for rows, content in messages.items()}
        while client.open:
            client.receive()
        yield {rows: client.received[stream] for rows, stream in streams.items()}


def test_windows_opened_in_any_steps_lose_no_byte(
    messages: dict[int, bytes], expected: dict[int, bytes], http2_server: LiveServer
) -> None:
    machine = type(
        "FlowControl",
        (FlowControl,),
        {"server": http2_server, "requests": messages, "responses": expected},
    )
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=20))


def test_each_step_of_a_window_brings_as_many_bytes(
    messages: dict[int, bytes], expected: dict[int, bytes], http2_server: LiveServer
) -> None:
    """The windows of the stream and of the connection open by the same steps, and each is used to its end."""
    client = Client(http2_server, 0)
    with client.socket:
        stream = client.call(messages[ROWS[-1]])
        total = len(expected[ROWS[-1]])
        allowed, step = 0, 1
        while allowed < total:
            allowed += step
            client.open_window(step, stream)
            while len(client.received[stream]) < min(allowed, total):
                client.receive()
            step *= 2
        while client.open:
            client.receive()
        assert client.received[stream] == expected[ROWS[-1]]
