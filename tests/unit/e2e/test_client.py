# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client that judges whether a request was lost has to be right about it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc.aio
import pytest

from tests.e2e.client import ClosedWhileIdleError, Http, Tally, Traffic, WrongAnswerError, describe

BODY = json.dumps({"model_version": "abc", "outputs": [{"data": ["benign"]}]}).encode()


def answer(body: bytes = BODY, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@asynccontextmanager
async def server(script: list[list[bytes | None]]) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that answers connection by connection as the script says; None closes it unasked."""
    asked: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(asked)
        asked.append(0)
        try:
            for reply in script[min(number, len(script) - 1)]:
                if reply is None:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                asked[number] += 1
                writer.write(reply)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the client let go of a connection that it kept
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], asked


@contextmanager
def client(port: int, *, keep: bool = True, repeat: bool = True) -> Iterator[Http]:
    http = Http("127.0.0.1", port, "model.test", "/infer", b"{}", keep=keep, repeat=repeat)
    yield http
    http.close()


def ask(script: list[list[bytes | None]], play: Callable) -> list[int]:
    async def main() -> list[int]:
        async with server(script) as (port, asked):
            await play(port)
        return asked

    return asyncio.run(main())


def test_a_kept_connection_serves_the_next_request():
    async def play(port):
        with client(port) as http:
            assert [await http.ask(), await http.ask()] == [("abc", "benign")] * 2

    assert ask([[answer(), answer()]], play) == [2]


def test_a_new_connection_is_made_for_each_request_where_that_is_asked():
    async def play(port):
        with client(port, keep=False) as http:
            await http.ask()
            await http.ask()

    assert ask([[answer()]], play) == [1, 1]


def test_a_connection_that_says_close_is_not_used_again():
    async def play(port):
        with client(port) as http:
            await http.ask()
            await http.ask()
            assert http.repeated == 0

    assert ask([[answer(more="Connection: close\r\n")]], play) == [1, 1]


@pytest.mark.parametrize("repeat", [True, False])
def test_a_request_on_a_connection_that_ends_without_an_answer_is_repeated_only_if_it_was_kept(repeat):
    async def play(port):
        with client(port, repeat=repeat) as http:
            await http.ask()
            if not repeat:
                with pytest.raises(ClosedWhileIdleError):
                    await http.ask()
                return
            assert await http.ask() == ("abc", "benign")
            assert http.repeated == 1

    # The second request arrives, and the connection ends with no byte of an answer.
    asked = ask([[answer(), b""], [answer()]], play)
    assert asked == ([2, 1] if repeat else [2])


def test_a_fresh_connection_that_ends_without_an_answer_is_a_loss():
    async def play(port):
        with client(port) as http, pytest.raises(ConnectionError, match="closed after 0 bytes"):
            await http.ask()

    ask([[b""]], play)


def test_a_repeat_goes_out_once_and_on_a_new_connection():
    async def play(port):
        with client(port) as http:
            # Two connections are kept; the server closes both as soon as they are asked again.
            await asyncio.gather(http.ask(), http.ask())
            with pytest.raises(ConnectionError, match="closed after 0 bytes"):
                await http.ask()
            assert http.repeated == 1

    # The kept one ends without an answer, the new one too: that is a loss, and nothing is asked again.
    assert ask([[answer(), b""], [answer(), b""], [b""]], play) in ([2, 1, 1], [1, 2, 1])


def test_a_reset_counts_as_idle_only_before_the_first_byte():
    async def head(received):
        reader = asyncio.StreamReader()
        asking = asyncio.create_task(Http._head(reader, True))
        await asyncio.sleep(0)
        if received:
            reader.feed_data(received)
            await asyncio.sleep(0)
        reader.set_exception(ConnectionResetError("reset"))
        return await asking

    with pytest.raises(ClosedWhileIdleError, match="ConnectionResetError while idle"):
        asyncio.run(head(b""))
    with pytest.raises(ConnectionResetError, match="reset"):
        asyncio.run(head(b"HTTP/1.1"))


def test_half_an_answer_is_a_loss_on_a_kept_connection_too():
    async def play(port):
        with client(port) as http:
            await http.ask()
            with pytest.raises(ConnectionError, match="closed after 8 bytes"):
                await http.ask()

    assert ask([[answer(), b"HTTP/1.1"]], play) == [2]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error"])
def test_any_other_status_is_a_loss(status):
    async def play(port):
        with client(port) as http, pytest.raises(WrongAnswerError, match=status[:3]):
            await http.ask()

    ask([[answer(status=status)]], play)


@pytest.mark.parametrize("found", [("other", "benign"), ("abc", "malignant")])
def test_an_unknown_version_and_a_wrong_label_are_losses(found, capsys):
    async def play():
        traffic, tally = Traffic({"abc": "benign"}), Tally()

        async def reply():
            return found

        await traffic._one("gateway", reply, tally, asyncio.get_running_loop().time())
        return tally

    tally = asyncio.run(play())
    assert (tally.answered, len(tally.lost)) == (0, 1)
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["client"]) == ("lost", "gateway")
    assert told.items() >= tally.lost[0].items()


def test_a_loss_tells_its_phase_and_when_it_was_asked(capsys):
    async def play():
        traffic, tally, go = Traffic({"abc": "benign"}), Tally(), asyncio.Event()

        async def reply():
            await go.wait()
            raise ConnectionError("gone\naway")

        traffic.enter("first")
        task = asyncio.create_task(traffic._one("x", reply, tally, asyncio.get_running_loop().time()))
        await asyncio.sleep(0)
        traffic.enter("second")
        go.set()
        await task
        return tally

    tally = asyncio.run(play())
    [loss] = tally.lost
    assert (loss["phase"], loss["what"]) == ("first", "ConnectionError: gone away")
    assert loss["asked_seconds_after_start"] >= loss["asked_seconds_after_phase_began"] >= 0
    assert loss["seconds_until_lost"] >= 0
    assert tally.report()["lost_by_phase"] == {"first": 1}


def test_a_lost_call_tells_code_details_and_where_it_broke():
    async def call():
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            await channel.unary_unary("/x/y")(b"", timeout=5)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(call())
    text = describe(caught.value)
    assert text.startswith("AioRpcError: UNAVAILABLE: ")
    assert "127.0.0.1:1" in text
    assert "\n" not in text
    assert len(text) <= 500


def test_a_slow_answer_delays_no_other_request():
    async def play():
        traffic, begun, go = Traffic({"abc": "benign"}), [], asyncio.Event()

        async def reply():
            begun.append(True)
            if len(begun) == 3:
                traffic.over.set()
                go.set()
            await go.wait()
            return "abc", "benign"

        await traffic.drive("gateway", reply, 1000.0)
        return traffic.tallies["gateway"]

    tally = asyncio.run(play())
    assert tally.sent == tally.answered >= 3
    assert tally.report()["lost"] == 0
