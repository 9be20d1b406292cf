# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Overload in virtual time: the real batcher with simulated clients, engines and CPU limits."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tests.support.contracts import MATRIX
from tests.support.fakes import FakeRequest
from tests.support.virtual_time import VirtualLoop, VirtualThread, run
from tidegate.batch import Array, Batch
from tidegate.schedule import poisson_arrivals
from tidegate.stats import percentile
from tidegate_serving.batching import batcher
from tidegate_serving.batching.admission import AdmissionController
from tidegate_serving.batching.batcher import Batcher
from tidegate_serving.batching.service_time import SAMPLES_PER_CLASS
from tidegate_serving.batching.warmup import measure_service_times
from tidegate_serving.config import MAX_QUEUE_DELAY
from tidegate_serving.engines.base import OutputNames
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import Metrics

ROWS = 16
PARSE_SECONDS = 100e-6
"""CPU time of the event loop for an accepted request."""
REJECT_SECONDS = 30e-6
"""CPU time of the event loop for a rejected one."""
CLIENTS = (1, 2, 4, 6, 12, 24, 64)


@dataclass
class SimulatedEngine:
    """An engine whose call takes ``call_seconds + row_seconds * rows`` of the CPU."""

    loop: VirtualLoop
    call_seconds: float
    row_seconds: float
    name = platform = "simulated"
    selects_outputs = False

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, Array]:
        self.loop.work(self.call_seconds + self.row_seconds * len(batch))
        return {"label": np.zeros(len(batch))}

    def prepare_thread(self) -> None:
        pass


@dataclass
class Server:
    """A batcher with what a transport adds: parsing, and the hold of rejections."""

    loop: VirtualLoop
    batcher: Batcher
    responses: list[tuple[float, float]] = field(default_factory=list)
    """The end and the latency of each success, in seconds."""
    rejections: list[float] = field(default_factory=list)
    """The time of each rejection, in seconds."""

    async def request(self) -> bool:
        """Send one request; return whether it succeeds."""
        sent_at = self.loop.now
        await asyncio.sleep(0)  # the socket: the server reads in an iteration of its loop
        try:
            self.batcher.reject_if_overloaded(self.loop.now)
            self.loop.work(PARSE_SECONDS)
            request = FakeRequest(*range(ROWS), clock=self.loop.time)  # type: ignore[arg-type]
            self.batcher.submit(request)
        except RequestError as error:
            if error.code is not ErrorCode.RESOURCE_EXHAUSTED:
                raise
            self.loop.work(REJECT_SECONDS)
            self.rejections.append(self.loop.now)
            await asyncio.sleep(self.batcher.rejection_seconds)
            return False
        await request.outcome
        self.responses.append((self.loop.now, self.loop.now - sent_at))
        return True

    def goodput(self, start: float, end: float) -> float:
        """Return the successes per second between two times."""
        return sum(start <= ended_at < end for ended_at, _ in self.responses) / (end - start)

    def p99(self, start: float) -> float:
        """Return the 99th percentile of the latency of successes that end after a time, in seconds."""
        value = percentile(
            np.array([latency for ended_at, latency in self.responses if ended_at > start]), 99
        )
        assert value is not None
        return value


def make_server(
    loop: VirtualLoop,
    call_seconds: float,
    row_seconds: float,
    limit: float = MAX_QUEUE_DELAY,
    slow_rows: tuple[int, ...] = (),
    fast_rows: int | None = None,
) -> Server:
    """Return a server; calls of ``slow_rows`` rows had to wait for the CPU when they were measured.

    Those of ``fast_rows`` rows took a fifth of what they take now.
    """
    engine = SimulatedEngine(loop, call_seconds, row_seconds)
    service_time = measure_service_times(engine, MATRIX, loop.time)
    for rows in slow_rows:
        for _ in range(SAMPLES_PER_CLASS):
            service_time.record(rows, 20 * call_seconds)
    if fast_rows is not None:
        for _ in range(SAMPLES_PER_CLASS):
            service_time.record(fast_rows, (call_seconds + row_seconds * fast_rows) / 5)
    return Server(
        loop,
        Batcher(
            engine,
            Batch.concatenate,  # type: ignore[arg-type]
            Metrics(CollectorRegistry()),
            service_time,
            admission=AdmissionController(limit),
            thread=VirtualThread(loop),
            clock=loop.time,
        ),
    )


async def closed_loop(server: Server, clients: int, seconds: float) -> None:
    """Let clients send one request after the other, and again at once after a rejection."""
    end = server.loop.now + seconds

    async def client() -> None:
        while server.loop.now < end:
            await server.request()

    await asyncio.gather(*(client() for _ in range(clients)))


async def open_loop(server: Server, rate: float, seconds: float, retries: int = 0) -> None:
    """Send requests at random times, each rejected one again and at once this many times together."""

    async def request(depth: int) -> None:
        if not await server.request() and depth:
            await asyncio.gather(*(request(0) for _ in range(retries)))

    start = server.loop.now
    arrivals = poisson_arrivals(round(rate * seconds), 0.0, seconds, np.random.default_rng(0))
    requests = []
    for arrival in arrivals:
        if (delay := start + arrival - server.loop.now) > 0:  # one iteration reads all that have arrived
            await asyncio.sleep(delay)
        requests.append(asyncio.ensure_future(request(1)))
    await asyncio.gather(*requests)


def measure_closed_loop(
    clients: int, cpu: float, call_seconds: float, row_seconds: float
) -> tuple[float, int]:
    """Return the successes per second in the second half of a run, and the rejections of the whole."""
    seconds = 1 + 200 * (call_seconds + ROWS * row_seconds) / cpu

    async def main(loop: VirtualLoop) -> tuple[float, int]:
        server = make_server(loop, call_seconds, row_seconds)
        await closed_loop(server, clients, seconds)
        server.batcher.close()
        return server.goodput(seconds / 2, seconds), len(server.rejections)

    result: tuple[float, int] = run(main, cpu)
    return result


@pytest.mark.parametrize("cpu", [0.3, 1.0])
@pytest.mark.parametrize("call_seconds", [0.001, 0.005, 0.02, 0.1])
@pytest.mark.parametrize("row_share", [0.0, 0.02, 0.05])
def test_overload_closed_loop_is_never_rejected(cpu: float, call_seconds: float, row_share: float) -> None:
    """More clients never cost throughput, and none is rejected."""
    row_seconds = row_share * call_seconds / ROWS
    best = 0.0
    for clients in CLIENTS:
        goodput, rejections = measure_closed_loop(clients, cpu, call_seconds, row_seconds)
        assert rejections == 0, clients
        assert goodput >= 0.9 * best, clients
        best = max(best, goodput)


@pytest.mark.parametrize("cpu", [0.3, 1.0])
@pytest.mark.parametrize("request_seconds", [0.005, 0.02, 0.1])
def test_overload_without_batching_gain_keeps_throughput(cpu: float, request_seconds: float) -> None:
    """An engine that gains nothing from batches rejects only what would wait longer than the limit."""
    best = 0.0
    for clients in CLIENTS:
        goodput, rejections = measure_closed_loop(clients, cpu, 0.0, request_seconds / ROWS)
        assert goodput >= 0.9 * best, clients
        best = max(best, goodput)
        if clients * request_seconds / cpu < MAX_QUEUE_DELAY * 0.9:
            assert rejections == 0, clients


@pytest.mark.parametrize("factor", [1.2, 2.0, 4.0])
@pytest.mark.parametrize(
    ("call_seconds", "row_seconds"), [(0.0, 0.001), (0.01, 0.0002), (0.0, 0.0001)], ids=str
)
def test_overload_keeps_goodput_and_delay(factor: float, call_seconds: float, row_seconds: float) -> None:
    async def main(loop: VirtualLoop) -> None:
        server = make_server(loop, call_seconds, row_seconds)
        await closed_loop(server, 128 if call_seconds else 16, seconds=10)
        assert not server.rejections
        capacity = server.goodput(5, 10)
        start = loop.now
        await open_loop(server, factor * capacity, seconds=10)
        assert server.goodput(start + 3, start + 10) >= 0.9 * capacity
        longest_call = 2 * max(call_seconds, 0.05) + 256 * ROWS * row_seconds * (call_seconds > 0)
        assert server.p99(start) <= MAX_QUEUE_DELAY + 2 * longest_call
        server.batcher.close()

    run(main)


@pytest.mark.parametrize("clients", [4, 32])
def test_overload_stall_ends_within_two_seconds(clients: int) -> None:
    async def main(loop: VirtualLoop) -> None:
        server = make_server(loop, 0.02, 0.0001)
        loop.call_at(20.0, loop.stall, 1.0)
        await closed_loop(server, clients, seconds=40)
        assert not server.rejections
        assert server.goodput(22, 30) >= 0.95 * server.goodput(10, 20)
        assert server.goodput(20, 21) == 0.0  # the stall happened
        server.batcher.close()

    run(main)


def test_overload_retry_storm_ends_with_its_load() -> None:
    async def main(loop: VirtualLoop) -> None:
        server = make_server(loop, 0.0, 0.001)
        await closed_loop(server, 16, seconds=10)
        capacity = server.goodput(5, 10)
        storm = asyncio.ensure_future(open_loop(server, 2 * capacity, seconds=20, retries=3))
        await asyncio.sleep(20)
        assert len(server.rejections) > 20 * capacity
        ended_at = loop.now
        await open_loop(server, capacity / 2, seconds=20)
        await storm
        last_rejection = max(server.rejections)
        assert last_rejection < ended_at + 2 * server.batcher.rejection_seconds + MAX_QUEUE_DELAY
        assert server.goodput(ended_at + 5, ended_at + 20) == pytest.approx(capacity / 2, rel=0.15)
        server.batcher.close()

    run(main)


@pytest.mark.parametrize(
    ("clients", "request_seconds", "hold", "engine_wait"),
    [(3_000, 0.002, True, True), (64, 0.1, False, True), (64, 0.1, True, False)],
    ids=["both, many clients", "wait for the engine alone", "hold alone"],
)
def test_overload_by_rejected_clients_keeps_goodput(
    monkeypatch: pytest.MonkeyPatch, clients: int, request_seconds: float, hold: bool, engine_wait: bool
) -> None:
    goodput = measure_rejected_clients(monkeypatch, clients, request_seconds, hold, engine_wait)
    assert goodput >= 0.8 / request_seconds


@pytest.mark.parametrize(
    ("clients", "request_seconds", "engine_wait"),
    [(3_000, 0.002, True), (64, 0.1, False)],
    ids=["without hold, many clients", "without both"],
)
def test_overload_without_either_means_would_collapse(
    monkeypatch: pytest.MonkeyPatch, clients: int, request_seconds: float, engine_wait: bool
) -> None:
    """The simulation shows the failure that holding rejections and reading in groups prevent."""
    goodput = measure_rejected_clients(monkeypatch, clients, request_seconds, False, engine_wait)
    assert goodput < 0.5 / request_seconds


def measure_rejected_clients(
    monkeypatch: pytest.MonkeyPatch, clients: int, request_seconds: float, hold: bool, engine_wait: bool
) -> float:
    """Return the goodput of a closed loop with more clients than the queue admits."""
    if not engine_wait:
        monkeypatch.setattr(batcher, "MAX_ENGINE_WAIT", 0.0)

    async def main(loop: VirtualLoop) -> float:
        server = make_server(loop, 0.0, request_seconds / ROWS)
        if not hold:
            server.batcher.rejection_seconds = 0.0
        await closed_loop(server, clients, seconds=6)
        server.batcher.close()
        assert server.rejections
        return server.goodput(3, 6)

    return float(run(main))


def test_burst_on_a_fresh_server_waits_for_a_few_calls() -> None:
    """A call of a second per request: the burst is longer than any bound before the first response."""

    async def burst(loop: VirtualLoop) -> Server:
        server = make_server(loop, 0.0, 1.0 / ROWS)
        await asyncio.gather(*(server.request() for _ in range(40)))
        return server

    server = run(burst)
    assert len(server.responses) >= 2
    assert max(latency for _, latency in server.responses) <= MAX_QUEUE_DELAY + 1
    assert len(server.responses) + len(server.rejections) == 40


def test_overload_wrong_estimate_of_large_batches_is_measured_again() -> None:
    """Each call of more than two requests was measured while the CPU was not available."""

    def goodput(slow_rows: tuple[int, ...]) -> float:
        async def simulate(loop: VirtualLoop) -> Server:
            server = make_server(loop, 0.02, 1e-5, slow_rows=slow_rows)
            await open_loop(server, 400.0, 10.0)
            return server

        return float(run(simulate).goodput(5.0, 10.0))

    assert goodput((64, 128, 256, 512)) >= 0.9 * goodput(())


def test_overload_shortest_calls_without_load_do_not_bound_batches() -> None:
    """Single calls were measured when the CPU was free: five times faster than a call under the load."""

    async def main(loop: VirtualLoop) -> None:
        server = make_server(loop, 0.03, 1e-4, fast_rows=ROWS)
        await open_loop(server, 350.0, 20.0)
        assert server.goodput(5.0, 20.0) >= 0.95 * 350.0
        assert [time for time in server.rejections if time > 5.0] == []
        server.batcher.close()

    run(main)
