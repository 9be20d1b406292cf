# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A measurement: one load on one running server, and whether its figures may be believed.

Figures are void when the generator had no CPU to spare, for then they are the generator's, and when answers
were not what they should be. A void measurement is repeated a few times; then it stays void, with the reason.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ghz, openloop, wrk
from benchmarks.case import Case, Load, Protocol
from benchmarks.process import Cores, Started, run
from benchmarks.question import Question
from benchmarks.servers import HOST, PATHS, Place, Server
from tidegate.errors import ServerError

BUSIEST_GENERATOR = 0.9
LATEST_GENERATOR_MS = 5.0
ATTEMPTS = 3
OPEN_CONNECTIONS = 4_000
"""So many that requests wait at the server and not in the generator, whose clients they stand for."""
_PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures by name, and why they are void if they are."""

    figures: dict[str, float]
    void: str | None


def void_reason(
    figures: dict[str, float], *, wrong: int, may_saturate: bool, may_fail: bool = False
) -> str | None:
    """Why figures must not be used, or None.

    Args:
        figures: ``generator_cpu`` is a share of its core; ``lag_ms`` is there if it had a schedule.
        wrong: How many answers were not what the server answers with.
        may_saturate: The generator's own limit is what is measured.
        may_fail: Wrong answers are what is measured.
    """
    if wrong and not may_fail:
        return f"{wrong:,} answers were errors, or never came"
    if figures["generator_cpu"] > BUSIEST_GENERATOR and not may_saturate:
        return f"the generator used {figures['generator_cpu']:.0%} of its core"
    if figures.get("lag_ms", 0.0) > LATEST_GENERATOR_MS:
        return f"the generator was {figures['lag_ms']:.0f} ms behind its schedule"
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A running server with what is needed to load it."""

    server: Server
    place: Place
    started: Started
    cores: Cores

    def measure(
        self, case: Case, question: Question, warmup: int, seconds: int, capacity: float | None
    ) -> Measurement:
        """Load the server and read the generator's report.

        Args:
            case: The load.
            question: What is asked.
            warmup: Seconds of the same load before.
            seconds: The measured time.
            capacity: Answers a second that an open loop's share is of.

        Raises:
            ServerError: The server or the generator fails.
        """
        body = self.place.folder / "question"
        body.write_bytes(question.body)
        if case.load is Load.OPEN:
            if capacity is None:
                raise ServerError(f"its capacity is not known, so {case} has no rate")
            return self._repeat(lambda: self._open(case, body, warmup, seconds, capacity))
        self._closed(case, body, question, warmup)
        return self._repeat(lambda: self._closed(case, body, question, seconds))

    def _repeat(self, attempt: Callable[[], Measurement]) -> Measurement:
        for _ in range(ATTEMPTS):
            seen = attempt()
            if seen.void is None:
                break
        return seen

    def _closed(self, case: Case, body: Path, question: Question, seconds: int) -> Measurement:
        if case.protocol is Protocol.GRPC:
            protoset = self.place.folder / "protoset"
            ghz.write_protoset(protoset)
            address = f"{HOST}:{self.place.grpc_port}"
            tool = self.place.tools.ghz
            argv = ghz.command(tool, address, protoset, body, case.connections, seconds)
            parse = ghz.parse
        else:
            tool = self.place.tools.wrk
            argv = wrk.command(tool, self._url(case), body, question.headers, case.connections, seconds)
            parse = wrk.parse
        before, began = self.started.usage(), time.monotonic()
        done = run(argv, self.cores.generator, seconds + _PATIENCE)
        took = time.monotonic() - began
        after = self.started.usage()
        self.started.check()
        try:
            seen = parse(done.output)
        except ServerError as error:  # the server lives and was too slow to be measured: the others' turn
            return Measurement({}, str(error))
        figures = {
            "rps": seen.rps,
            "p50_ms": seen.p50_ms,
            "p99_ms": seen.p99_ms,
            "generator_cpu": done.cpu_share,
            "server_cpu": (after.cpu_s - before.cpu_s) / took,
            "rss_mb": after.rss_mb,
        }
        expected_refused = seen.requests if self.server.status >= 400 else 0
        wrong = abs(seen.refused - expected_refused) + seen.broken
        return Measurement(figures, void_reason(figures, wrong=wrong, may_saturate=self.server.may_saturate))

    def _open(self, case: Case, body: Path, warmup: int, seconds: int, capacity: float) -> Measurement:
        load = ["--rate", f"{capacity * case.share:.1f}", "--connections", str(OPEN_CONNECTIONS)]
        times = ["--warmup", str(warmup), "--seconds", str(seconds)]
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            openloop.__name__,
            self._url(case),
            body,
            *load,
            *times,
        ]
        done = run(argv, self.cores.generator, warmup + seconds + _PATIENCE)
        self.started.check()
        seen = json.loads(done.output)
        failed = seen.pop("failed")
        if seen["p99_ms"] is None:
            return Measurement({}, "not a single request was answered")
        figures = seen | {"capacity": capacity, "failed": failed}
        # At twice the capacity a server without admission fails requests, which lowers its goodput.
        overloaded = case.share > 1
        return Measurement(
            figures,
            void_reason(figures, wrong=failed, may_saturate=False, may_fail=overloaded),
        )

    def _url(self, case: Case) -> str:
        return f"http://{HOST}:{self.place.port}" + PATHS[case.protocol].format(name=self.place.name)
