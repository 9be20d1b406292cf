# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client pod's program: it sends requests at a constant rate over several kinds of connections.

Requests have intended start times and go out at those, independent of earlier responses (an open loop);
latency counts from the intended start. A response succeeds only with status 200, a known model version and
that version's golden label. The one retry follows HTTP's rules: if the server closed a kept connection before
the first byte of the response, the request is sent once more on a new connection. A prediction is idempotent,
so RFC 9112, section 9.3.1, allows the retry, and RFC 9110, section 9.2.2, forbids a second one. Retries are
counted.

It runs in the serving image, so it imports only packages of that image and `tests.support.http_client`, which
:mod:`tests.e2e.traffic` mounts next to it.

Standard input: each line is the name of the next phase; the end of the input ends the traffic. Standard
output: JSON lines, `{"event": "started"}`, `{"event": "lost", …}` and finally `{"event": "report", …}`.
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
from typing import Any, TypeVar

from tests.support.http_client import Response, parse_response
from tidegate.protocol.constants import JSON_MEDIA_TYPE, Protocol
from tidegate.protocol.responses import parse_outputs
from tidegate.stats import percentile

T = TypeVar("T")
Label = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A successful response: the model's version, and the label of the first row."""

    version: str
    label: Label


Infer = Callable[[], Awaitable[Prediction]]
"""Sends the golden request once and returns the response."""

TIMEOUT_SECONDS = 15.0
WARM_UP_SECONDS = 60.0
WARM_UP_PAUSE_SECONDS = 0.5
LOSSES_SHOWN = 20


class ClosedWhileIdleError(ConnectionError):
    """A kept connection that ended before the first byte of a response."""


class UnexpectedResponseError(Exception):
    """A response with another status, version or label than expected."""


@dataclass
class ClientStats:
    """The counts of one client's requests, and the latencies of the successful ones in seconds."""

    sent: int = 0
    succeeded: int = 0
    retried: int = 0
    losses: list[dict[str, object]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    versions: dict[str, Counter[str]] = field(default_factory=dict)
    """Successful responses by phase and model version."""

    def report(self) -> dict[str, object]:
        """Summarise the counts; latencies in milliseconds."""
        return {
            "sent": self.sent,
            "succeeded": self.succeeded,
            "retried": self.retried,
            "lost": len(self.losses),
            "losses": self.losses[:LOSSES_SHOWN],
            "lost_by_phase": dict(Counter(str(loss["phase"]) for loss in self.losses)),
            "p50_ms": self._latency_ms(50),
            "p99_ms": self._latency_ms(99),
            "max_ms": self._latency_ms(100),
            "versions": {phase: dict(counts) for phase, counts in self.versions.items()},
        }

    def _latency_ms(self, q: float) -> float | None:
        seconds = percentile(self.latencies, q)
        return None if seconds is None else round(seconds * 1000, 1)


class HttpClient:
    """An HTTP/1.1 client that sends one request to one address.

    Args:
        host: Name or address.
        port: The port.
        authority: The Host header.
        path: The request's path.
        body: The request's JSON.
        keep_alive: Whether connections are kept for the next request.
        retry: Whether a request on a kept connection that was closed while idle is sent once more.
    """

    def __init__(
        self, host: str, port: int, authority: str, path: str, body: bytes, *, keep_alive: bool, retry: bool
    ) -> None:
        self._address = (host, port)
        head = f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {JSON_MEDIA_TYPE}\r\n"
        head += "" if keep_alive else "Connection: close\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._keep_alive = keep_alive
        self._retry = retry
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.retried = 0

    async def infer(self) -> Prediction:
        """Send the request, and send it once more if HTTP's rules allow a retry."""
        connection = self._take_idle()
        if connection is not None:
            try:
                return await self._exchange(*connection, kept=True)
            except ClosedWhileIdleError:
                if not self._retry:
                    raise
                self.retried += 1
        # The retry never uses another kept connection, because the server may close both at the same moment.
        reader, writer = await asyncio.open_connection(*self._address)
        return await self._exchange(reader, writer, kept=False)

    def _take_idle(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Take a kept connection that is not known to be closed."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Close the idle connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, kept: bool
    ) -> Prediction:
        reusable = False
        try:
            writer.write(self._request)
            response = await receive(reader, kept=kept)
            reusable = self._keep_alive and not response.closes
        finally:
            if reusable:
                self._idle.append((reader, writer))
            else:
                writer.close()
        if response.status != 200:
            content = response.body[:200].decode(errors="replace")
            raise UnexpectedResponseError(f"status {response.status}: {content}")
        outputs = parse_outputs(Protocol.V2, response.body)
        return Prediction(response.json()["model_version"], next(iter(outputs.values()))[0])


async def receive(reader: asyncio.StreamReader, *, kept: bool) -> Response:
    """Receive one response.

    Args:
        reader: The connection.
        kept: Whether the connection has carried an earlier response.

    Raises:
        ClosedWhileIdleError: If a kept connection ends before the first byte.
        ConnectionError: If the connection ends before the response is complete.
    """
    received = b""
    try:
        while (parsed := parse_response(received)) is None:
            chunk = await reader.read(65_536)
            if not chunk:
                raise ConnectionError(f"closed after {len(received)} bytes of the response")
            received += chunk
    except ConnectionError as error:
        if kept and not received:
            raise ClosedWhileIdleError(f"{type(error).__name__} while idle: {error}") from None
        raise
    response, rest = parsed
    if rest:
        raise UnexpectedResponseError(f"{len(rest)} bytes after the response")
    return response


def grpc_client(target: str, message: bytes) -> Infer:
    """Return a client with one channel for all requests, as gRPC's documentation recommends."""
    import grpc

    messages = _load_kserve_messages()
    channel = grpc.aio.insecure_channel(target)
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        response_deserializer=messages.ModelInferResponse.FromString,
    )

    async def infer() -> Prediction:
        response = await call(message, timeout=TIMEOUT_SECONDS)
        contents = response.outputs[0].contents
        label = [*contents.bytes_contents, *contents.int64_contents][0]
        return Prediction(response.model_version, label.decode() if isinstance(label, bytes) else label)

    return infer


def _load_kserve_messages() -> Any:
    """Load KServe's message classes without the package itself, whose import takes seconds."""
    package = importlib.util.find_spec("kserve")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "protocol" / "grpc" / "grpc_predict_v2_pb2.py"
    spec = importlib.util.spec_from_file_location("grpc_predict_v2_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    messages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(messages)
    return messages


class TrafficGenerator:
    """Concurrent clients, with their counts by phase.

    Args:
        golden_labels: The expected label by model version.
    """

    def __init__(self, golden_labels: dict[str, Label]) -> None:
        self._golden_labels = golden_labels
        self.stats: dict[str, ClientStats] = {}
        self.phase = "start"
        self.stopped = asyncio.Event()
        self._started_at = self._phase_started_at = time.monotonic()

    def enter(self, phase: str) -> None:
        """Start a phase."""
        self.phase, self._phase_started_at = phase, time.monotonic()

    def versions(self) -> dict[str, dict[str, dict[str, int]]]:
        """Count the successful responses so far by client, phase and model version."""
        return {
            name: {phase: dict(counts) for phase, counts in stats.versions.items()}
            for name, stats in self.stats.items()
        }

    async def run_client(self, name: str, infer: Infer, rate: float) -> None:
        """Send requests at a constant rate until the traffic stops.

        Args:
            name: The client's name in the report.
            infer: Sends one request.
            rate: Requests per second.
        """
        loop = asyncio.get_running_loop()
        stats = self.stats.setdefault(name, ClientStats())
        start, in_flight = loop.time(), set()
        while not self.stopped.is_set():
            intended_start = start + stats.sent / rate
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), max(0.0, intended_start - loop.time()))
                break
            stats.sent += 1
            task = asyncio.create_task(self.send(name, infer, stats, intended_start))
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)
        await asyncio.gather(*in_flight)

    async def send(self, name: str, infer: Infer, stats: ClientStats, intended_start: float) -> None:
        """Send one request, and count it as succeeded or lost.

        Args:
            name: The client's name in the report.
            infer: Sends the request.
            stats: The client's counts.
            intended_start: The scheduled time, on the event loop's clock in seconds.
        """
        phase, loop = self.phase, asyncio.get_running_loop()
        sent_at = time.monotonic()
        since_start, since_phase = sent_at - self._started_at, sent_at - self._phase_started_at
        try:
            prediction = await asyncio.wait_for(infer(), TIMEOUT_SECONDS)
            version, label = prediction.version, prediction.label
            if version not in self._golden_labels or self._golden_labels[version] != label:
                raise UnexpectedResponseError(f"version {version} returned the label {label!r}")
        except Exception as error:  # every error means a lost request
            loss: dict[str, object] = {
                "phase": phase,
                "sent_seconds_after_start": round(since_start, 2),
                "sent_seconds_after_phase_start": round(since_phase, 2),
                "seconds_until_lost": round(time.monotonic() - sent_at, 2),
                "error": describe(error),
            }
            stats.losses.append(loss)
            emit({"event": "lost", "client": name, **loss})
        else:
            stats.succeeded += 1
            stats.latencies.append(loop.time() - intended_start)
            stats.versions.setdefault(phase, Counter())[version] += 1


def describe(error: Exception) -> str:
    """Describe a request's error in one line; for a gRPC call with its code, details and peer.

    >>> describe(ConnectionError("closed after 0 bytes"))
    'ConnectionError: closed after 0 bytes'
    """
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if callable(code) and callable(details):
        debug = getattr(error, "debug_error_string", str)() or ""
        text = f"{code().name}: {details()} [{debug[:200]}]"
    else:
        text = str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())[:500]


def emit(event: dict[str, object]) -> None:
    """Print an event as one line of JSON."""
    print(json.dumps(event), flush=True)


async def retry_until_ready(
    description: str, call: Callable[[], Awaitable[T]], errors: type[Exception] = Exception
) -> T:
    """Await a call until it succeeds; end the program if it does not in time.

    Args:
        description: The expected result, for the message.
        call: The call.
        errors: The errors after which the call is repeated.

    Returns:
        The call's first result.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WARM_UP_SECONDS
    while True:
        try:
            return await call()
        except errors as error:
            if loop.time() > deadline:
                raise SystemExit(f"{description}: none within {WARM_UP_SECONDS:g} s: {error!r}") from None
        await asyncio.sleep(WARM_UP_PAUSE_SECONDS)


async def warm_up(name: str, infer: Infer) -> None:
    """Send requests until one succeeds, because before the route is ready every kind of error can occur."""
    await retry_until_ready(
        f"{name}: a successful response", lambda: asyncio.wait_for(infer(), TIMEOUT_SECONDS)
    )


async def read_phases(traffic: TrafficGenerator) -> None:
    """Enter the phases that standard input names, and stop the traffic at its end."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        traffic.enter(line.decode().strip())
        emit({"event": "phase", "phase": traffic.phase, "versions": traffic.versions()})
    traffic.stopped.set()


async def resolve(host: str) -> str:
    """Resolve a name once, because later DNS failures are not losses of the release."""
    loop = asyncio.get_running_loop()
    addresses = await retry_until_ready(
        f"{host}: an address", lambda: loop.getaddrinfo(host, None, family=socket.AF_INET), socket.gaierror
    )
    return str(addresses[0][4][0])


async def main(plan: dict[str, Any]) -> None:
    """Run the clients of a plan until standard input ends."""
    body = base64.b64decode(plan["body"])
    clients: dict[str, tuple[Infer, float]] = {}
    http_clients: dict[str, HttpClient] = {}
    for name, client in plan["clients"].items():
        host, port = await resolve(client["host"]), client["port"]
        if client["kind"] == "grpc":
            infer = grpc_client(f"{host}:{port}", base64.b64decode(plan["message"]))
        else:
            http_clients[name] = HttpClient(
                host,
                port,
                client["authority"],
                plan["path"],
                body,
                keep_alive=client["keep_alive"],
                retry=client["retry"],
            )
            infer = http_clients[name].infer
        clients[name] = infer, client["rate"]
    await asyncio.gather(*(warm_up(name, infer) for name, (infer, _) in clients.items()))
    for http_client in http_clients.values():
        http_client.retried = 0
    traffic = TrafficGenerator(plan["golden_labels"])
    emit({"event": "started"})
    running = [traffic.run_client(name, infer, rate) for name, (infer, rate) in clients.items()]
    await asyncio.gather(read_phases(traffic), *running)
    for name, http_client in http_clients.items():
        traffic.stats[name].retried = http_client.retried
        http_client.close()
    emit({"event": "report", "clients": {name: stats.report() for name, stats in traffic.stats.items()}})


if __name__ == "__main__":
    asyncio.run(main(json.loads(base64.b64decode(sys.argv[1]))))
