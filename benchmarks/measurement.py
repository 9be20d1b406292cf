# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Measurements: one load on one running server, and whether its figures are conclusive.

Figures are inconclusive if the generator had no CPU to spare, because they are then the generator's. They are
also inconclusive if responses were wrong. An inconclusive measurement is repeated a few times.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import client, h2load, wrk
from benchmarks.case import Case, Protocol
from benchmarks.process import CPU_RESOLUTION_SECONDS, Cores, ServerProcess, run_generator
from benchmarks.requests import BenchmarkRequest
from benchmarks.servers import HOST, PATHS, Launch, Server
from tidegate.errors import ServerError

MAX_GENERATOR_CPU = 0.9
ATTEMPTS = 3
_TIMEOUT_MARGIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures by name, and the reason if they are inconclusive."""

    figures: dict[str, float]
    inconclusive: str | None


def inconclusive_reason(figures: dict[str, float], *, failed: int, may_saturate: bool) -> str | None:
    """Return the reason why figures are inconclusive, or None.

    Args:
        figures: ``generator_cpu`` is the used fraction of its core.
        failed: Number of unexpected responses and of requests without a response.
        may_saturate: Whether the generator's own limit is measured.
    """
    if failed:
        return f"{failed:,} requests failed or had no response"
    if figures["generator_cpu"] > MAX_GENERATOR_CPU and not may_saturate:
        return f"the generator used {figures['generator_cpu']:.0%} of its core"
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A running server, ready to be loaded."""

    server: Server
    launch: Launch
    process: ServerProcess
    cores: Cores

    def measure(self, case: Case, request: BenchmarkRequest, warmup: int, seconds: int) -> Measurement:
        """Load the server and read the generator's report.

        Args:
            case: The load.
            request: The request to repeat.
            warmup: Seconds of the same load before the measurement.
            seconds: Duration of the measurement.

        Raises:
            ServerError: If the server or the generator fails.
        """
        body = self.launch.folder / "request"
        is_grpc = case.protocol is Protocol.GRPC
        body.write_bytes(h2load.with_prefix(request.body) if is_grpc else request.body)
        self._closed_loop(case, body, request, warmup)
        return self._repeat(lambda: self._closed_loop(case, body, request, seconds))

    def _repeat(self, attempt: Callable[[], Measurement]) -> Measurement:
        for _ in range(ATTEMPTS):
            measurement = attempt()
            if measurement.inconclusive is None:
                break
        return measurement

    def _closed_loop(self, case: Case, body: Path, request: BenchmarkRequest, seconds: int) -> Measurement:
        tools = self.launch.tools
        if case.protocol is Protocol.GRPC:
            log = self.launch.folder / "responses"
            message_bytes = len(client.send_grpc(self.launch, request))
            log.unlink(missing_ok=True)
            argv = h2load.command(
                tools.h2load, self._url(case), body, log, case.connections, case.streams, seconds
            )

            def parse(output: str) -> wrk.Summary:
                return h2load.parse(output, log.read_text(), message_bytes)
        else:
            argv = wrk.command(tools.wrk, self._url(case), body, request.headers, case.connections, seconds)
            parse = wrk.parse
        before, started_at = self.process.usage(), time.monotonic()
        result = run_generator(argv, self.cores.generator, seconds + _TIMEOUT_MARGIN_SECONDS)
        elapsed = time.monotonic() - started_at
        after = self.process.usage()
        self.process.raise_if_exited()
        try:
            report = parse(result.output)
        except ServerError as error:  # the server runs but was too slow; the other cases are still measured
            return Measurement({}, str(error))
        server_cpu_s = after.cpu_s - before.cpu_s
        figures = {
            "rps": report.rps,
            "p50_ms": report.p50_ms,
            "p99_ms": report.p99_ms,
            "generator_cpu": result.cpu_utilization,
            "server_cpu": server_cpu_s / elapsed,
            "rss_mb": after.rss_mb,
        }
        if server_cpu_s >= CPU_RESOLUTION_SECONDS:
            figures["responses_per_cpu_s"] = report.responses / server_cpu_s
        expected_errors = report.responses if self.server.expected_status >= 400 else 0
        failed = abs(report.error_responses - expected_errors) + report.failures
        reason = inconclusive_reason(figures, failed=failed, may_saturate=self.server.may_saturate)
        return Measurement(figures, reason)

    def _url(self, case: Case) -> str:
        port = self.launch.grpc_port if case.protocol is Protocol.GRPC else self.launch.port
        return f"http://{HOST}:{port}" + PATHS[case.protocol].format(name=self.launch.model_name)
