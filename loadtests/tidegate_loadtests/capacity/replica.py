# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The replica under load: a server that this process starts on CPUs of its own, or one by its URL.

A server of this machine and its load generator never share a CPU.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Contract
from tidegate.errors import ConfigurationError, ServerError
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH, Protocol
from tidegate.protocol.openloop import LAST_RESPONSE_SECONDS, request_bytes
from tidegate.schedule import poisson_arrivals
from tidegate.stats import percentile
from tidegate_loadtests.capacity.contention import Contention, read_contention
from tidegate_loadtests.capacity.generator import Arrivals, Generator, Sent, max_connections, raise_file_limit
from tidegate_loadtests.capacity.measurement import WindowResult, summarise_latencies
from tidegate_loadtests.capacity.search import Criterion, Window
from tidegate_loadtests.capacity.server_metrics import ServerMetrics, scrape
from tidegate_loadtests.partition import Partition
from tidegate_loadtests.workload import InferenceRequest, build_requests, validate_response

_DRAIN_TIMEOUT_SECONDS = 60.0
_DRAIN_POLL_SECONDS = 0.1
_STOP_TIMEOUT_SECONDS = 15.0
_REQUEST_TIMEOUT_SECONDS = 60.0
_MIN_CONNECTIONS = 256
_RESPONSE_LATENCIES = 4
"""Latency thresholds after a window in which its responses still count.

The criterion permits some late responses, and a late response is not a failure.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server's address, and the requests that it receives."""

    url: str
    contract: Contract
    protocol: Protocol
    rows_per_request: int
    headers: Mapping[str, str]
    seed: int = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            ConfigurationError: If the URL is not one of plain HTTP.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError(
                f"--url: '{self.url}' is not the URL of one replica: expected http://<host>:<port>, "
                "without TLS."
            )
        return parts.hostname, parts.port or 80

    def requests(self) -> list[InferenceRequest]:
        """Build the requests, each with other rows."""
        partition = Partition(
            contract=self.contract,
            protocols={self.protocol: 1.0},
            rows_per_request=self.rows_per_request,
            timeout=_REQUEST_TIMEOUT_SECONDS,
            seed=self.seed,
            phases=(),
        )
        return build_requests(partition, self.rows_per_request)

    def contents(self, requests: Sequence[InferenceRequest]) -> list[bytes]:
        """Encode the requests with their heads."""
        url = self.url.rstrip("/")
        return [
            request_bytes(url + request.path, request.body, {**request.headers, **self.headers})
            for request in requests
        ]


class LiveReplica:
    """A running server with its load generator.

    Args:
        endpoint: The server.
        requests: The requests whose contents the generator sends.
        criterion: The thresholds of every window.
        generator: The load generator.
        read_contention: Reads the contention for the server's CPUs; by default none.
        sleep: Waits the given seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        requests: Sequence[InferenceRequest],
        criterion: Criterion,
        generator: Generator,
        read_contention: Callable[[], Contention] = Contention,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._requests = requests
        self._criterion = criterion
        self._generator = generator
        self._read_contention = read_contention
        self._sleep = sleep
        self._source = np.random.default_rng(endpoint.seed)
        self.max_memory_bytes = 0
        """The largest memory use at the end of a window."""

    def scrape(self) -> ServerMetrics:
        """Scrape the server's metrics."""
        metrics = scrape(self._endpoint.url, self._endpoint.headers)
        self.max_memory_bytes = max(self.max_memory_bytes, int(metrics.memory_bytes))
        return metrics

    def probe(self, requests: int, seconds: float) -> NDArray[np.float64]:
        """Send requests one after the other; return the latency of each in seconds, ``[requests]``.

        Args:
            requests: Number of requests.
            seconds: Limit of their time together.

        Raises:
            ServerError: If a response is missing, not successful or not correct.
        """
        sent = self._generator.send(Arrivals(np.zeros(requests), seconds, 1, response_seconds=0.0))
        failed = self._failures(sent)
        if failed.any():
            problem = self._describe_failure(sent, int(np.argmax(failed)), seconds)
            raise ServerError(
                f"{self._endpoint.url} failed {failed.sum()} of {requests} single requests, the first with "
                f"{problem}, or see the server's log."
            )
        return np.diff(sent.completed, prepend=0.0)

    @staticmethod
    def _describe_failure(sent: Sent, number: int, seconds: float) -> str:
        """Return why a single request failed, with the fix."""
        status = int(sent.statuses[number])
        if np.isnan(sent.completed[number]):
            return f"no response within {seconds:.0f} s: measure a model that responds sooner"
        problem = {0: "a closed connection", 200: "a wrong response"}.get(status, f"status {status}")
        return f"{problem}: correct --bundle or --url"

    def run_window(self, rate: float, seconds: float) -> WindowResult:
        """Send Poisson load, wait for all responses, and return the window."""
        before = self._drained()
        count = max(1, round(rate * seconds))
        starts = poisson_arrivals(count, 0.0, seconds, self._source)
        contention = self._read_contention()
        response_seconds = max(LAST_RESPONSE_SECONDS, _RESPONSE_LATENCIES * self._criterion.latency_seconds)
        connections = min(max(_MIN_CONNECTIONS, self._criterion.in_flight(rate)), max_connections())
        sent = self._generator.send(Arrivals(starts, seconds, connections, response_seconds))
        starvation = self._read_contention().starvation_since(contention, seconds)
        after = self.scrape()
        latencies = sent.completed - starts
        failed = self._failures(sent)
        successful = latencies[~failed]
        p50, p99 = summarise_latencies(successful)
        return WindowResult(
            window=Window(
                rate=rate,
                requests=count,
                late=int((successful > self._criterion.latency_seconds).sum()),
                failures=int(failed.sum()),
                send_delay_p99_seconds=percentile(sent.send_delays, 99) or 0.0,
                generator_utilization=sent.cpu_seconds / seconds,
                server_starvation=starvation,
                connections=connections,
                waited=int(sent.waited.sum()),
            ),
            seconds=seconds,
            latency_p50_seconds=p50,
            latency_p99_seconds=p99,
            cpu_seconds=after.cpu_seconds - before.cpu_seconds,
            request_seconds=after.request_seconds - before.request_seconds,
            calls=after.calls - before.calls,
            rows=after.rows - before.rows,
            memory_bytes=int(after.memory_bytes),
        )

    def _drained(self) -> ServerMetrics:
        """Wait until the server's queue is empty."""
        for _ in range(round(_DRAIN_TIMEOUT_SECONDS / _DRAIN_POLL_SECONDS)):
            metrics = self.scrape()
            if metrics.queued_rows == 0:
                return metrics
            self._sleep(_DRAIN_POLL_SECONDS)
        raise ServerError(
            f"{self._endpoint.url} has rows in its queue {_DRAIN_TIMEOUT_SECONDS:.0f} s after the last "
            "request: stop its other clients."
        )

    def _failures(self, sent: Sent) -> NDArray[np.bool_]:
        """Return which requests have no response, an error response or wrong outputs, ``[requests]``."""
        failed: NDArray[np.bool_] = sent.statuses != 200
        for number, response in sent.kept.items():
            request = self._requests[number % len(self._requests)]
            header_length = response.headers.get(INFERENCE_HEADER_CONTENT_LENGTH.lower())
            if response.status == 200 and validate_response(
                request, self._endpoint.contract, header_length, response.body
            ):
                failed[number] = True
        return failed


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is ready."""

    url: str
    startup_seconds: float
    generator_cpu: int | None = None
    """The CPU for the load generator; None leaves the choice to the kernel."""
    read_contention: Callable[[], Contention] = Contention


def split_cpus(cpus: int) -> tuple[set[int], int]:
    """Divide the CPUs of this process: the first for the server, the last for the load generator.

    Args:
        cpus: CPUs of the server.

    Raises:
        ConfigurationError: If there are too few.
    """
    available = sorted(os.sched_getaffinity(0))
    if len(available) <= cpus:
        raise ConfigurationError(
            f"--cpus: the server needs {cpus} CPUs and the load generator one more, and this process may use "
            f"{len(available)}: lower --cpus, or start the server on another machine and give --url."
        )
    return set(available[:cpus]), available[-1]


@contextmanager
def start_server(bundle: Path, options: Sequence[str], cpus: int, log: Path) -> Iterator[RunningServer]:
    """Run ``tidegate serve`` on a free port while the block runs.

    Args:
        bundle: The bundle's directory.
        options: Further options of the command.
        cpus: Number of CPUs that the server is pinned to.
        log: The file for its standard error.

    Raises:
        ConfigurationError: If this machine has too few CPUs.
        ServerError: If the server ends before it is ready.
    """
    server_cpus, generator_cpu = split_cpus(cpus)
    # With -c, because the script of the command line is not always on the PATH of this process.
    command = [sys.executable, "-c", "from tidegate.cli import main; main()", "serve", str(bundle)]
    command += ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--drain-seconds", "0"]
    command += ["--output", "json", *options]
    started_at = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output, start_new_session=True
        )
    os.sched_setaffinity(process.pid, server_cpus)
    raise_file_limit(process.pid)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ServerError(f"The server ended before it was ready: see its log {log}.")
        port = json.loads(line)["http_port"]
        yield RunningServer(
            f"http://127.0.0.1:{port}",
            startup_seconds=time.monotonic() - started_at,
            generator_cpu=generator_cpu,
            read_contention=lambda: read_contention(process.pid, server_cpus),
        )
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
