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
    """A number of connections or streams, each with the next request after the previous response."""
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
        connections: Connections of the closed loop; 0 measures the start alone.
        streams: Concurrent requests of each connection; only HTTP/2 has more than one.
    """

    server: str
    model: str
    protocol: Protocol = Protocol.V1
    rows: int = 1
    connections: int = 0
    streams: int = 1

    @property
    def load(self) -> Load:
        """The kind of load."""
        return Load.CLOSED if self.connections else Load.START

    def __str__(self) -> str:
        if self.load is Load.START:
            return f"{self.server} {self.model} start"
        rows = f"{self.rows} row{'s'[: self.rows - 1]}"
        streams = f" of {self.streams} streams" if self.streams > 1 else ""
        return f"{self.server} {self.model} {self.protocol} {rows} {self.connections} conn.{streams}"
