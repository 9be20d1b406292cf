# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Cases: one server, one model, one kind of request, one load. A case is the subject of one measurement."""

from dataclasses import dataclass
from enum import StrEnum


class Protocol(StrEnum):
    """The protocol of a request."""

    V1 = "v1"
    V2 = "v2"
    V2_BINARY = "v2-binary"
    GRPC = "grpc"
    BENTOML = "bentoml"
    """BentoML's own JSON, because BentoML serves none of the others."""


class Load(StrEnum):
    """The kind of load."""

    CLOSED = "closed"
    """A number of connections, each with the next request after the previous response."""
    OPEN = "open"
    """A number of requests per second, independent of the responses."""
    START = "start"
    """No requests: the cost from the process's start until its readiness."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """The subject of one measurement.

    Args:
        server: One of ``servers.SERVERS``.
        model: One of ``models.NAMES``.
        protocol: The protocol of the requests.
        rows: Rows per request.
        connections: Connections of a closed loop.
        load_factor: Offered rate of an open loop, divided by the server's capacity.
    """

    server: str
    model: str
    protocol: Protocol = Protocol.V1
    rows: int = 1
    connections: int = 0
    load_factor: float = 0.0

    @property
    def load(self) -> Load:
        """The kind of load."""
        if self.connections:
            return Load.CLOSED
        return Load.OPEN if self.load_factor else Load.START

    def __str__(self) -> str:
        if self.load is Load.START:
            return f"{self.server} {self.model} start"
        load = f"{self.connections} conn." if self.connections else f"{self.load_factor:.0%} of capacity"
        return f"{self.server} {self.model} {self.protocol} {self.rows} row{'s'[: self.rows - 1]} {load}"
