# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client pod's program: asks one model steadily by several kinds of connections and judges every answer.

Requests have intended start times and go out at those, whether or not earlier ones are answered (an open
loop); latency counts from the intended start. An answer counts only with status 200, a known model version
and that version's own label. Nothing is repeated, but for one case that HTTP has rules for: where the server
closed a kept connection before the first byte of an answer, the request may go out once more, on a new
connection (RFC 9112, section 9.3.1; a prediction changes nothing, so it is idempotent, and RFC 9110, section
9.2.2, forbids a repeat of a repeat). Repeats are counted.

It has to run alone in the serving image, so it imports the standard library, gRPC and KServe's messages only.

Standard input: a line is the name of the next phase; its end is the end of the questions. Standard output:
JSON lines, `{"event": "started"}`, `{"event": "lost", …}` and at last `{"event": "report", …}`.
"""

import asyncio
import base64
import contextlib
import importlib.util
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Answer = tuple[str, object]
"""The model version of an answer, and the label of its first row."""

PATIENCE_SECONDS = 15.0
WARM_UP_SECONDS = 60.0
TOLD = 20


class ClosedWhileIdleError(ConnectionError):
    """A kept connection ended before the first byte of an answer."""


class WrongAnswerError(Exception):
    """An answer that is not the one expected."""


@dataclass
class Tally:
    """What one client has seen."""

    sent: int = 0
    answered: int = 0
    repeated: int = 0
    lost: list[dict[str, object]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    versions: dict[str, Counter[str]] = field(default_factory=dict)

    def report(self) -> dict[str, object]:
        """Sum up; latencies in milliseconds."""
        ordered = sorted(self.latencies)

        def percentile(share: float) -> float | None:
            return (
                round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 1)
                if ordered
                else None
            )

        return {
            "sent": self.sent,
            "answered": self.answered,
            "repeated": self.repeated,
            "lost": len(self.lost),
            "losses": self.lost[:TOLD],
            "lost_by_phase": dict(Counter(str(loss["phase"]) for loss in self.lost)),
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
            "max_ms": percentile(1.0),
            "versions": {phase: dict(counts) for phase, counts in self.versions.items()},
        }


class Http:
    """An HTTP/1.1 client of one address.

    Args:
        host: name or address.
        port: its port.
        authority: what the Host header says.
        path: where to post.
        body: the JSON of the request.
        keep: whether connections are kept for the next request.
        repeat: whether a request on a kept connection that was closed while idle is sent once more.
    """

    def __init__(
        self, host: str, port: int, authority: str, path: str, body: bytes, *, keep: bool, repeat: bool
    ) -> None:
        self._address = (host, port)
        head = f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n"
        head += "" if keep else "Connection: close\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._keep = keep
        self._repeat = repeat
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.repeated = 0

    async def ask(self) -> Answer:
        """Put the question once, and a second time at most where the rules allow it."""
        kept = self._kept()
        if kept is not None:
            try:
                return await self._exchange(*kept, kept=True)
            except ClosedWhileIdleError:
                if not self._repeat:
                    raise
                self.repeated += 1
        # A kept connection would do for no repeat: it may have been closed at the same moment.
        reader, writer = await asyncio.open_connection(*self._address)
        return await self._exchange(reader, writer, kept=False)

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Take a kept connection that is not seen to be closed before anything is sent."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Let go of the connections that wait for a next request."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, kept: bool
    ) -> Answer:
        done = False
        try:
            writer.write(self._request)
            head = await self._head(reader, kept)
            status, headers = parse_head(head)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            done = self._keep and headers.get("connection", "").lower() != "close"
        finally:
            if done:
                self._idle.append((reader, writer))
            else:
                writer.close()
        if status != 200:
            raise WrongAnswerError(f"status {status}: {body[:200].decode(errors='replace')}")
        document = json.loads(body)
        return document["model_version"], document["outputs"][0]["data"][0]

    @staticmethod
    async def _head(reader: asyncio.StreamReader, kept: bool) -> bytes:
        # The first byte by itself: only before it is a kept connection one that was closed while idle.
        try:
            first = await reader.read(1)
        except ConnectionError as error:
            if kept:
                raise ClosedWhileIdleError(f"{type(error).__name__} while idle") from None
            raise
        if kept and not first:
            raise ClosedWhileIdleError("closed while idle")
        try:
            return first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            seen = len(first) + len(error.partial)
            raise ConnectionError(f"closed after {seen} bytes of the answer") from None


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Read the status and the headers of an HTTP/1.1 answer.

    >>> parse_head(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n")
    (200, {'content-length': '2'})
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name:
            headers[name.strip().lower()] = value.strip()
    return int(first.split(" ", 2)[1]), headers


def grpc_client(target: str, message: bytes) -> Callable[[], Awaitable[Answer]]:
    """A channel that stays open for all requests, as gRPC's documentation advises."""
    import grpc

    # The messages alone: importing KServe itself takes seconds.
    found = importlib.util.find_spec("kserve")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "protocol" / "grpc" / "grpc_predict_v2_pb2.py"
    spec = importlib.util.spec_from_file_location("grpc_predict_v2_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    messages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(messages)

    channel = grpc.aio.insecure_channel(target)
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        response_deserializer=messages.ModelInferResponse.FromString,
    )

    async def ask() -> Answer:
        answer = await infer(message, timeout=PATIENCE_SECONDS)
        contents = answer.outputs[0].contents
        values = [*contents.bytes_contents, *contents.int64_contents]
        label = values[0]
        return answer.model_version, label.decode() if isinstance(label, bytes) else label

    return ask


class Traffic:
    """Several clients at once, and what they saw.

    Args:
        answers: the right label by model version.
    """

    def __init__(self, answers: dict[str, object]) -> None:
        self._answers = answers
        self.tallies: dict[str, Tally] = {}
        self.phase = "start"
        self.over = asyncio.Event()
        self._began = self._phase_began = time.monotonic()

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self.phase, self._phase_began = phase, time.monotonic()

    def versions(self) -> dict[str, dict[str, dict[str, int]]]:
        """Count the answers so far by client, phase and model version."""
        return {
            name: {phase: dict(counts) for phase, counts in tally.versions.items()}
            for name, tally in self.tallies.items()
        }

    async def drive(self, name: str, ask: Callable[[], Awaitable[Answer]], rate: float) -> None:
        """Ask at a rate until the end."""
        loop = asyncio.get_running_loop()
        tally = self.tallies.setdefault(name, Tally())
        start, running = loop.time(), set()
        while not self.over.is_set():
            intended = start + tally.sent / rate
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), max(0.0, intended - loop.time()))
                break
            tally.sent += 1
            task = asyncio.create_task(self._one(name, ask, tally, intended))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _one(
        self, name: str, ask: Callable[[], Awaitable[Answer]], tally: Tally, intended: float
    ) -> None:
        phase, loop = self.phase, asyncio.get_running_loop()
        asked = time.monotonic()
        since_start, since_phase = asked - self._began, asked - self._phase_began
        try:
            version, label = await asyncio.wait_for(ask(), PATIENCE_SECONDS)
            if version not in self._answers or self._answers[version] != label:
                raise WrongAnswerError(f"version {version} answered {label!r}")
        except Exception as error:  # whatever it is, the request is lost, and that is what is counted
            loss: dict[str, object] = {
                "phase": phase,
                "asked_seconds_after_start": round(since_start, 2),
                "asked_seconds_after_phase_began": round(since_phase, 2),
                "seconds_until_lost": round(time.monotonic() - asked, 2),
                "what": describe(error),
            }
            tally.lost.append(loss)
            tell({"event": "lost", "client": name, **loss})
        else:
            tally.answered += 1
            tally.latencies.append(loop.time() - intended)
            tally.versions.setdefault(phase, Counter())[version] += 1


def describe(error: Exception) -> str:
    """Say in one line why a request was lost; of a gRPC call its code, its details and where it broke.

    >>> describe(ConnectionError("closed after 0 bytes"))
    'ConnectionError: closed after 0 bytes'
    """
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if callable(code) and callable(details):
        where = getattr(error, "debug_error_string", str)() or ""
        text = f"{code().name}: {details()} [{where[:200]}]"
    else:
        text = str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())[:500]


def tell(event: dict[str, object]) -> None:
    """Print a line."""
    print(json.dumps(event), flush=True)


async def warm_up(name: str, ask: Callable[[], Awaitable[Answer]]) -> None:
    """Ask until there is a first answer; a client that gets none ends the program."""
    deadline = asyncio.get_running_loop().time() + WARM_UP_SECONDS
    while True:
        try:
            await asyncio.wait_for(ask(), PATIENCE_SECONDS)
        except Exception as error:  # anything may be in the way until the route is there
            if asyncio.get_running_loop().time() > deadline:
                raise SystemExit(f"{name} got no answer within {WARM_UP_SECONDS:g} s: {error!r}") from None
            await asyncio.sleep(0.5)
        else:
            return


async def read_phases(traffic: Traffic) -> None:
    """Follow standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        traffic.enter(line.decode().strip())
        tell({"event": "phase", "phase": traffic.phase, "versions": traffic.versions()})
    traffic.over.set()


async def resolved(host: str) -> str:
    """Look a name up once: a Service keeps its address, and a look-up that fails is a loss of the DNS."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WARM_UP_SECONDS
    while True:
        try:
            return str((await loop.getaddrinfo(host, None, family=socket.AF_INET))[0][4][0])
        except socket.gaierror as error:
            if loop.time() > deadline:
                raise SystemExit(f"{host} was not found within {WARM_UP_SECONDS:g} s: {error}") from None
            await asyncio.sleep(0.5)


async def main(plan: dict[str, Any]) -> None:
    """Run the clients of a plan until standard input ends."""
    body = base64.b64decode(plan["body"])
    clients: dict[str, tuple[Callable[[], Awaitable[Answer]], float]] = {}
    over_http: dict[str, Http] = {}
    for name, client in plan["clients"].items():
        host, port = await resolved(client["host"]), client["port"]
        if client["kind"] == "grpc":
            ask = grpc_client(f"{host}:{port}", base64.b64decode(plan["message"]))
        else:
            keep, repeat, authority = client["keep"], client["repeat"], client["authority"]
            over_http[name] = Http(host, port, authority, plan["path"], body, keep=keep, repeat=repeat)
            ask = over_http[name].ask
        clients[name] = ask, client["rate"]
    await asyncio.gather(*(warm_up(name, ask) for name, (ask, _) in clients.items()))
    for http in over_http.values():
        http.repeated = 0
    traffic = Traffic(plan["answers"])
    tell({"event": "started"})
    driving = [traffic.drive(name, ask, rate) for name, (ask, rate) in clients.items()]
    await asyncio.gather(read_phases(traffic), *driving)
    for name, http in over_http.items():
        traffic.tallies[name].repeated = http.repeated
        http.close()
    tell({"event": "report", "clients": {name: tally.report() for name, tally in traffic.tallies.items()}})


if __name__ == "__main__":
    asyncio.run(main(json.loads(base64.b64decode(sys.argv[1]))))
