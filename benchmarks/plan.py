# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Plans: the measured cases, their order, duration and repetitions.

A plan is not the product of all options. Every server gets single rows for the cheapest and for a costly
model. Long requests, gRPC and the other models compare Tidegate with the KServe SDK only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import Case, Protocol

CONNECTIONS = (1, 16, 64)
GRPC_STREAMS = (8, 8)
"""Connections, and streams of each, as clients have them that share a channel."""
GRPC_ROWS = (8, 64, 256)
"""Rows per call in addition to 1: gRPC costs time per call, which the rows of a call share."""


@dataclass(frozen=True, slots=True)
class ServerRun:
    """One start of one server with one model, and the cases measured until it stops."""

    server: str
    model: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of the same server runs. Servers alternate, so that a slow minute of the machine affects all.

    Args:
        name: The plan's name.
        rounds: Number of rounds.
        warmup_seconds: Load before each measurement.
        measured_seconds: Duration of a measurement.
        runs: The server runs of a round, in order.
    """

    name: str
    rounds: int
    warmup_seconds: int
    measured_seconds: int
    runs: tuple[ServerRun, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of a round, in order."""
        return tuple(case for run in self.runs for case in run.cases)


def full() -> Plan:
    """Build the plan of every case; it takes about half an hour."""
    both, long = (Protocol.V1, Protocol.V2), (Protocol.V1, Protocol.V2, Protocol.V2_BINARY)
    pair = ("tidegate", "kserve")
    runs = [
        # Next to the server that it is compared with, because they differ by less than a slow minute.
        _run("tidegate-uncounted", "lr", _closed(both, 1, (64,))),
        *(
            _run(
                server,
                "lr",
                _closed(both, 1, CONNECTIONS),
                _closed([Protocol.GRPC], 1, (1, 16, 64)),
                [(Protocol.GRPC, 1, *GRPC_STREAMS)],
                *(_closed([Protocol.GRPC], rows, (16,)) for rows in GRPC_ROWS),
                _closed(long, 100, (16,)),
                _closed(long, 1000, (16,)),
                start=True,
            )
            for server in pair
        ),
        _run("tidegate-sklearn", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        _run("mlserver", "lr", _closed([Protocol.V2], 1, CONNECTIONS)),
        _run("mlserver-batching", "lr", _closed([Protocol.V2], 1, CONNECTIONS)),
        _run("bentoml", "lr", _closed([Protocol.BENTOML], 1, CONNECTIONS)),
        _run("starlette", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        _run("uvicorn", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        _run("nginx", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        *(
            _run(server, "rf", _closed(both, 1, CONNECTIONS), _closed([Protocol.V2_BINARY], 1000, (16,)))
            for server in pair
        ),
        _run("tidegate-sklearn", "rf", _closed([Protocol.V1], 1, CONNECTIONS)),
        _run("mlserver", "rf", _closed([Protocol.V2], 1, CONNECTIONS)),
        _run("mlserver-batching", "rf", _closed([Protocol.V2], 1, CONNECTIONS)),
        _run("bentoml", "rf", _closed([Protocol.BENTOML], 1, CONNECTIONS)),
        _run("starlette", "rf", _closed([Protocol.V1], 1, CONNECTIONS)),
        *(
            _run(server, model, _closed([Protocol.V1], 1, (1, 64)), _closed([Protocol.V2], 1, (64,)))
            for model in ("svm", "gb", "mixed")
            for server in pair
        ),
    ]
    return Plan("full", 3, 1, 3, tuple(runs))


def quick() -> Plan:
    """Build the plan of Tidegate, the KServe SDK and the two ceilings; it takes less than three minutes."""
    both = (Protocol.V1, Protocol.V2)
    runs = [
        _run("tidegate", "lr", _closed(both, 1, (64,)), _closed([Protocol.V1], 1, (16,)), start=True),
        _run("kserve", "lr", _closed(both, 1, (64,))),
        _run("uvicorn", "lr", _closed([Protocol.V1], 1, (16, 64))),
        _run("nginx", "lr", _closed([Protocol.V1], 1, (64,))),
        _run("tidegate", "rf", _closed(both, 1, (64,))),
        _run("kserve", "rf", _closed(both, 1, (64,))),
    ]
    return Plan("quick", 3, 1, 2, tuple(runs))


PLANS = {"full": full, "quick": quick}

_CaseValues = tuple[Protocol, int, int, int]
"""Protocol, rows, connections and streams."""


def _closed(protocols: Sequence[Protocol], rows: int, connections: Sequence[int]) -> list[_CaseValues]:
    return [(protocol, rows, count, 1) for protocol in protocols for count in connections]


def _run(server: str, model: str, *groups: list[_CaseValues], start: bool = False) -> ServerRun:
    cases = [Case(server, model, *values) for group in groups for values in group]
    return ServerRun(server, model, tuple([Case(server, model)] if start else []) + tuple(cases))
