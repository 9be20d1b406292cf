# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict: pass, fail or void, from figures and an objective, by rules alone.

Void means that the campaign decides nothing: too few requests, a record with holes, or a generator (any of
them, if there are several) that was itself the bottleneck or itself too late. A void campaign is never a
pass, however good its figures are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate_loadtests.generator_cpu import SATURATED, Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.summary import Summary
from tidegate_loadtests.wording import milliseconds, per_second, share


@dataclass(frozen=True, slots=True)
class Measure:
    """One limit of the objective and what was measured against it."""

    name: str
    limit: float
    measured: float | None
    """None if there was nothing to measure."""
    at_most: bool
    """Whether the limit is the largest accepted value; else it is the smallest."""

    @property
    def met(self) -> bool:
        """Whether the limit was kept. What could not be measured was not."""
        if self.measured is None:
            return False
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    @property
    def title(self) -> str:
        """What is measured, for people."""
        titles = {"failure_ratio": "failures", "rps": "right answers"}
        return titles.get(self.name) or self.name.removesuffix("_ms") + " latency"

    @property
    def bound(self) -> str:
        """The limit, for people."""
        return f"{'at most' if self.at_most else 'at least'} {self._show(self.limit)}"

    @property
    def found(self) -> str:
        """What was measured, for people."""
        return "nothing" if self.measured is None else self._show(self.measured)

    def __str__(self) -> str:
        return f"{self.title}: expected {self.bound}, measured {self.found}"

    def _show(self, value: float) -> str:
        shows = {"failure_ratio": share, "rps": per_second}
        return shows.get(self.name, milliseconds)(value)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a campaign proves, measure by measure."""

    verdict: Literal["pass", "fail", "void"]
    measures: tuple[Measure, ...]
    reasons: tuple[str, ...]
    """Why it did not pass; empty if it did."""


def judge(plan: LoadTest, summary: Summary, generators: Sequence[Generator]) -> Verdict:
    """Decide what a campaign proves."""
    measures = _measures(plan, summary)
    missed = tuple(str(measure) for measure in measures if not measure.met)
    if doubts := _doubts(plan, summary, generators):
        return Verdict("void", measures, doubts + missed)
    return Verdict("fail" if missed else "pass", measures, missed)


def _measures(plan: LoadTest, summary: Summary) -> tuple[Measure, ...]:
    objective = plan.objective
    measures = [
        Measure(f"p{q:g}_ms", limit, summary.latency.at(q), at_most=True)
        for q, limit in objective.percentiles.items()
    ]
    measures.append(Measure("failure_ratio", objective.failure_ratio, summary.failure_ratio, at_most=True))
    if objective.rps is not None:
        measures.append(Measure("rps", objective.rps, summary.rps, at_most=False))
    return tuple(measures)


def _doubts(plan: LoadTest, summary: Summary, generators: Sequence[Generator]) -> tuple[str, ...]:
    doubts = []
    if summary.requests < (fewest := plan.objective.fewest_requests):
        doubts.append(
            f"{summary.requests:,} requests are too few to decide the objective, which needs {fewest:,}"
        )
    if plan.rate is not None and summary.recorded != plan.planned:
        doubts.append(f"of {plan.planned:,} planned requests {summary.recorded:,} are recorded")
    for generator in generators:
        which = "the load generator" if generator.worker is None else generator.worker
        if generator.cpu_mean is None:
            doubts.append(f"the processor time of {which} could not be measured")
        elif generator.saturated:
            doubts.append(
                f"{which} was the bottleneck: it needed more than {share(SATURATED)} of a core for "
                f"{share(generator.saturated_share)} of the measured time ({share(generator.cpu_mean)} used "
                f"and {share(generator.wait_mean)} waited for on average)"
            )
    for q, limit in plan.objective.percentiles.items():
        latency, blameless = summary.latency.at(q), summary.without_lag.at(q)
        # The server is not to fail for requests that were sent late while a connection was free.
        if latency is not None and blameless is not None and blameless <= limit < latency:
            doubts.append(
                f"the load generator's own delay decided p{q:g}: {milliseconds(latency)} with it, "
                f"{milliseconds(blameless)} without, the limit being {milliseconds(limit)}"
            )
    return tuple(doubts)
