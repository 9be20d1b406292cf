# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plan: which cases are measured, in which order, how long and how often.

Not the product of everything: all servers answer single rows of the cheapest and of a costly model; long
requests, gRPC and the other models are a matter between Tidegate and the server it stands in for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import Case, Load, Protocol

CONNECTIONS = (1, 16, 64)
OVERLOAD_SHARES = (0.8, 2.0)
OVERLOAD_ROWS = 100
"""Single rows would overload the generator first: the more come, the larger are the batches."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One start of one server with one model, and all that is measured before it is stopped."""

    server: str
    model: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of the same visits: servers take turns, so that a slow minute of the machine hits all.

    Args:
        name: What it is called.
        rounds: How often all visits are made.
        warmup: Seconds of load before each measurement.
        seconds: Seconds of a measurement.
        visits: In the order of a round.
    """

    name: str
    rounds: int
    warmup: int
    seconds: int
    visits: tuple[Visit, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases of a round, in order."""
        return tuple(case for visit in self.visits for case in visit.cases)

    @property
    def least_seconds(self) -> int:
        """What the measurements alone take."""
        loaded = sum(case.load is not Load.START for case in self.cases)
        return self.rounds * loaded * (self.warmup + self.seconds)


def full() -> Plan:
    """Everything, in about half an hour."""
    both, long = (Protocol.V1, Protocol.V2), (Protocol.V1, Protocol.V2, Protocol.V2_BINARY)
    pair = ("tidegate", "kserve")
    visits = [
        # Right before the one that it is compared with: they differ by less than a slow minute does.
        _visit("tidegate-uncounted", "lr", _closed(both, 1, (64,))),
        *(
            _visit(
                server,
                "lr",
                _closed(both, 1, CONNECTIONS),
                _closed([Protocol.GRPC], 1, (16, 64)),
                _closed(long, 100, (16,)),
                _closed(long, 1000, (16,)),
                start=True,
            )
            for server in pair
        ),
        _visit("tidegate-sklearn", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        _visit("mlserver", "lr", _closed([Protocol.V2], 1, CONNECTIONS)),
        _visit("mlserver-batching", "lr", _closed([Protocol.V2], 1, CONNECTIONS)),
        _visit("bentoml", "lr", _closed([Protocol.BENTOML], 1, CONNECTIONS)),
        _visit("starlette", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        _visit("uvicorn", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        _visit("nginx", "lr", _closed([Protocol.V1], 1, CONNECTIONS)),
        *(
            _visit(server, "rf", _closed(both, 1, CONNECTIONS), _closed([Protocol.V2_BINARY], 1000, (16,)))
            for server in pair
        ),
        _visit(
            "tidegate-sklearn",
            "rf",
            _closed([Protocol.V1], 1, CONNECTIONS),
            _closed([Protocol.V1], OVERLOAD_ROWS, (16, 64, 256)),
            [(Protocol.V1, OVERLOAD_ROWS, 0, share) for share in OVERLOAD_SHARES],
        ),
        _visit("mlserver", "rf", _closed([Protocol.V2], 1, CONNECTIONS)),
        _visit("mlserver-batching", "rf", _closed([Protocol.V2], 1, CONNECTIONS)),
        _visit("bentoml", "rf", _closed([Protocol.BENTOML], 1, CONNECTIONS)),
        _visit("starlette", "rf", _closed([Protocol.V1], 1, CONNECTIONS)),
        *(
            _visit(server, model, _closed([Protocol.V1], 1, (1, 64)), _closed([Protocol.V2], 1, (64,)))
            for model in ("svm", "gb", "mixed")
            for server in pair
        ),
    ]
    return Plan("full", 3, 1, 3, tuple(visits))


def quick() -> Plan:
    """The server, the one it stands in for, and the two ceilings, in less than three minutes."""
    both = (Protocol.V1, Protocol.V2)
    visits = [
        _visit("tidegate", "lr", _closed(both, 1, (64,)), _closed([Protocol.V1], 1, (16,)), start=True),
        _visit("kserve", "lr", _closed(both, 1, (64,))),
        _visit("uvicorn", "lr", _closed([Protocol.V1], 1, (16, 64))),
        _visit("nginx", "lr", _closed([Protocol.V1], 1, (64,))),
        _visit("tidegate", "rf", _closed(both, 1, (64,))),
        _visit("kserve", "rf", _closed(both, 1, (64,))),
    ]
    return Plan("quick", 3, 1, 2, tuple(visits))


PLANS = {"full": full, "quick": quick}

_Asked = tuple[Protocol, int, int, float]


def _closed(protocols: Sequence[Protocol], rows: int, connections: Sequence[int]) -> list[_Asked]:
    return [(protocol, rows, count, 0.0) for protocol in protocols for count in connections]


def _visit(server: str, model: str, *asked: list[_Asked], start: bool = False) -> Visit:
    cases = [Case(server, model, *values) for group in asked for values in group]
    return Visit(server, model, tuple([Case(server, model)] if start else []) + tuple(cases))
