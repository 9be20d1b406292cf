# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The same bytes through the hot path and through uvicorn alone: the answers must be the same."""

import asyncio
import json
import re
import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from tidegate_serving.codecs.request import Limits
from tidegate_serving.codecs.validation import Array
from tidegate_serving.drain import CLOSE
from tidegate_serving.engines.base import Wanted
from tidegate_serving.http.endpoints import refuse_http, routes
from tidegate_serving.http.fastpath import FastPath, FastPathProtocol
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.service import Service
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.support.contracts import MATRIX
from tidegate.batch import Batch

PATHS = ("/v1/models/test:predict", "/v2/models/test/infer", "/v2/models/test/versions/abc/infer")
_TURNS = 12
"""Turns of the loop in which the framework refuses a request before its body is read."""
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class Doubling:
    """Answers each row with the double of its first value."""

    name = platform = "doubling"
    selects_outputs = False

    def prepare_thread(self) -> None:
        pass

    def run(self, batch: Batch, wanted: Wanted = None) -> Mapping[str, Array]:
        first = batch.arrays["input-0"][:, 0] * 2
        return {
            "label": first.astype("int64"),
            "probabilities": batch.arrays["input-0"] * 0 + first.reshape(-1, 1),
        }


class Wire:
    """A transport whose other end is the test."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self.written = b""
        self.paused = False
        self.closing = False
        self.lost = False

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.written += data

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        if not self.lost:
            self.closing = self.lost = True
            self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_protocol(self) -> asyncio.Protocol:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Place:
    """A server without a socket."""

    def __init__(
        self, hot: bool, ready: bool = True, body_bytes: int = 4_000, engine: Doubling | None = None
    ) -> None:
        model: Any = SimpleNamespace(contract=MATRIX, engine=engine or Doubling(), version="abc")
        self.metrics = Metrics(CollectorRegistry(), "test")
        unobserved: Any = SimpleNamespace(seen=lambda batch, answers: None, refused=lambda error: None)
        self.service = Service("test", model, Limits(20, body_bytes), self.metrics, unobserved)
        predictor: Any = SimpleNamespace(service=self.service, ready=ready)
        app = Starlette(routes=routes(predictor), exception_handlers={HTTPException: refuse_http})
        self.config = uvicorn.Config(app, log_config=None, lifespan="off")
        self.config.load()
        self.state = ServerState()
        self.path = FastPath(predictor)
        self.make: Any = self.path.protocol if hot else HttpToolsProtocol

    def connect(self) -> Wire:
        protocol = self.make(config=self.config, server_state=self.state, app_state={})
        wire = Wire(protocol)
        protocol.connection_made(wire)
        return wire

    async def settle(self, wire: Wire) -> None:
        """Until nothing is under way on the connection but, at most, a request that is not whole yet."""
        protocol: Any = wire.protocol
        for turn in range(30_000):
            await asyncio.sleep(0 if turn < 100 else 0.001)  # the engine's thread needs its time
            unfinished = protocol.cycle is not None and protocol.cycle.more_body and not wire.lost
            under_way = getattr(protocol, "_request", None) or (self.state.tasks and not unfinished)
            if turn > _TURNS and not under_way and wire.closing == wire.lost:
                return
        raise AssertionError(f"the connection hangs after {wire.written!r}")

    def end(self) -> None:
        """Nothing has leaked."""
        self.service.close()
        assert self.service.batcher.queued_rows == 0
        assert self.metrics.in_flight == 0
        assert not self.state.tasks
        assert not self.path.open


async def talk(place: Place, chunks: Sequence[bytes], patient: bool = True) -> bytes:
    """What a client that sends these chunks is answered."""
    wire = place.connect()
    for chunk in chunks:
        if patient:
            await place.settle(wire)
        while wire.paused and not wire.closing:
            await asyncio.sleep(0)
        if wire.closing:
            break
        wire.protocol.data_received(chunk)
    await place.settle(wire)
    for _ in range(3):
        await asyncio.sleep(0)
    await place.settle(wire)
    wire.lose()
    await place.settle(wire)
    return wire.written


def conversation(hot: bool, chunks: Sequence[bytes], patient: bool = True, **options: Any) -> bytes:
    async def main() -> bytes:
        place = Place(hot, **options)
        try:
            return await asyncio.wait_for(talk(place, chunks, patient), 60)
        finally:
            place.end()

    return asyncio.run(main())


def answers(written: bytes) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
    """Status line, headers and body of each answer."""
    found = []
    while written := written.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"):
        head, separator, rest = written.partition(b"\r\n\r\n")
        assert separator, written
        status, *lines = head.split(b"\r\n")
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            assert name not in headers, head
            headers[name] = value
        length = int(headers[b"content-length"])
        assert len(rest) >= length
        # An id that the client has not given, or that was damaged, is the server's own, and never the same.
        body = re.sub(rb'"id":"[0-9a-f]{32}-\d+"', b'"id":"new"', rest[:length])
        headers[b"content-length"] = b"%d" % len(body)
        found.append((status, headers, body))
        written = rest[length:]
    return found


def post(body: bytes, path: str = PATHS[0], *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def row(value: int) -> bytes:
    return json.dumps({"instances": [[value, 0.5]]}).encode()


def tensor(value: int, **more: Any) -> bytes:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, None]}
    return json.dumps({"inputs": [entry], "id": str(value), **more}).encode()


GOOD = post(row(1))
END = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"

plain = st.one_of(
    st.integers(0, 99).map(lambda value: post(row(value))),
    st.integers(0, 99).map(lambda value: post(tensor(value), PATHS[1], "X-Request-Timeout-Ms: 60000")),
    st.integers(0, 99).map(lambda value: post(tensor(value), PATHS[2], "Connection: keep-alive")),
    st.sampled_from(
        [
            post(b"{}"),
            post(b'{"instances": [[1, true]]}'),
            post(b'{"instances": [[1, "1.5"], [2, 2]]}'),
            post(b'{"instances": [[null, 1]]}'),
            post(b'{"instances": [[1e39, 1]]}'),
            post(b'{"instances": [[%s, 1]]}' % (b"9" * 400)),
            post(b'{"instances": [{"a": 7, "b": null}, {"a": 8}]}'),
            post(b'{"instances": [' + b",".join([b"[1,2]"] * 21) + b"]}"),
            post(tensor(3, outputs=[{"name": "label"}]), PATHS[1]),
            post(tensor(3, parameters={"binary_data_output": True}), PATHS[1]),
            post(b"{", PATHS[1]),
        ]
    ),
)
other = st.sampled_from(
    [
        END,
        post(row(5), PATHS[0], "X-Request-Timeout-Ms: soon"),
        post(row(5), PATHS[0], "X-Request-Timeout-Ms: 0"),
        post(row(5), PATHS[0], "Content-Type: text/plain"),
        post(row(5), PATHS[0], "Content-Encoding: gzip"),
        post(row(5), PATHS[0], "Expect: 100-continue"),
        post(row(5), "/v1/models/other:predict"),
        post(row(5), "/v2/models/test/versions/1/infer"),
        post(row(5), PATHS[0] + "?a=b"),
        post(row(5), "/v1/models/tes%74:predict"),
        post(b"", PATHS[0]),
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(row(6)), row(6)),
        b"GET " + GOOD[5:],
    ]
)


@given(requests=st.lists(plain | other, min_size=1, max_size=6), data=st.data(), patient=st.booleans())
@FUZZ
def test_any_requests_split_anywhere_get_the_answers_that_uvicorn_alone_gives(
    requests: list[bytes], data: st.DataObject, patient: bool
) -> None:
    stream = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
    hot = answers(conversation(True, chunks, patient))
    assert hot == answers(conversation(False, requests))
    assert len(hot) == len(requests)


@given(data=st.data(), request=plain | other, value=st.integers(0, 99))
@FUZZ
def test_damaged_requests_are_refused_or_understood_as_by_uvicorn_alone(
    data: st.DataObject, request: bytes, value: int
) -> None:
    damaged = bytearray(request)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"\r\n", b"\n", b" ", b"\t", b"0", b":", b"\x00", b"\xff", b",", b"chunked"])
            | st.binary(max_size=3)
        )
    chunks = [bytes(damaged), post(row(value)), END]
    assert answers(conversation(True, chunks)) == answers(conversation(False, chunks))


@given(st.lists(st.binary(max_size=50), max_size=5))
@FUZZ
def test_any_bytes_at_all_end_in_a_refusal_or_in_silence(chunks: list[bytes]) -> None:
    chunks = [chunk for chunk in chunks if chunk]
    hot, sent = conversation(True, chunks), b"".join(chunks)
    # What may become a plain request is read once its head is whole, and until then nothing is said of it.
    waits = b"POST ".startswith(sent[:5]) and b"\r\n\r\n" not in sent
    assert hot == (b"" if waits else conversation(False, chunks))


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
def test_what_smugglers_send_is_read_as_by_uvicorn_alone(head: str) -> None:
    stream = f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + row(1) + GOOD
    assert answers(conversation(True, [stream])) == answers(conversation(False, [stream]))


@pytest.mark.parametrize("options", [{"ready": False}, {"body_bytes": 10}])
def test_what_cannot_be_answered_is_the_frameworks_to_refuse(options: dict[str, Any]) -> None:
    hot = answers(conversation(True, [GOOD], **options))
    assert hot == answers(conversation(False, [GOOD], **options))
    assert hot[0][0] != b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/test/ready", "/v1/models/test"])
def test_nothing_says_ready_before_the_model_is(path: str) -> None:
    question = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    ((before, _, said),) = answers(conversation(True, [question], ready=False))
    assert before == b"HTTP/1.1 503 Service Unavailable"
    assert json.loads(said).get("ready") is not True
    ((after, _, said),) = answers(conversation(True, [question]))
    assert after == b"HTTP/1.1 200 OK"
    assert json.loads(said)["ready"] is True


def run(scenario: Any, **options: Any) -> None:
    async def main() -> None:
        place = Place(True, **options)
        wire = place.connect()
        await asyncio.wait_for(scenario(place, wire), 60)
        wire.lose()
        place.end()

    asyncio.run(main())


def test_a_plain_request_never_reaches_the_framework() -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        for request in (GOOD, post(tensor(1), PATHS[1]), post(tensor(1), PATHS[2])):
            wire.protocol.data_received(request)
            assert not place.state.tasks
            assert isinstance(wire.protocol, FastPathProtocol)
            assert wire.protocol.cycle is None
            await place.settle(wire)
        assert len(answers(wire.written)) == 3

    run(scenario)


class Held(Doubling):
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def run(self, batch: Batch, wanted: Wanted = None) -> Mapping[str, Array]:
        self.begun.set()
        assert self.let_go.wait(50)
        return super().run(batch, wanted)


@pytest.mark.parametrize("hot", [True, False])
def test_probes_are_answered_while_the_model_computes(hot: bool) -> None:
    engine = Held()

    async def scenario() -> None:
        place = Place(hot, engine=engine)
        asking, probing = place.connect(), place.connect()
        asking.protocol.data_received(GOOD)
        await asyncio.to_thread(engine.begun.wait, 50)
        probing.protocol.data_received(END)
        while not probing.written:
            await asyncio.sleep(0)
        assert answers(probing.written)[0][0] == b"HTTP/1.1 200 OK"
        assert not asking.written
        engine.let_go.set()
        await place.settle(asking)
        assert answers(asking.written)[0][0] == b"HTTP/1.1 200 OK"
        asking.lose()
        probing.lose()
        await place.settle(asking)
        place.end()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_one_clients_bad_row_harms_no_other_of_the_same_batch() -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        bodies = [row(1), b'{"instances": [[1, true]]}', row(2), b'{"instances": [[null, 1]]}', row(3)]
        wires = [place.connect() for _ in bodies]
        for each, body in zip(wires, bodies, strict=True):
            each.protocol.data_received(post(body))
        assert place.service.batcher.queued_rows == 5
        for each in wires:
            await place.settle(each)
        found = [answers(each.written)[0] for each in wires]
        assert [status[9:12] for status, _, _ in found] == [b"200", b"400", b"200", b"400", b"200"]
        assert [json.loads(found[i][2])["predictions"] for i in (0, 2, 4)] == [[2], [4], [6]]
        assert b"received true" in found[1][2]
        for each in wires:
            each.lose()

    run(scenario)


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_client_that_leaves_before_its_answer_is_counted_and_forgotten(half_closed: bool) -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        wire.protocol.data_received(GOOD)
        # Who ends one side mostly ends both, and an overload is made of computing for those who have gone.
        if not half_closed or not wire.protocol.eof_received():
            wire.lose()
        await asyncio.sleep(0.01)
        assert wire.written == b""
        (requests,) = [seen for seen in place.metrics.collect() if seen.name == "tidegate_requests"]
        assert [(sample.labels, sample.value) for sample in requests.samples] == [
            ({"protocol": "v1", "code": "499"}, 1)
        ]

    run(scenario)


def test_a_slow_reader_is_not_read_from_until_it_reads() -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        wire.protocol.data_received(GOOD)
        await place.settle(wire)
        wire.protocol.pause_writing()
        assert wire.paused
        wire.protocol.resume_writing()
        assert not wire.paused

    run(scenario)


def test_draining_the_answer_says_close_and_the_connection_ends() -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        place.state.default_headers.append(CLOSE)
        wire.protocol.data_received(GOOD)
        await place.settle(wire)
        ((status, headers, _),) = answers(wire.written)
        assert status == b"HTTP/1.1 200 OK"
        assert headers[b"connection"] == b"close"
        assert wire.lost

    run(scenario)


@pytest.mark.parametrize("sent", [len(GOOD), len(GOOD) - 3, 20])
def test_what_is_under_way_at_the_shutdown_is_answered_and_is_the_last(sent: int) -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        wire.protocol.data_received(GOOD[:sent])
        wire.protocol.shutdown()  # type: ignore[attr-defined]
        assert not wire.closing
        if sent < len(GOOD):
            wire.protocol.data_received(GOOD[sent:])
        await place.settle(wire)
        ((status, headers, _),) = answers(wire.written)
        assert status == b"HTTP/1.1 200 OK"
        assert headers[b"connection"] == b"close"
        assert wire.lost

    run(scenario)


@pytest.mark.parametrize("request_", [GOOD, END], ids=["hot", "framework"])
def test_an_old_connection_ends_with_its_next_answer(request_: bytes) -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        assert isinstance(wire.protocol, FastPathProtocol)
        wire.protocol.timeout_keep_alive = 1_000
        wire.protocol.grow_older(place.path.now + 53)
        assert not wire.closing
        wire.protocol.data_received(request_)
        await place.settle(wire)
        assert b"connection" not in answers(wire.written)[0][1]
        wire.protocol.grow_older(place.path.now + 67)
        assert not wire.closing
        wire.protocol.data_received(request_)
        await place.settle(wire)
        assert answers(wire.written)[1][1][b"connection"] == b"close"
        assert wire.lost

    run(scenario)


@pytest.mark.parametrize("sent", [b"", GOOD[:20], GOOD[:-3], GOOD])
def test_a_connection_that_is_silent_for_the_keep_alive_timeout_is_closed(sent: bytes) -> None:
    async def scenario(place: Place, wire: Wire) -> None:
        if sent:
            wire.protocol.data_received(sent)
        await place.settle(wire)
        assert isinstance(wire.protocol, FastPathProtocol)
        wire.protocol.grow_older(place.path.now + wire.protocol.timeout_keep_alive + 1)
        assert wire.closing

    run(scenario)
