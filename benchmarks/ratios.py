# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Ratios: what the measurements are for, each with the value that it should reach.

A ratio is made of two figures of the same round, so that what the machine did meanwhile cancels out; the
median over the rounds counts. One void figure makes the ratio void: it is then null, and never a guess.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.case import Case, Protocol
from benchmarks.plan import OVERLOAD_ROWS

Figures = Mapping[Case, Mapping[str, float] | None]
"""One round: each case's figures by name, or None where they are void."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one case, such as its answers a second."""

    case: Case
    name: str

    def of(self, figures: Figures) -> float | None:
        """Its value in a round, or None if it is void."""
        found = figures[self.case]
        return None if found is None else found[self.name]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of two figures with a bound.

    Args:
        key: Its name in the result.
        meaning: What is divided by what, for a reader.
        above: The numerator.
        below: The denominator; None compares the numerator itself, in its own unit.
        least: The value should be at least this; or
        most: at most this.
    """

    key: str
    meaning: str
    above: Figure
    below: Figure | None
    least: float | None = None
    most: float | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """What has to be measured for it."""
        return (self.above.case,) if self.below is None else (self.above.case, self.below.case)

    def of(self, figures: Figures) -> float | None:
        """Its value in one round; None if a figure is void, or there is nothing to divide by."""
        above = self.above.of(figures)
        below = 1.0 if self.below is None else self.below.of(figures)
        return None if above is None or not below else above / below

    def met(self, value: float) -> bool:
        """Whether a value reaches the target."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def _rate(
    server: str, model: str, protocol: Protocol = Protocol.V1, rows: int = 1, connections: int = 64
) -> Figure:
    return Figure(Case(server, model, protocol, rows, connections), "rps")


def _latency(server: str, model: str, connections: int, name: str) -> Figure:
    return Figure(Case(server, model, Protocol.V1, 1, connections), name)


def _offered(share: float, name: str) -> Figure:
    return Figure(Case("tidegate-sklearn", "rf", rows=OVERLOAD_ROWS, share=share), name)


_V1, _V2, _BINARY, _GRPC = Protocol.V1, Protocol.V2, Protocol.V2_BINARY, Protocol.GRPC
_MLSERVER = "mlserver-batching"

RATIOS = (
    Ratio(
        "lr_v1_vs_kserve",
        "answers a second, V1, logistic regression, 64 connections: Tidegate ÷ stock KServe",
        _rate("tidegate", "lr"),
        _rate("kserve", "lr"),
        least=25,
    ),
    Ratio(
        "lr_v2_vs_kserve",
        "the same, V2",
        _rate("tidegate", "lr", _V2),
        _rate("kserve", "lr", _V2),
        least=25,
    ),
    Ratio(
        "rf_v1_vs_kserve",
        "answers a second, V1, forest, 64 connections: Tidegate ÷ stock KServe",
        _rate("tidegate", "rf"),
        _rate("kserve", "rf"),
        least=150,
    ),
    Ratio(
        "rf_v2_vs_kserve",
        "the same, V2",
        _rate("tidegate", "rf", _V2),
        _rate("kserve", "rf", _V2),
        least=150,
    ),
    Ratio(
        "lr_v1_vs_mlserver",
        "logistic regression, 64 connections: Tidegate's V1 ÷ MLServer with adaptive batching, which has V2 "
        "only",
        _rate("tidegate", "lr"),
        _rate(_MLSERVER, "lr", _V2),
        least=20,
    ),
    Ratio(
        "rf_v1_vs_mlserver",
        "the same, forest",
        _rate("tidegate", "rf"),
        _rate(_MLSERVER, "rf", _V2),
        least=20,
    ),
    Ratio(
        "lr_v1_vs_ceiling",
        "V1, logistic regression, 64 connections: Tidegate ÷ uvicorn with an application that answers 404",
        _rate("tidegate", "lr"),
        _rate("uvicorn", "lr"),
        least=1.2,
    ),
    Ratio(
        "lr_v2_vs_ceiling",
        "the same, V2",
        _rate("tidegate", "lr", _V2),
        _rate("uvicorn", "lr"),
        least=1.0,
    ),
    Ratio(
        "lr_v1_vs_nginx",
        "V1, logistic regression, 64 connections: Tidegate ÷ nginx with a fixed answer",
        _rate("tidegate", "lr"),
        _rate("nginx", "lr"),
        least=0.4,
    ),
    Ratio(
        "p99_ceiling_vs_ours",
        "99th percentile of latency, 16 connections: uvicorn's 404 ÷ Tidegate's V1, logistic regression",
        _latency("uvicorn", "lr", 16, "p99_ms"),
        _latency("tidegate", "lr", 16, "p99_ms"),
        least=0.9,
    ),
    Ratio(
        "sklearn_rf_vs_kserve",
        "V1, forest, 64 connections: Tidegate running scikit-learn itself ÷ stock KServe",
        _rate("tidegate-sklearn", "rf"),
        _rate("kserve", "rf"),
        least=6,
    ),
    Ratio(
        "sklearn_c1_latency_vs_kserve",
        "median latency, V1, forest, one connection: Tidegate running scikit-learn itself ÷ stock KServe",
        _latency("tidegate-sklearn", "rf", 1, "p50_ms"),
        _latency("kserve", "rf", 1, "p50_ms"),
        most=1.0,
    ),
    Ratio(
        "grpc_vs_kserve",
        "gRPC, logistic regression, 64 connections: Tidegate ÷ stock KServe",
        _rate("tidegate", "lr", _GRPC),
        _rate("kserve", "lr", _GRPC),
        least=2.2,
    ),
    Ratio(
        "rows1000_binary_vs_kserve",
        "V2 with binary tensors, logistic regression, 1,000 rows a request, 16 connections: Tidegate ÷ stock "
        "KServe",
        _rate("tidegate", "lr", _BINARY, 1000, 16),
        _rate("kserve", "lr", _BINARY, 1000, 16),
        least=15,
    ),
    Ratio(
        "rows1000_json_vs_kserve",
        "the same in JSON",
        _rate("tidegate", "lr", _V2, 1000, 16),
        _rate("kserve", "lr", _V2, 1000, 16),
        least=4,
    ),
    Ratio(
        "overload_goodput",
        "V1, forest on scikit-learn, 100 rows a request: answers a second at twice the capacity ÷ the "
        "capacity",
        _offered(2.0, "rps"),
        _offered(2.0, "capacity"),
        least=0.9,
    ),
    Ratio(
        "overload_p99",
        "99th percentile of what was answered: at twice the capacity ÷ at 80 % of it",
        _offered(2.0, "p99_ms"),
        _offered(0.8, "p99_ms"),
        most=3,
    ),
    Ratio(
        "counted_v1",
        "V1, logistic regression, 64 connections: Tidegate ÷ Tidegate that counts nothing",
        _rate("tidegate", "lr"),
        _rate("tidegate-uncounted", "lr"),
        least=0.95,
    ),
    Ratio(
        "counted_v2",
        "the same, V2",
        _rate("tidegate", "lr", _V2),
        _rate("tidegate-uncounted", "lr", _V2),
        least=0.95,
    ),
    Ratio(
        "start_cpu_s",
        "seconds of CPU from the process to its readiness, logistic regression",
        Figure(Case("tidegate", "lr"), "cpu_s"),
        None,
        most=1.8,
    ),
    Ratio(
        "start_rss_mb",
        "resident megabytes when it is ready, logistic regression",
        Figure(Case("tidegate", "lr"), "rss_mb"),
        None,
        most=180,
    ),
)


def evaluate(rounds: Sequence[Figures]) -> dict[str, dict[str, Any]]:
    """All ratios whose cases were measured, by key.

    Args:
        rounds: Each round's figures; every round has the same cases.
    """
    measured = set(rounds[0])
    return {ratio.key: _evaluate(ratio, rounds) for ratio in RATIOS if measured.issuperset(ratio.cases)}


def _evaluate(ratio: Ratio, rounds: Sequence[Figures]) -> dict[str, Any]:
    each = [ratio.of(figures) for figures in rounds]
    known = [value for value in each if value is not None]
    value = median(known) if len(known) == len(each) else None
    return {
        "meaning": ratio.meaning,
        "value": value,
        "rounds": each,
        "least": ratio.least,
        "most": ratio.most,
        "met": None if value is None else ratio.met(value),
    }
