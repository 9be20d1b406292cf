# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rounds: make all visits of a plan, round after round, and collect what was measured.

A server that cannot be installed, does not start or answers wrongly makes its own cases void; the others are
still measured.
"""

import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import client
from benchmarks.case import Case, Load
from benchmarks.measure import Measurement, Target
from benchmarks.models import Model
from benchmarks.plan import Plan, Visit
from benchmarks.process import Cores, started
from benchmarks.question import ask
from benchmarks.servers import HOST, SERVERS, Place
from benchmarks.tools import Tools
from tidegate.errors import ServerError

Results = dict[Case, Measurement]


@dataclass(frozen=True, slots=True)
class Bench:
    """What every visit needs.

    Args:
        plan: What is measured.
        models: By name.
        tools: The generators.
        cores: Whose core is which.
        logs: The folder of the servers' logs.
        say: Called with a line of progress.
    """

    plan: Plan
    models: Mapping[str, Model]
    tools: Tools
    cores: Cores
    logs: Path
    say: Callable[[str], None]

    def run(self) -> list[Results]:
        """All rounds; each has all cases of the plan."""
        rounds = []
        for number in range(1, self.plan.rounds + 1):
            results: Results = {}
            for visit in self.plan.visits:
                began = time.monotonic()
                seen = self._visit(visit)
                results |= seen
                self._tell(number, visit, seen, time.monotonic() - began)
            rounds.append(results)
        return rounds

    def _visit(self, visit: Visit) -> Results:
        seen: Results = {}
        try:
            self._measure(visit, seen)
        except ServerError as error:
            seen |= {case: Measurement({}, str(error)) for case in visit.cases if case not in seen}
        return seen

    def _measure(self, visit: Visit, seen: Results) -> None:
        """Fill in the cases one by one, so that what was measured before a failure stays.

        Raises:
            ServerError: The server cannot be measured any further.
        """
        server = SERVERS[visit.server]
        log = self.logs / f"{visit.server}-{visit.model}.log"
        with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as temporary:
            folder = Path(temporary)
            place = Place(self.models[visit.model], *_free_ports(), folder, self.tools)
            command = server.command(place)
            began = time.monotonic()
            with started(
                command.argv, self.cores.server, command.environment, log, command.folder
            ) as process:
                client.wait_until_ready(server, place, process)
                wall, usage = time.monotonic() - began, process.usage()
                contract = place.model.bundle.contract
                asked = {(case.protocol, case.rows) for case in visit.cases if case.load is not Load.START}
                questions = {kind: ask(contract, *kind) for kind in sorted(asked)}
                wrong = {kind: client.check(server, place, kind[0], q) for kind, q in questions.items()}
                target = Target(server, place, process, self.cores)
                for case in visit.cases:
                    if case.load is Load.START:
                        figures = {"cpu_s": usage.cpu_s, "rss_mb": usage.rss_mb, "wall_s": wall}
                        seen[case] = Measurement(figures, None)
                    elif (reason := wrong[case.protocol, case.rows]) is not None:
                        seen[case] = Measurement({}, f"wrong answers before: {reason}")
                    else:
                        question = questions[case.protocol, case.rows]
                        times = (self.plan.warmup, self.plan.seconds)
                        seen[case] = target.measure(case, question, *times, _capacity(case, seen))
                for kind, question in questions.items():
                    if (reason := client.check(server, place, kind[0], question)) is not None:
                        for case in visit.cases:
                            if case.load is not Load.START and (case.protocol, case.rows) == kind:
                                seen[case] = Measurement({}, f"wrong answers after: {reason}")

    def _tell(self, number: int, visit: Visit, seen: Results, seconds: float) -> None:
        title = SERVERS[visit.server].title
        self.say(f"round {number} of {self.plan.rounds}: {title}, {visit.model} ({seconds:.0f} s)")
        for case, measurement in seen.items():
            if measurement.void is not None:
                self.say(f"  void: {case}: {measurement.void}")
            elif case.load is not Load.START:
                figures = measurement.figures
                self.say(
                    f"  {case}: {figures['rps']:,.0f}/s, p50 {figures['p50_ms']:.2f} ms, "
                    f"p99 {figures['p99_ms']:.2f} ms"
                )


def _capacity(case: Case, seen: Results) -> float | None:
    """The most answers a second that the same questions got in this visit's closed loops."""
    rates = [
        measurement.figures["rps"]
        for other, measurement in seen.items()
        if measurement.void is None
        and other.load is Load.CLOSED
        and (other.protocol, other.rows) == (case.protocol, case.rows)
    ]
    return max(rates, default=None)


def _free_ports() -> tuple[int, int, int]:
    """Three ports that nobody listens on now; held together, so that they differ."""
    probes = [socket.socket() for _ in range(3)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        first, second, third = (int(probe.getsockname()[1]) for probe in probes)
        return first, second, third
    finally:
        for probe in probes:
            probe.close()


def row(case: Case, rounds: list[Results]) -> dict[str, Any]:
    """All that was measured of one case: each round, medians and spread of the rounds that are not void."""
    each = [results[case] for results in rounds]
    valid = [measurement.figures for measurement in each if measurement.void is None]
    values = {name: [figures[name] for figures in valid] for name in (valid[0] if valid else ())}
    return {
        "server": case.server,
        "model": case.model,
        "load": case.load.value,
        "protocol": case.protocol.value,
        "rows": case.rows,
        "connections": case.connections,
        "share": case.share,
        "median": {name: median(seen) for name, seen in values.items()},
        "spread": {name: [min(seen), max(seen)] for name, seen in values.items()},
        "rounds": [{"void": measurement.void, **measurement.figures} for measurement in each],
    }
