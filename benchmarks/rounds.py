# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rounds: run all servers of a plan, round after round, and collect the measurements.

If a server cannot be installed, does not start or returns wrong labels, its own cases become inconclusive.
The others are still measured.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import client
from benchmarks.case import Case, Load
from benchmarks.measurement import Measurement, Target
from benchmarks.models import Model
from benchmarks.plan import Plan, ServerRun
from benchmarks.process import Cores, start_server
from benchmarks.requests import build_request
from benchmarks.servers import SERVERS, Launch, free_ports
from benchmarks.tools import Tools
from tidegate.errors import ServerError

Results = dict[Case, Measurement]


@dataclass(frozen=True, slots=True)
class Bench:
    """The inputs of every server run.

    Args:
        plan: The plan.
        models: Models by name.
        tools: The load generators.
        cores: The cores of server and generator.
        logs: The folder of the servers' logs.
        report_progress: Called with each line of progress.
    """

    plan: Plan
    models: Mapping[str, Model]
    tools: Tools
    cores: Cores
    logs: Path
    report_progress: Callable[[str], None]

    def run(self) -> list[Results]:
        """Run all rounds; each result has all cases of the plan."""
        rounds = []
        for number in range(1, self.plan.rounds + 1):
            results: Results = {}
            for run in self.plan.runs:
                started_at = time.monotonic()
                measurements = self._run_server(run)
                results |= measurements
                self._report(number, run, measurements, time.monotonic() - started_at)
            rounds.append(results)
        return rounds

    def _run_server(self, run: ServerRun) -> Results:
        results: Results = {}
        try:
            self._measure(run, results)
        except ServerError as error:
            results |= {case: Measurement({}, str(error)) for case in run.cases if case not in results}
        return results

    def _measure(self, run: ServerRun, results: Results) -> None:
        """Fill in the cases one by one, so that measurements before a failure are kept.

        Raises:
            ServerError: If the server cannot be measured any further.
        """
        server = SERVERS[run.server]
        log = self.logs / f"{run.server}-{run.model}.log"
        with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
            launch = Launch(self.models[run.model], *free_ports(), Path(folder), self.tools)
            command = server.command(launch)
            started_at = time.monotonic()
            with start_server(
                command.argv, self.cores.server, command.environment, log, command.folder
            ) as process:
                client.wait_until_ready(server, launch, process)
                wall, usage = time.monotonic() - started_at, process.usage()
                contract = launch.model.bundle.contract
                kinds = sorted({(c.protocol, c.rows) for c in run.cases if c.load is not Load.START})
                requests = {kind: build_request(contract, *kind) for kind in kinds}
                differences = {
                    kind: client.verify_labels(server, launch, kind[0], request)
                    for kind, request in requests.items()
                }
                target = Target(server, launch, process, self.cores)
                for case in run.cases:
                    kind = (case.protocol, case.rows)
                    if case.load is Load.START:
                        figures = {"cpu_s": usage.cpu_s, "rss_mb": usage.rss_mb, "wall_s": wall}
                        results[case] = Measurement(figures, None)
                    elif (reason := differences[kind]) is not None:
                        results[case] = Measurement({}, f"wrong labels before the measurement: {reason}")
                    else:
                        durations = (self.plan.warmup_seconds, self.plan.measured_seconds)
                        results[case] = target.measure(case, requests[kind], *durations)
                for kind, request in requests.items():
                    if (reason := client.verify_labels(server, launch, kind[0], request)) is not None:
                        for case in run.cases:
                            if case.load is not Load.START and (case.protocol, case.rows) == kind:
                                message = f"wrong labels after the measurement: {reason}"
                                results[case] = Measurement({}, message)

    def _report(self, number: int, run: ServerRun, results: Results, seconds: float) -> None:
        title = SERVERS[run.server].title
        self.report_progress(f"round {number} of {self.plan.rounds}: {title}, {run.model} ({seconds:.0f} s)")
        for case, measurement in results.items():
            if measurement.inconclusive is not None:
                self.report_progress(f"  inconclusive: {case}: {measurement.inconclusive}")
            elif case.load is not Load.START:
                figures = measurement.figures
                self.report_progress(
                    f"  {case}: {figures['rps']:,.0f}/s, p50 {figures['p50_ms']:.2f} ms, "
                    f"p99 {figures['p99_ms']:.2f} ms"
                )


def result_row(case: Case, rounds: list[Results]) -> dict[str, Any]:
    """Summarize a case: its rounds, and median and spread of the conclusive ones."""
    measurements = [results[case] for results in rounds]
    conclusive = [m.figures for m in measurements if m.inconclusive is None]
    values = {name: [f[name] for f in conclusive] for name in (conclusive[0] if conclusive else ())}
    return {
        "server": case.server,
        "model": case.model,
        "load": case.load.value,
        "protocol": case.protocol.value,
        "rows": case.rows,
        "connections": case.connections,
        "streams": case.streams,
        "median": {name: median(figures) for name, figures in values.items()},
        "spread": {name: [min(figures), max(figures)] for name, figures in values.items()},
        "rounds": [{"inconclusive": m.inconclusive, **m.figures} for m in measurements],
    }
