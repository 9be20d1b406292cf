# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of cost by size, each with its target: from measurements, without a process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.overload_figures import Figure
from benchmarks.servers import SERVERS

GIB = 1 << 30

NOISE = 1.2
"""Accepted growth of a cost, as a multiple of the growth of the columns; a square exceeds it by far."""


@dataclass(frozen=True, slots=True)
class Data:
    """The size of generated data."""

    rows: int
    numbers: int
    texts: int = 0

    @property
    def columns(self) -> int:
        """The number of feature columns."""
        return self.numbers + self.texts

    @property
    def kind(self) -> str:
        """The types of the columns."""
        if self.texts == 0:
            return "numbers"
        return "numbers and one text" if self.texts == 1 else "half numbers, half texts"

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.columns:,} columns, {self.kind}"


_ROWS = 1_000
WIDTHS = (10, 100, 1_000, 5_000)
WIDE = (
    *(Data(_ROWS, width) for width in WIDTHS),
    *(Data(_ROWS, width - 1, 1) for width in WIDTHS),
    *(Data(_ROWS, width // 2, width // 2) for width in WIDTHS[1:3]),
)
"""Tables of few rows and a growing number of columns: one matrix, and two kinds of mixed columns."""
LONG = Data(200_000, 50)
"""A table of many rows."""
RUNS = (
    *((data, "LogisticRegression") for data in WIDE),
    (LONG, "LogisticRegression"),
    (LONG, "HistGradientBoostingClassifier"),
)
"""The training runs: data and algorithm."""
FOREST = Data(4_000, 30)
"""The data of the forests whose server is measured."""
TREES = (10, 100, 750)


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """The cost of a training run."""

    data: Data
    algorithm: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    compiled: bool
    request_ms: float | None = None
    """CPU milliseconds of the server per request of one row; None if it was not measured."""


@dataclass(frozen=True, slots=True)
class ServerCost:
    """The cost of a server that became ready and received no request."""

    server: str
    model: str
    """The model in words."""
    model_bytes: int
    """The size of the model's file in the bundle."""
    ready_bytes: int
    peak_bytes: int
    limit_bytes: int
    """The memory limit that follows from the sizes of the bundle's files."""
    start_cpu_seconds: float
    """CPU seconds from the start of the process to its readiness."""


def training_figures(costs: Sequence[TrainingCost]) -> Iterator[Figure]:
    """Yield how the cost grows with the columns, and the memory of many rows."""
    by_data = {cost.data: cost for cost in costs if cost.data in WIDE}
    for kind in dict.fromkeys(data.kind for data in WIDE):
        smaller, larger = [by_data[data] for data in WIDE if data.kind == kind][-2:]
        limit = NOISE * larger.data.columns / smaller.data.columns
        what = f"{kind}: {larger.data.columns:,} columns ÷ {smaller.data.columns:,} columns"
        yield Figure(
            f"train_{kind}",
            f"{what}, CPU of training",
            larger.cpu_seconds / smaller.cpu_seconds,
            at_most=limit,
        )
        if larger.request_ms is not None and smaller.request_ms is not None:
            yield Figure(
                f"request_{kind}",
                f"{what}, CPU of a request",
                larger.request_ms / smaller.request_ms,
                at_most=limit,
            )
    yield Figure(
        "train_peak_gib",
        f"{LONG.rows:,} rows of {LONG.columns} columns: GiB of training",
        max(cost.peak_bytes for cost in costs if cost.data == LONG) / GIB,
        at_most=2,
    )


def memory_figures(costs: Sequence[ServerCost]) -> Iterator[Figure]:
    """Yield the largest memory of each server, as a fraction of the limit by the bundle's size."""
    for server in dict.fromkeys(cost.server for cost in costs):
        largest = max(cost.peak_bytes / cost.limit_bytes for cost in costs if cost.server == server)
        title = SERVERS[server].title
        yield Figure(
            f"{server}_memory", f"{title}: largest memory ÷ limit by the bundle's size", largest, at_most=0.9
        )


def start_figures(costs: Sequence[ServerCost]) -> Iterator[Figure]:
    """Yield the start of the server with the largest bundle."""
    largest = max(costs, key=lambda cost: (cost.model_bytes, cost.start_cpu_seconds))
    what = f"{largest.model}, {largest.model_bytes / 1e6:.0f} MB, {SERVERS[largest.server].title}"
    yield Figure(
        "big_start_cpu_s",
        f"{what}: CPU seconds to readiness",
        largest.start_cpu_seconds,
        at_most=6,
    )
