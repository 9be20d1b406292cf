# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.support.stub_server import make_contract, predict
from tidegate.errors import ConfigurationError, ServerError
from tidegate.protocol.constants import Protocol
from tidegate.protocol.openloop import Response
from tidegate_loadtests.capacity import replica as replica_module
from tidegate_loadtests.capacity.contention import Contention
from tidegate_loadtests.capacity.generator import Arrivals, Sent
from tidegate_loadtests.capacity.replica import Endpoint, LiveReplica, split_cpus
from tidegate_loadtests.capacity.search import Criterion
from tidegate_loadtests.capacity.server_metrics import ServerMetrics

ENDPOINT = Endpoint("http://127.0.0.1:8080/", make_contract(), Protocol.V1, 1, {"X-Tenant": "a"})
CRITERION = Criterion(percentile=99, latency_seconds=0.02, max_failure_ratio=0.0)
METRICS = ServerMetrics("ab" * 32, "onnx", 10.0, 100, 200, 0, 5.0, 1e8)
NO_RESPONSE = -1
LATER = replace(METRICS, request_seconds=12.0, calls=150, rows=400, cpu_seconds=6.0, memory_bytes=2e8)


class FakeGenerator:
    """A generator whose requests take 10 ms, except some."""

    def __init__(
        self,
        late: int = 0,
        statuses: dict[int, int] | None = None,
        label: int | None = None,
        send_delays: np.ndarray | None = None,
        waited: int = 0,
    ) -> None:
        self.late, self.statuses, self.label = late, statuses or {}, label
        self.send_delays, self.waited = send_delays, waited
        self.requests = ENDPOINT.requests()
        self.arrivals: list[Arrivals] = []

    def send(self, arrivals: Arrivals) -> Sent:
        self.arrivals.append(arrivals)
        count = len(arrivals.starts)
        statuses = np.full(count, 200)
        for number, status in self.statuses.items():
            statuses[number] = status
        latencies = np.where(np.arange(count) < self.late, 0.03, 0.01)
        completed = (
            np.arange(1, count + 1) * 0.01 if arrivals.connections == 1 else arrivals.starts + latencies
        )
        completed = np.where(statuses == NO_RESPONSE, np.nan, completed)
        statuses[statuses == NO_RESPONSE] = 0
        kept = {number: self.respond(number) for number in range(0, count, 8)}
        delays = np.full(count, 0.001) if self.send_delays is None else self.send_delays
        return Sent(completed, statuses, delays, np.arange(count) < self.waited, cpu_seconds=0.5, kept=kept)

    def respond(self, number: int) -> Response:
        body = json.loads(self.requests[number % len(self.requests)].body)
        labels = [predict(row)[0] if self.label is None else self.label for row in body["instances"]]
        return Response(self.statuses.get(number, 200), {}, json.dumps({"predictions": labels}).encode())


@pytest.fixture
def scrapes(monkeypatch: pytest.MonkeyPatch) -> list[ServerMetrics]:
    """Return the scrapes that follow; the last one repeats."""
    pages = [METRICS, LATER]
    monkeypatch.setattr(replica_module, "scrape", lambda *_: pages.pop(0) if len(pages) > 1 else pages[0])
    return pages


def make_replica(
    generator: FakeGenerator,
    contention: Iterator[Contention] | None = None,
    criterion: Criterion = CRITERION,
) -> LiveReplica:
    times = contention or iter([Contention(), Contention()])
    return LiveReplica(
        ENDPOINT, generator.requests, criterion, generator, lambda: next(times), sleep=lambda _: None
    )


def test_window_has_counts_and_metric_differences(scrapes: list[ServerMetrics]) -> None:
    contention = iter([Contention(1.0, 1.0), Contention(2.0, 9.0)])
    replica = make_replica(FakeGenerator(late=3), contention)
    result = replica.run_window(100, 10.0)
    assert (result.window.requests, result.window.late, result.window.failures) == (1000, 3, 0)
    assert result.window.generator_utilization == 0.05
    assert result.window.send_delay_p99_seconds == pytest.approx(0.001)
    assert result.window.server_starvation == pytest.approx(0.1)
    assert (result.calls, result.rows, result.cpu_seconds, result.request_seconds) == (50, 200, 1.0, 2.0)
    assert result.latency_p50_seconds == pytest.approx(0.01)
    assert result.rate_measurement.in_flight == pytest.approx(0.2)
    assert replica.max_memory_bytes == 200_000_000


def test_window_counts_successful_responses_as_late(scrapes: list[ServerMetrics]) -> None:
    result = make_replica(FakeGenerator(late=3, statuses={1: 429, 5: 429, 16: 0})).run_window(100, 10.0)
    assert (result.window.failures, result.window.late) == (3, 2)


def test_window_send_delay_is_a_nearest_rank_percentile(scrapes: list[ServerMetrics]) -> None:
    generator = FakeGenerator(send_delays=np.arange(1, 1001) / 1e6)
    result = make_replica(generator).run_window(100, 10.0)
    assert result.window.send_delay_p99_seconds == 0.00099  # of 1,000 requests, the 990th


def test_window_counts_wrong_golden_outputs_as_failures(scrapes: list[ServerMetrics]) -> None:
    result = make_replica(FakeGenerator(label=7)).run_window(10, 10.0)
    assert result.window.failures == 13  # every eighth of 100 requests is kept, and none of them is correct


def test_window_starts_with_an_empty_queue(scrapes: list[ServerMetrics]) -> None:
    scrapes.insert(0, replace(METRICS, queued_rows=7, calls=1))
    assert make_replica(FakeGenerator()).run_window(100, 1.0).calls == 50


def test_window_of_a_server_that_others_use_is_an_error(scrapes: list[ServerMetrics]) -> None:
    scrapes[:] = [replace(METRICS, queued_rows=7)]
    with pytest.raises(ServerError, match="stop its other clients"):
        make_replica(FakeGenerator()).run_window(100, 1.0)


@pytest.mark.parametrize(
    ("rate", "latency", "expected"),
    [(100, 0.02, 256), (12_800, 0.02, 256), (13_000, 0.02, 260), (900, 1.0, 900), (10_000, 1.0, 4096)],
)
def test_window_has_connections_for_the_threshold(
    scrapes: list[ServerMetrics], rate: float, latency: float, expected: int
) -> None:
    generator = FakeGenerator(waited=7)
    replica = make_replica(generator, criterion=replace(CRITERION, latency_seconds=latency))
    result = replica.run_window(rate, 1.0)
    assert generator.arrivals[0].connections == expected
    assert (result.window.connections, result.window.waited) == (expected, 7)


def test_probe_returns_the_latency_of_each_request(scrapes: list[ServerMetrics]) -> None:
    generator = FakeGenerator()
    assert make_replica(generator).probe(50, 90.0) == pytest.approx(np.full(50, 0.01))
    [arrivals] = generator.arrivals
    assert (arrivals.seconds + arrivals.response_seconds, arrivals.connections) == (90, 1)


@pytest.mark.parametrize(
    ("generator", "problem"),
    [
        (FakeGenerator(statuses={3: 404}), "status 404: correct --bundle or --url"),
        (FakeGenerator(label=7), "a wrong response: correct --bundle or --url"),
        (FakeGenerator(statuses={3: 0}), "a closed connection: correct --bundle or --url"),
        (FakeGenerator(statuses={3: NO_RESPONSE}), "no response within 90 s: measure a model that responds"),
    ],
)
def test_probe_of_a_failing_server_is_an_error(generator: FakeGenerator, problem: str) -> None:
    with pytest.raises(ServerError, match=f"single requests, the first with {problem}"):
        make_replica(generator).probe(50, 90.0)


@pytest.mark.parametrize(("latency", "expected"), [(0.02, 3), (0.75, 3), (5.0, 20)])
def test_window_waits_for_late_responses_of_a_slow_model(
    scrapes: list[ServerMetrics], latency: float, expected: float
) -> None:
    generator = FakeGenerator()
    replica = make_replica(generator, criterion=replace(CRITERION, latency_seconds=latency))
    replica.run_window(100, 10.0)
    [arrivals] = generator.arrivals
    assert (arrivals.seconds, arrivals.response_seconds) == (10, expected)


def test_endpoint_encodes_requests_with_headers() -> None:
    requests = ENDPOINT.requests()
    [content, *_] = ENDPOINT.contents(requests)
    head, _, body = content.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/models/stub:predict HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")
    assert b"X-Tenant: a" in head
    assert body == requests[0].body
    assert ENDPOINT.address == ("127.0.0.1", 8080)


@pytest.mark.parametrize("url", ["https://a.example", "a.example:80", "http://"])
def test_endpoint_without_plain_http_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected http://"):
        _ = replace(ENDPOINT, url=url).address


def test_server_and_generator_never_share_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 3})
    assert split_cpus(1) == ({2}, 5)
    assert split_cpus(2) == ({2, 3}, 5)
    with pytest.raises(ConfigurationError, match="needs 3 CPUs and the load generator one more"):
        split_cpus(3)
