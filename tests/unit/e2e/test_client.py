# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client that decides whether a request was lost."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tests.e2e.client import (
    ClientStats,
    ClosedWhileIdleError,
    HttpClient,
    Prediction,
    TrafficGenerator,
    UnexpectedResponseError,
    describe,
    receive,
)
from tests.e2e.traffic import PROGRAM, PROGRAM_FILES, ROOT

LABEL = {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["benign"]}
BODY = json.dumps({"model_version": "abc", "outputs": [LABEL]}).encode()
EXPECTED = Prediction("abc", "benign")

Script = list[list[bytes | None]]
"""By connection, the bytes that the server sends after each request; None closes the connection."""


def response(body: bytes = BODY, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@asynccontextmanager
async def serve(script: Script) -> AsyncIterator[tuple[int, list[int]]]:
    """Run a server that follows a script; yield its port and the number of requests by connection."""
    requests: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(requests)
        requests.append(0)
        try:
            for content in script[min(number, len(script) - 1)]:
                if content is None:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                requests[number] += 1
                writer.write(content)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the client has closed a kept connection
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], requests


@contextmanager
def connect(port: int, *, keep_alive: bool = True, retry: bool = True) -> Iterator[HttpClient]:
    client = HttpClient("127.0.0.1", port, "model.test", "/infer", b"{}", keep_alive=keep_alive, retry=retry)
    yield client
    client.close()


def play(script: Script, act: Callable[[int], Awaitable[None]]) -> list[int]:
    """Run a client's actions against a server; return the number of requests by connection."""

    async def main() -> list[int]:
        async with serve(script) as (port, requests):
            await act(port)
        return requests

    return asyncio.run(main())


def test_http_keep_alive_reuses_the_connection() -> None:
    async def act(port: int) -> None:
        with connect(port) as client:
            assert [await client.infer(), await client.infer()] == [EXPECTED] * 2

    assert play([[response(), response()]], act) == [2]


def test_http_without_keep_alive_opens_new_connections() -> None:
    async def act(port: int) -> None:
        with connect(port, keep_alive=False) as client:
            await client.infer()
            await client.infer()

    assert play([[response()]], act) == [1, 1]


def test_http_connection_close_is_not_reused() -> None:
    async def act(port: int) -> None:
        with connect(port) as client:
            await client.infer()
            await client.infer()
            assert client.retried == 0

    assert play([[response(headers="Connection: close\r\n")]], act) == [1, 1]


@pytest.mark.parametrize("retry", [True, False])
def test_http_kept_connection_closed_is_retried_if_allowed(retry: bool) -> None:
    async def act(port: int) -> None:
        with connect(port, retry=retry) as client:
            await client.infer()
            if not retry:
                with pytest.raises(ClosedWhileIdleError):
                    await client.infer()
                return
            assert await client.infer() == EXPECTED
            assert client.retried == 1

    # The server receives the second request and closes the connection without a response.
    requests = play([[response(), b""], [response()]], act)
    assert requests == ([2, 1] if retry else [2])


def test_http_new_connection_closed_raises() -> None:
    async def act(port: int) -> None:
        with connect(port) as client, pytest.raises(ConnectionError, match="closed after 0 bytes"):
            await client.infer()

    play([[b""]], act)


def test_http_retry_is_sent_once_on_a_new_connection() -> None:
    async def act(port: int) -> None:
        with connect(port) as client:
            # The client keeps two connections; the server closes each of them at its next request.
            await asyncio.gather(client.infer(), client.infer())
            with pytest.raises(ConnectionError, match="closed after 0 bytes"):
                await client.infer()
            assert client.retried == 1

    # Both the kept and the new connection end without a response, and no third request follows.
    assert play([[response(), b""], [response(), b""], [b""]], act) in ([2, 1, 1], [1, 2, 1])


@pytest.mark.parametrize(
    ("received", "error", "match"),
    [
        (b"", ClosedWhileIdleError, "ConnectionResetError while idle"),
        (b"HTTP/1.1", ConnectionResetError, "reset"),
    ],
)
def test_receive_reset_is_idle_only_before_the_first_byte(
    received: bytes, error: type[Exception], match: str
) -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        task = asyncio.create_task(receive(reader, kept=True))
        await asyncio.sleep(0)
        if received:
            reader.feed_data(received)
            await asyncio.sleep(0)
        reader.set_exception(ConnectionResetError("reset"))
        await task

    with pytest.raises(error, match=match):
        asyncio.run(main())


def test_receive_bytes_after_the_response_raise() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(response() + b"HTTP")
        await receive(reader, kept=False)

    with pytest.raises(UnexpectedResponseError, match="4 bytes after the response"):
        asyncio.run(main())


def test_http_partial_response_raises_on_a_kept_connection() -> None:
    async def act(port: int) -> None:
        with connect(port) as client:
            await client.infer()
            with pytest.raises(ConnectionError, match="closed after 8 bytes"):
                await client.infer()

    assert play([[response(), b"HTTP/1.1"]], act) == [2]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error"])
def test_http_other_status_raises(status: str) -> None:
    async def act(port: int) -> None:
        with connect(port) as client, pytest.raises(UnexpectedResponseError, match=status[:3]):
            await client.infer()

    play([[response(status=status)]], act)


@pytest.mark.parametrize("prediction", [Prediction("other", "benign"), Prediction("abc", "malignant")])
def test_send_unknown_version_or_label_is_lost(
    prediction: Prediction, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> ClientStats:
        traffic, stats = TrafficGenerator({"abc": "benign"}), ClientStats()

        async def infer() -> Prediction:
            return prediction

        await traffic.send("gateway", infer, stats, asyncio.get_running_loop().time())
        return stats

    stats = asyncio.run(main())
    assert (stats.succeeded, len(stats.losses)) == (0, 1)
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["client"]) == ("lost", "gateway")
    assert event.items() >= stats.losses[0].items()


def test_send_lost_request_reports_its_phase_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> ClientStats:
        traffic, stats, proceed = TrafficGenerator({"abc": "benign"}), ClientStats(), asyncio.Event()

        async def infer() -> Prediction:
            await proceed.wait()
            raise ConnectionError("gone\naway")

        traffic.enter("first")
        task = asyncio.create_task(traffic.send("x", infer, stats, asyncio.get_running_loop().time()))
        await asyncio.sleep(0)
        traffic.enter("second")
        proceed.set()
        await task
        return stats

    stats = asyncio.run(main())
    [loss] = stats.losses
    assert (loss["phase"], loss["error"]) == ("first", "ConnectionError: gone away")
    since_start, since_phase = loss["sent_seconds_after_start"], loss["sent_seconds_after_phase_start"]
    assert isinstance(since_start, float)
    assert isinstance(since_phase, float)
    assert since_start >= since_phase >= 0
    assert isinstance(loss["seconds_until_lost"], float)
    assert loss["seconds_until_lost"] >= 0
    assert stats.report()["lost_by_phase"] == {"first": 1}


def test_describe_grpc_error_has_code_details_and_peer() -> None:
    async def call() -> None:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            await channel.unary_unary("/x/y")(b"", timeout=5)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(call())
    text = describe(caught.value)
    assert text.startswith("AioRpcError: UNAVAILABLE: ")
    assert "127.0.0.1:1" in text
    assert "\n" not in text
    assert len(text) <= 500


def test_run_client_slow_response_delays_no_other_request() -> None:
    async def main() -> ClientStats:
        traffic, calls, proceed = TrafficGenerator({"abc": "benign"}), [], asyncio.Event()

        async def infer() -> Prediction:
            calls.append(True)
            if len(calls) == 3:
                traffic.stopped.set()
                proceed.set()
            await proceed.wait()
            return EXPECTED

        await traffic.run_client("gateway", infer, 1000.0)
        return traffic.stats["gateway"]

    stats = asyncio.run(main())
    assert stats.sent == stats.succeeded >= 3
    assert stats.report()["lost"] == 0


def test_program_runs_from_its_shipped_files_only(tmp_path: Path) -> None:
    for file in PROGRAM_FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text((ROOT / file).read_text())

    async def main() -> list[dict[str, Any]]:
        async with serve([[response()] * 1000]) as (port, _):
            client = {"kind": "http", "host": "127.0.0.1", "port": port, "authority": "model.test"}
            plan = {
                "body": base64.b64encode(b"{}").decode(),
                "message": "",
                "path": "/infer",
                "golden_labels": {"abc": "benign"},
                "clients": {"http": client | {"keep_alive": True, "retry": True, "rate": 200.0}},
            }
            argument = base64.b64encode(json.dumps(plan).encode()).decode()
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", PROGRAM, argument),
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(tmp_path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert program.stdin is not None
            assert program.stdout is not None
            events = [json.loads(await program.stdout.readline())]
            program.stdin.write(b"first\n")
            events.append(json.loads(await program.stdout.readline()))
            program.stdin.close()
            events += [json.loads(line) async for line in program.stdout]
            assert await program.wait() == 0
            return events

    events = asyncio.run(main())
    assert [event["event"] for event in events] == ["started", "phase", "report"]
    report = events[-1]["clients"]["http"]
    assert report["sent"] == report["succeeded"]
    assert report["lost"] == report["retried"] == 0
