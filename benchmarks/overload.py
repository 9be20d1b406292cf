# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Overload: ``python -m benchmarks.overload full|quick`` measures that it ends with its cause.

All figures are in ``out/bench/overload.json``, and ``docs/overload.md`` is rendered from it. The quick plan
has a few closed loops, in ``out/bench/overload-quick.json``, and no page. A figure compares loads of one
server in one run, so the machine's speed cancels out.
"""

import argparse
import asyncio
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks import client, machine, models, tools, wrk
from benchmarks.case import Protocol
from benchmarks.cpu_limit import cpu_limit
from benchmarks.overload_figures import (
    MAX_QUEUE_DELAY_SECONDS,
    ClosedLoop,
    closed_loop_figures,
    cost_figures,
    experiment_figures,
    failures,
    recovery_seconds,
    storm_seconds,
)
from benchmarks.process import Cores, ServerProcess, run_generator, start_server
from benchmarks.report import DOCS, environment, write_result
from benchmarks.requests import BenchmarkRequest, build_request
from benchmarks.retrying import REJECTED, RetryingClients
from benchmarks.servers import HOST, PATHS, SERVERS, Launch, free_ports
from benchmarks.target import format_met, format_target, format_value
from tidegate.errors import ConfigurationError, ExitCode, ServerError, TidegateError
from tidegate.protocol.openloop import OpenLoopClient, request_bytes
from tidegate.schedule import poisson_arrivals
from tidegate.stats import percentile

OUT = models.ROOT / "out" / "bench"

ROWS = 250
LARGE_ROWS = 5_000

REFERENCE_CLIENTS = 12
"""Clients of the reference, whose load is the same during each load of the measured server."""

_WARMUP_SECONDS = 2
_COST_SECONDS = 5
_OVERLOAD_ROUNDS = 10
_CAPACITY_SECONDS = 6
_OVERLOAD_SECONDS = 8
_FILL_SECONDS = 2 * MAX_QUEUE_DELAY_SECONDS
"""Duration of an open loop before it is measured, longer than the queue takes to fill."""
_SETTLE_SECONDS = 1.0
_OVERLOAD_CONNECTIONS = 4_000
_OPEN_FILES = 8_192
_STALL_AT_SECONDS, _STALL_SECONDS, _STALL_END_SECONDS = 4.0, 1.0, 10.0
_STALL_CLIENTS = 16
_STORM_SECONDS, _CALM_SECONDS = 6.0, 6.0
_STORM_RETRIES = 3
_REJECTION_CLIENTS = 400


@dataclass(frozen=True, slots=True)
class Plan:
    """The closed loops, and whether the overload of the first setting is measured as well."""

    settings: tuple[tuple[str, str, float], ...]
    """Server, model and CPUs."""
    clients: tuple[int, ...]
    sweeps: int
    """Rounds of the closed loops, by turns with a growing and a shrinking number of clients."""
    seconds: int
    """Duration of a closed loop."""
    overload: bool


PLANS = {
    "full": Plan(
        (
            ("tidegate-sklearn", "rf", 0.3),
            ("tidegate-sklearn", "rf", 1.0),
            ("tidegate-sklearn", "svm", 0.3),
            ("tidegate-sklearn", "svm", 1.0),
            ("tidegate", "rf", 0.3),
        ),
        (1, 2, 4, 6, 12, 24, 64),
        sweeps=4,
        seconds=3,
        overload=True,
    ),
    "quick": Plan((("tidegate-sklearn", "rf", 0.3),), (1, 4, 12, 64), sweeps=1, seconds=3, overload=False),
}

RESULTS = {"full": "overload.json", "quick": "overload-quick.json"}


class RunningServer:
    """A server under a CPU limit.

    Args:
        launch: Model and ports.
        process: The server's process.
        cores: The cores of server and generator.
    """

    def __init__(self, launch: Launch, process: ServerProcess, cores: Cores) -> None:
        self.launch = launch
        self.process = process
        self._core = cores.generator
        self.url = f"http://{HOST}:{launch.port}" + PATHS[Protocol.V2_BINARY].format(name=launch.model_name)

    def request(self, rows: int) -> BenchmarkRequest:
        """Build a request with binary tensors."""
        return build_request(self.launch.model.bundle.contract, Protocol.V2_BINARY, rows)

    def closed_loop(self, request: BenchmarkRequest, clients: int, seconds: int) -> tuple[wrk.Summary, float]:
        """Run clients that send their next request at once.

        Args:
            request: The request.
            clients: Number of clients.
            seconds: Duration of the load.

        Returns:
            The generator's report, and its CPU use from 0 to 1.
        """
        body = self.launch.folder / "request"
        body.write_bytes(request.body)
        argv = wrk.command(self.launch.tools.wrk, self.url, body, request.headers, clients, seconds)
        result = run_generator(argv, self._core, seconds + 30)
        self.process.raise_if_exited()
        return wrk.parse(result.output), result.cpu_utilization

    def retrying_clients(self, request: BenchmarkRequest) -> RetryingClients:
        """Return clients whose time starts now."""
        content = request_bytes(self.url, request.body, request.headers)
        return RetryingClients((HOST, self.launch.port), content)

    def metrics(self) -> dict[str, float]:
        """Read the sum of each metric over its labels."""
        values: dict[str, float] = {}
        text = httpx.get(f"http://{HOST}:{self.launch.port}/metrics", timeout=30).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
        return values


@contextmanager
def running(
    name: str, model: models.Model, cpus: float | None, installed: tools.Tools, cores: Cores, log: str = ""
) -> Iterator[RunningServer]:
    """Start a server, and limit its CPU once it is ready.

    Args:
        name: One of ``servers.SERVERS``.
        model: The model.
        cpus: The limit; None for one core without a limit.
        installed: The load generators.
        cores: The cores of server and generator.
        log: Name of the log file, if not that of the server.
    """
    server = SERVERS[name]
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        launch = Launch(model, *free_ports(), Path(folder), installed)
        command = server.command(launch)
        argv = [*command.argv, "--max-queue-delay", str(MAX_QUEUE_DELAY_SECONDS)]
        path = OUT / "logs" / f"overload-{log or name}.log"
        with start_server(argv, cores.server, command.environment, path, command.folder) as process:
            client.wait_until_ready(server, launch, process)
            if cpus is None:
                yield RunningServer(launch, process, cores)
            else:
                with cpu_limit(process.process.pid, cpus):
                    yield RunningServer(launch, process, cores)


def measure_closed_loops(
    server: RunningServer, reference: RunningServer | None, name: str, cpus: float, plan: Plan
) -> list[ClosedLoop]:
    """Measure closed loops of several numbers of clients.

    Args:
        server: The running server.
        reference: An equal server on the same core, under the same load all the time; None if the core has
            no CPU for it.
        name: The server's name in ``servers.SERVERS``.
        cpus: The CPU limit of each.
        plan: The numbers of clients, and the duration.
    """
    request = server.request(ROWS)
    for one in filter(None, (server, reference)):
        one.closed_loop(request, plan.clients[-1], _WARMUP_SECONDS)
    sweeps: dict[int, list[tuple[wrk.Summary, float, float]]] = {clients: [] for clients in plan.clients}
    for sweep in range(plan.sweeps):
        # A machine that becomes slower must not look like a loss by more clients.
        for clients in plan.clients if sweep % 2 == 0 else reversed(plan.clients):
            with ThreadPoolExecutor(1) as executor:
                if reference:
                    paired = executor.submit(reference.closed_loop, request, REFERENCE_CLIENTS, plan.seconds)
                report, generator_cpu = server.closed_loop(request, clients, plan.seconds)
            if report.failures:
                raise ServerError(f"{report.failures} requests of {clients} clients had no response")
            reference_rate = paired.result()[0].goodput if reference else 1.0
            sweeps[clients].append((report, generator_cpu, reference_rate))
    return [
        ClosedLoop(
            name,
            server.launch.model_name,
            cpus,
            clients,
            tuple(report.goodput for report, _, _ in measured),
            tuple(reference_rate for _, _, reference_rate in measured),
            sum(report.error_responses for report, _, _ in measured),
            max(generator_cpu for _, generator_cpu, _ in measured),
        )
        for clients, measured in sweeps.items()
    ]


def measure_overload(servers: tuple[RunningServer, RunningServer], clients: int) -> list[dict[str, Any]]:
    """Offer twice the capacity to one server, while a closed loop measures the capacity of an equal one.

    The machine's speed changes within seconds, but both servers run at the same time on one core. They
    change their parts each round.

    Args:
        servers: Two equal servers, whose CPU limits are at most half of their core.
        clients: The number of clients of the closed loop.

    Returns:
        The figures of each round, with the capacity, which is the goodput of the closed loop.
    """
    overloaded, other = servers
    request = overloaded.request(ROWS)
    expected = overloaded.closed_loop(request, clients, _CAPACITY_SECONDS)[0].goodput

    def measure_capacity(server: RunningServer) -> float:
        time.sleep(_FILL_SECONDS)
        return server.closed_loop(request, clients, _OVERLOAD_SECONDS)[0].goodput

    rounds: list[dict[str, Any]] = []
    for _ in range(_OVERLOAD_ROUNDS):
        with ThreadPoolExecutor(1) as executor:
            capacity = executor.submit(measure_capacity, other)
            figures = _measure_open_loop(overloaded, request, 2 * expected)
        expected = capacity.result()
        rounds.append(figures | {"capacity": expected})
        print(f"overload: {rounds[-1]}", flush=True)
        time.sleep(_SETTLE_SECONDS)  # the server closes thousands of connections
        overloaded, other = other, overloaded
    return rounds


def _measure_open_loop(server: RunningServer, request: BenchmarkRequest, offered: float) -> dict[str, Any]:
    """Offer requests at a rate, and measure once the queue is full."""
    content = request_bytes(server.url, request.body, request.headers)
    open_loop = OpenLoopClient((HOST, server.launch.port), [content], _OVERLOAD_CONNECTIONS)
    begin, end = -_FILL_SECONDS, float(_OVERLOAD_SECONDS)
    count = round(offered * (end - begin))
    starts = poisson_arrivals(count, begin, end, np.random.default_rng(0)).tolist()
    before = server.metrics()
    outcomes, delays, cpu = open_loop.run(starts, end)
    open_loop.close()
    after = server.metrics()
    name = "tidegate_batch_duration_seconds"
    calls = after[f"{name}_count"] - before[f"{name}_count"]
    completed = [
        (one.intended_start, one.completed)
        for one in outcomes
        if one.status == HTTPStatus.OK and one.completed is not None
    ]
    latencies = [completion - start for start, completion in completed if start >= 0]
    return {
        "offered": offered,
        "goodput": sum(0 <= completion < end for _, completion in completed) / end,
        "p99_seconds": percentile(latencies, 99),
        "engine_call_seconds": (after[f"{name}_sum"] - before[f"{name}_sum"]) / max(1, calls),
        "rejected": sum(one.status == REJECTED for one in outcomes),
        "failed": failures(one.status for one in outcomes),
        "send_delay_ms": 1e3 * (percentile(delays, 99) or 0.0),
        "generator_cpu": cpu / end,
    }


async def measure_stall(server: RunningServer) -> dict[str, Any]:
    """Stop the server's process for a second, under clients that send again at once."""
    clients = server.retrying_clients(server.request(ROWS))
    pid = server.process.process.pid

    async def stall() -> None:
        await asyncio.sleep(_STALL_AT_SECONDS)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(_STALL_SECONDS)
        os.kill(pid, signal.SIGCONT)

    cpu = time.process_time()
    await asyncio.gather(clients.closed_loop(_STALL_CLIENTS, _STALL_END_SECONDS), stall())
    clients.close()
    usual = [
        one
        for one in clients.completions
        if one.status == HTTPStatus.OK and 1 <= one.time < _STALL_AT_SECONDS
    ]
    rate = len(usual) / (_STALL_AT_SECONDS - 1)
    resumed_at = _STALL_AT_SECONDS + _STALL_SECONDS
    return {
        "goodput_before": rate,
        # JSON has no infinity: a server that did not recover took at least the rest of the experiment.
        "recovery_seconds": min(
            recovery_seconds(clients.completions, resumed_at, rate), _STALL_END_SECONDS - resumed_at
        ),
        "rejected": sum(one.status == REJECTED for one in clients.completions),
        "failed": failures(one.status for one in clients.completions),
        "generator_cpu": (time.process_time() - cpu) / _STALL_END_SECONDS,
    }


async def measure_storm(server: RunningServer, capacity: float) -> dict[str, Any]:
    """Offer twice the capacity with three more requests per rejection, then half the capacity."""
    clients = server.retrying_clients(server.request(ROWS))
    end = _STORM_SECONDS + _CALM_SECONDS
    source = np.random.default_rng(0)
    storm = poisson_arrivals(round(2 * capacity * _STORM_SECONDS), 0, _STORM_SECONDS, source)
    calm = poisson_arrivals(round(capacity / 2 * _CALM_SECONDS), _STORM_SECONDS, end, source)
    cpu = time.process_time()
    await clients.open_loop([*storm.tolist(), *calm.tolist()], _STORM_RETRIES)
    generator_cpu = (time.process_time() - cpu) / clients.now
    clients.close()
    return {
        "rejected": sum(one.status == REJECTED for one in clients.completions),
        "failed": failures(one.status for one in clients.completions),
        "seconds_after_storm": storm_seconds(clients.completions, _STORM_SECONDS),
        "generator_cpu": generator_cpu,
    }


def measure_costs(
    model: models.Model, installed: tools.Tools, cores: Cores
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Measure the server's CPU seconds per rejection and per response.

    Args:
        model: The model.
        installed: The load generators.
        cores: The cores of server and generator.

    Yields:
        Rows per request, and the figures by name.
    """
    for rows in (ROWS, LARGE_ROWS):
        costs: dict[str, Any] = {}
        for name, server_name, clients in (
            ("response", "tidegate-sklearn", 8),
            ("rejection", "tidegate-slow", _REJECTION_CLIENTS),
        ):
            with running(server_name, model, None, installed, cores) as server:
                request = server.request(rows)
                # Single requests first, so that the server knows the service time of this size.
                server.closed_loop(request, 1, 2 * _WARMUP_SECONDS)
                server.closed_loop(request, clients, _WARMUP_SECONDS)
                before, usage = server.metrics(), server.process.usage()
                report, _ = server.closed_loop(request, clients, _COST_SECONDS)
                seconds = server.process.usage().cpu_s - usage.cpu_s
                rejected = report.error_responses
                count = rejected if name == "rejection" else report.responses
                costs[f"{name}_seconds"] = seconds / count if count else None
                if name == "rejection":
                    responses = (
                        server.metrics()["tidegate_requests_total"] - before["tidegate_requests_total"]
                    )
                    costs |= {"rejected": rejected, "requests": responses}
        yield rows, costs


def measure(plan: Plan) -> dict[str, Any]:
    """Run the experiments of a plan and return the result."""
    facts, cores, installed = machine.facts(), Cores.choose(), tools.ensure()
    (OUT / "logs").mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(model for _, model, _ in plan.settings)
    trained = {name: models.ensure(name, OUT / "models") for name in names}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Each of thousands of connections is an open file on both sides.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, hard), hard))
    os.sched_setaffinity(0, {cores.generator})  # the clients that retry run in this process
    skipped = None
    try:
        loops, experiments = _measure_limited(plan, trained, installed, cores)
    except ConfigurationError as error:
        loops, experiments, skipped = [], {}, str(error)
        print(f"overload: all figures with a CPU limit are skipped: {skipped}", file=sys.stderr, flush=True)
    figures = [*closed_loop_figures(loops)]
    if "overload" in experiments:
        figures += experiment_figures(experiments)
    if plan.overload:
        experiments["costs"] = dict(measure_costs(trained["rf"], installed, cores))
        figures += cost_figures(experiments["costs"])
    return {
        "machine": facts,
        "skipped": skipped,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
        "closed_loops": [asdict(loop) | {"rps": loop.rps} for loop in loops],
        "experiments": experiments,
    }


def _measure_limited(
    plan: Plan, trained: Mapping[str, models.Model], installed: tools.Tools, cores: Cores
) -> tuple[list[ClosedLoop], dict[str, Any]]:
    """Measure the closed loops and the overload under CPU limits."""
    loops: list[ClosedLoop] = []
    experiments: dict[str, Any] = {}
    for name, model, cpus in plan.settings:
        with ExitStack() as stack:
            server = stack.enter_context(running(name, trained[model], cpus, installed, cores))
            reference = None
            if 2 * cpus <= 1:
                reference = stack.enter_context(
                    running(name, trained[model], cpus, installed, cores, f"{name}-reference")
                )
            measured = measure_closed_loops(server, reference, name, cpus, plan)
            for loop in measured:
                print(f"overload: {loop}", flush=True)
            loops += measured
            if plan.overload and reference and not experiments:
                best = max(measured, key=lambda loop: loop.rps)
                rounds = measure_overload((server, reference), best.clients)
                capacity = median(one["capacity"] for one in rounds)
                experiments["overload"] = rounds
                experiments["stall"] = asyncio.run(measure_stall(server))
                experiments["storm"] = asyncio.run(measure_storm(server, capacity))
    return loops, experiments


def page(result: Mapping[str, Any]) -> str:
    """Render the page's text."""
    template = environment().get_template("overload.md.j2")
    return template.render(result=result, servers=SERVERS, rows=ROWS, reference_clients=REFERENCE_CLIENTS)


def show(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    table = Table("figure", "value", "target", "met", box=None, pad_edge=False)
    for figure in result["figures"]:
        table.add_row(figure["meaning"], format_value(figure), format_target(figure), format_met(figure))
    Console(highlight=False).print(table)


def main() -> int:
    """Measure, write the result and its page, and return the exit code.

    It is 3 if a figure is inconclusive or skipped.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload")
    parser.add_argument("plan", choices=PLANS)
    name = parser.parse_args().plan
    try:
        result = measure(PLANS[name])
    except TidegateError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    write_result(OUT / RESULTS[name], result)
    if name == "full":
        (DOCS / "overload.md").write_text(page(result))
    show(result)
    inconclusive = any(figure["value"] is None for figure in result["figures"])
    return ExitCode.GATE_NOT_PASSED if inconclusive or result["skipped"] else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
