# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of overload, each with its target: from responses and measurements, without a server."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from statistics import median
from typing import Any

from benchmarks.measurement import MAX_GENERATOR_CPU
from benchmarks.retrying import REJECTED, Completion
from benchmarks.servers import SERVERS
from benchmarks.target import is_met

MAX_QUEUE_DELAY_SECONDS = 2.0
"""The servers' longest accepted queue delay."""

_WINDOW_SECONDS = 0.5

_MAX_DRIFT = 0.25
"""Largest part by which the offered rate of a round may differ from twice its capacity."""

_MIN_LASTING_CAPACITY = 0.6
"""Smallest part of the capacity that an overload leaves. A collapse leaves less than half.

The machine's speed changes within these minutes, so the bound is not higher.
"""

_MIN_ROUNDS = 4
"""Fewest conclusive rounds whose median is a figure."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its target.

    Attributes:
        key: Name in the result.
        meaning: The figure in words, with its unit.
        value: The value; None if it is inconclusive.
        at_least: Lower bound of the value.
        at_most: Upper bound of the value.
    """

    key: str
    meaning: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value meets the target; None if it is inconclusive."""
        return None if self.value is None else is_met(self.value, self.at_least, self.at_most)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """The closed loops of one number of clients.

    Attributes:
        rates: Responses with status 200 per second, by sweep.
        reference_rates: Those of the reference in the same seconds; 1.0 without a reference.
        rejected: Rejections of all sweeps.
        generator_cpu: The generator's highest CPU use, from 0 to 1.
    """

    server: str
    model: str
    cpus: float
    clients: int
    rates: tuple[float, ...]
    reference_rates: tuple[float, ...]
    rejected: int
    generator_cpu: float

    @property
    def rps(self) -> float:
        """The median rate."""
        return median(self.rates)

    @property
    def relative_rates(self) -> list[float]:
        """The rates, each divided by that of the reference in the same seconds."""
        return [rate / other for rate, other in zip(self.rates, self.reference_rates, strict=True)]


def largest_drop(sweeps_by_clients: Sequence[Sequence[float]]) -> float:
    """Return the largest fraction of throughput that is lost by adding clients.

    Each number of clients is compared with the best smaller one within each sweep, because the machine's
    speed changes between sweeps. The median over the sweeps is the loss.

    >>> round(largest_drop([(10.0, 5.0, 10.0), (20.0, 10.0, 20.0), (18.0, 9.0, 30.0), (40.0, 20.0, 40.0)]), 3)
    0.1

    Args:
        sweeps_by_clients: Rates of each sweep, by ascending number of clients.
    """
    losses = [0.0]
    best = sweeps_by_clients[0]
    for sweeps in sweeps_by_clients[1:]:
        losses.append(
            median(1 - rate / most if most else 0.0 for rate, most in zip(sweeps, best, strict=True))
        )
        best = max(best, sweeps, key=median)
    return max(losses)


def recovery_seconds(completions: Sequence[Completion], resumed_at: float, rate: float) -> float:
    """Return the time from the end of a stall until the goodput of half a second is 0.9 of the usual one.

    Args:
        completions: All responses, by time.
        resumed_at: The time of the end of the stall, in seconds.
        rate: The usual goodput, in responses per second.

    Returns:
        Seconds until the end of the first such half second; infinite if there is none.
    """
    times = [one.time for one in completions if one.status == HTTPStatus.OK and one.time >= resumed_at]
    needed = max(1, math.ceil(0.9 * rate * _WINDOW_SECONDS))
    for first, last in zip(times, times[needed - 1 :], strict=False):
        if last - first <= _WINDOW_SECONDS:
            return last - resumed_at
    return math.inf


def failures(statuses: Iterable[int | None]) -> int:
    """Count the requests that were neither successful nor rejected."""
    return sum(status not in (HTTPStatus.OK, REJECTED) for status in statuses)


def storm_seconds(completions: Sequence[Completion], ended_at: float) -> float:
    """Return the time from the end of an overload until the last rejection; 0 if there is none after it."""
    times = [one.time for one in completions if one.status == REJECTED]
    return max([ended_at, *times]) - ended_at


def closed_loop_figures(loops: Sequence[ClosedLoop]) -> Iterator[Figure]:
    """Yield the rejections and the largest loss of throughput of each setting.

    Args:
        loops: Closed loops of each setting by ascending number of clients.
    """
    for name, model, cpus in dict.fromkeys((loop.server, loop.model, loop.cpus) for loop in loops):
        own = [loop for loop in loops if (loop.server, loop.model, loop.cpus) == (name, model, cpus)]
        saturated = any(loop.generator_cpu > MAX_GENERATOR_CPU for loop in own)
        title = (
            f"{SERVERS[name].title}, `{model}`, {cpus:g} CPU, {own[0].clients} to {own[-1].clients} clients"
        )
        rejected = float(sum(loop.rejected for loop in own))
        drop = largest_drop([loop.relative_rates for loop in own])
        key = f"{name}_{model}_{cpus:g}"
        yield Figure(f"{key}_rejected", f"{title}: rejections", rejected, at_most=0)
        yield Figure(
            f"{key}_drop",
            f"{title}: largest loss of throughput by adding clients",
            None if saturated else drop,
            at_most=0.1,
        )


def _is_conclusive(overload: Mapping[str, Any]) -> bool:
    """Return whether a round had a punctual generator, and an offered rate of about twice the capacity.

    Args:
        overload: The figures of the round.
    """
    return bool(
        overload["send_delay_ms"] <= 1e3 * overload["engine_call_seconds"]
        and abs(overload["offered"] / (2 * overload["capacity"]) - 1) <= _MAX_DRIFT
    )


def experiment_figures(experiments: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield the figures of the overload, the stall and the retry storm."""
    rounds, stall, storm = (experiments[name] for name in ("overload", "stall", "storm"))
    conclusive = [one for one in rounds if _is_conclusive(one)]
    yield Figure(
        "overload_goodput",
        "twice the capacity: successful responses per second ÷ the capacity, median of the rounds",
        _median([one["goodput"] / one["capacity"] for one in conclusive]),
        at_least=0.9,
    )
    yield Figure(
        "overload_p99",
        "twice the capacity: p99 of successful responses in seconds, less two engine calls, median of the "
        "rounds",
        _median(
            [
                one["p99_seconds"] - 2 * one["engine_call_seconds"]
                for one in conclusive
                # Requests without a response would be missing from the percentile. They lower the goodput.
                if not one["failed"] and one["p99_seconds"] is not None
            ]
        ),
        at_most=MAX_QUEUE_DELAY_SECONDS,
    )
    yield Figure(
        "overload_failed",
        "twice the capacity: requests without a response, and errors other than rejections",
        float(sum(one["failed"] for one in rounds)),
        at_most=0,
    )
    yield Figure(
        "overload_after",
        "twice the capacity: the last round's capacity ÷ the first one's",
        rounds[-1]["capacity"] / rounds[0]["capacity"],
        at_least=_MIN_LASTING_CAPACITY,
    )
    busy = bool(stall["failed"]) or stall["generator_cpu"] > MAX_GENERATOR_CPU
    yield Figure(
        "stall_recovery",
        "a stall of 1 s: seconds until the goodput of half a second is 0.9 of the usual one",
        None if busy else stall["recovery_seconds"],
        at_most=2,
    )
    # Without a rejection there was no storm.
    busy = not storm["rejected"] or bool(storm["failed"]) or storm["generator_cpu"] > MAX_GENERATOR_CPU
    yield Figure(
        "storm_end",
        "twice the capacity and three more requests per rejection, then half of it: seconds until the "
        "last rejection",
        None if busy else storm["seconds_after_storm"],
        at_most=2 * MAX_QUEUE_DELAY_SECONDS,
    )


def _median(values: Sequence[float]) -> float | None:
    """Return the median of the conclusive rounds; None if they are too few."""
    return median(values) if len(values) >= _MIN_ROUNDS else None


def cost_figures(costs_by_rows: Mapping[int, Mapping[str, Any]]) -> Iterator[Figure]:
    """Yield the cost of a rejection, relative to a response, by rows per request."""
    for rows, costs in costs_by_rows.items():
        rejection = costs["rejection_seconds"]
        yield Figure(
            f"rejection_cost_{rows}",
            f"CPU of a rejection ÷ CPU of a response, {rows:,} rows per request",
            None if rejection is None else rejection / costs["response_seconds"],
            at_most=0.1,
        )
