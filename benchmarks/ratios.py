# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Ratios: the results of a benchmark, each with its target.

A ratio divides two figures of the same round, so that the machine's speed cancels out. The median of the
rounds counts. One inconclusive figure makes the ratio inconclusive: null in the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.case import Case, Protocol
from benchmarks.plan import GRPC_STREAMS
from benchmarks.target import is_met

Figures = Mapping[Case, Mapping[str, float] | None]
"""One round: the figures of each case by name, or None where they are inconclusive."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one case, such as its responses per second."""

    case: Case
    name: str

    def value_in(self, figures: Figures) -> float | None:
        """Return the value in a round, or None if it is inconclusive."""
        values = figures[self.case]
        return None if values is None else values[self.name]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of two figures with a target.

    Args:
        key: Name in the result.
        meaning: The quotient in words.
        numerator: The figure above.
        denominator: The figure below; None compares the numerator itself, in its own unit.
        at_least: Lower bound of the value.
        at_most: Upper bound of the value.
    """

    key: str
    meaning: str
    numerator: Figure
    denominator: Figure | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that the ratio needs."""
        if self.denominator is None:
            return (self.numerator.case,)
        return (self.numerator.case, self.denominator.case)

    def value_in(self, figures: Figures) -> float | None:
        """Return the value in one round; None if a figure is inconclusive, or the denominator is zero."""
        above = self.numerator.value_in(figures)
        below = 1.0 if self.denominator is None else self.denominator.value_in(figures)
        return None if above is None or not below else above / below

    def met(self, value: float) -> bool:
        """Decide whether a value meets the target."""
        return is_met(value, self.at_least, self.at_most)


def _rate(
    server: str, model: str, protocol: Protocol = Protocol.V1, rows: int = 1, connections: int = 64
) -> Figure:
    return Figure(Case(server, model, protocol, rows, connections), "rps")


def _grpc_rate(server: str) -> Figure:
    return Figure(Case(server, "lr", Protocol.GRPC, 1, *GRPC_STREAMS), "rps")


def _latency(server: str, model: str, connections: int, name: str) -> Figure:
    return Figure(Case(server, model, Protocol.V1, 1, connections), name)


_V1, _V2, _BINARY = Protocol.V1, Protocol.V2, Protocol.V2_BINARY
_MLSERVER = "mlserver-batching"

RATIOS = (
    Ratio(
        "lr_v1_vs_kserve",
        "responses per second, V1, logistic regression, 64 connections: Tidegate ÷ KServe SDK",
        _rate("tidegate", "lr"),
        _rate("kserve", "lr"),
        at_least=25,
    ),
    Ratio(
        "lr_v2_vs_kserve",
        "the same, V2",
        _rate("tidegate", "lr", _V2),
        _rate("kserve", "lr", _V2),
        at_least=25,
    ),
    Ratio(
        "rf_v1_vs_kserve",
        "responses per second, V1, forest, 64 connections: Tidegate ÷ KServe SDK",
        _rate("tidegate", "rf"),
        _rate("kserve", "rf"),
        at_least=150,
    ),
    Ratio(
        "rf_v2_vs_kserve",
        "the same, V2",
        _rate("tidegate", "rf", _V2),
        _rate("kserve", "rf", _V2),
        at_least=150,
    ),
    Ratio(
        "lr_v1_vs_mlserver",
        "logistic regression, 64 connections: Tidegate's V1 ÷ MLServer with adaptive batching, which has V2 "
        "only",
        _rate("tidegate", "lr"),
        _rate(_MLSERVER, "lr", _V2),
        at_least=20,
    ),
    Ratio(
        "rf_v1_vs_mlserver",
        "the same, forest",
        _rate("tidegate", "rf"),
        _rate(_MLSERVER, "rf", _V2),
        at_least=20,
    ),
    Ratio(
        "lr_v1_vs_ceiling",
        "V1, logistic regression, 64 connections: Tidegate ÷ uvicorn with an application that returns 404",
        _rate("tidegate", "lr"),
        _rate("uvicorn", "lr"),
        at_least=1.2,
    ),
    Ratio(
        "lr_v2_vs_ceiling",
        "the same, V2",
        _rate("tidegate", "lr", _V2),
        _rate("uvicorn", "lr"),
        at_least=1.0,
    ),
    Ratio(
        "lr_v1_vs_nginx",
        "V1, logistic regression, 64 connections: Tidegate ÷ nginx with a fixed response",
        _rate("tidegate", "lr"),
        _rate("nginx", "lr"),
        at_least=0.4,
    ),
    Ratio(
        "p99_ceiling_vs_ours",
        "99th percentile of latency, 16 connections: uvicorn's 404 ÷ Tidegate's V1, logistic regression",
        _latency("uvicorn", "lr", 16, "p99_ms"),
        _latency("tidegate", "lr", 16, "p99_ms"),
        at_least=0.9,
    ),
    Ratio(
        "sklearn_rf_vs_kserve",
        "V1, forest, 64 connections: Tidegate running scikit-learn itself ÷ KServe SDK",
        _rate("tidegate-sklearn", "rf"),
        _rate("kserve", "rf"),
        at_least=6,
    ),
    Ratio(
        "sklearn_c1_latency_vs_kserve",
        "median latency, V1, forest, one connection: Tidegate running scikit-learn itself ÷ KServe SDK",
        _latency("tidegate-sklearn", "rf", 1, "p50_ms"),
        _latency("kserve", "rf", 1, "p50_ms"),
        at_most=1.0,
    ),
    Ratio(
        "sklearn_lr_c1_latency_vs_kserve",
        "the same, logistic regression",
        _latency("tidegate-sklearn", "lr", 1, "p50_ms"),
        _latency("kserve", "lr", 1, "p50_ms"),
        at_most=0.6,
    ),
    Ratio(
        "mixed_vs_lr",
        "Tidegate, V1, 64 connections: columns of text, numbers and truth values ÷ 30 numbers",
        _rate("tidegate", "mixed"),
        _rate("tidegate", "lr"),
        at_least=0.6,
    ),
    Ratio(
        "mixed_vs_lr_v2",
        "the same, V2",
        _rate("tidegate", "mixed", _V2),
        _rate("tidegate", "lr", _V2),
        at_least=0.6,
    ),
    Ratio(
        "grpc_vs_kserve",
        "gRPC, logistic regression, 8 connections with 8 calls each: Tidegate ÷ KServe SDK",
        _grpc_rate("tidegate"),
        _grpc_rate("kserve"),
        at_least=20,
    ),
    Ratio(
        "rows1000_binary_vs_kserve",
        "V2 with binary tensors, logistic regression, 1,000 rows per request, 16 connections: Tidegate ÷ "
        "KServe SDK",
        _rate("tidegate", "lr", _BINARY, 1000, 16),
        _rate("kserve", "lr", _BINARY, 1000, 16),
        at_least=15,
    ),
    Ratio(
        "rows1000_json_vs_kserve",
        "the same in JSON",
        _rate("tidegate", "lr", _V2, 1000, 16),
        _rate("kserve", "lr", _V2, 1000, 16),
        at_least=12,
    ),
    Ratio(
        "counted_v1",
        "V1, logistic regression, 64 connections: Tidegate ÷ Tidegate without metrics and drift",
        _rate("tidegate", "lr"),
        _rate("tidegate-uncounted", "lr"),
        at_least=0.95,
    ),
    Ratio(
        "counted_v2",
        "the same, V2",
        _rate("tidegate", "lr", _V2),
        _rate("tidegate-uncounted", "lr", _V2),
        at_least=0.95,
    ),
    Ratio(
        "start_cpu_s",
        "CPU seconds from process start to readiness, logistic regression",
        Figure(Case("tidegate", "lr"), "cpu_s"),
        None,
        at_most=1.8,
    ),
    Ratio(
        "start_rss_mb",
        "resident megabytes at readiness, logistic regression",
        Figure(Case("tidegate", "lr"), "rss_mb"),
        None,
        at_most=180,
    ),
)


def evaluate(rounds: Sequence[Figures]) -> dict[str, dict[str, Any]]:
    """Evaluate the ratios whose cases were measured; return them by key.

    Args:
        rounds: The figures of each round; every round has the same cases.
    """
    measured = set(rounds[0])
    return {ratio.key: _evaluate(ratio, rounds) for ratio in RATIOS if measured.issuperset(ratio.cases)}


def _evaluate(ratio: Ratio, rounds: Sequence[Figures]) -> dict[str, Any]:
    values = [ratio.value_in(figures) for figures in rounds]
    conclusive = [value for value in values if value is not None]
    value = median(conclusive) if len(conclusive) == len(values) else None
    return {
        "meaning": ratio.meaning,
        "value": value,
        "rounds": values,
        "at_least": ratio.at_least,
        "at_most": ratio.at_most,
        "met": None if value is None else ratio.met(value),
    }
