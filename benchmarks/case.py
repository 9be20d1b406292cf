# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A case: one server, one model, one kind of request, one load. What one figure is a figure of."""

from dataclasses import dataclass
from enum import StrEnum


class Protocol(StrEnum):
    """How a server is asked."""

    V1 = "v1"
    V2 = "v2"
    V2_BINARY = "v2-binary"
    GRPC = "grpc"
    BENTOML = "bentoml"
    """BentoML's own JSON: its server speaks none of the others."""


class Load(StrEnum):
    """How hard a server is asked."""

    CLOSED = "closed"
    """So many connections, each of which asks again as soon as it is answered."""
    OPEN = "open"
    """So many requests a second, whatever the answers do."""
    START = "start"
    """None: what the start costs, from the process to its readiness."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """What is measured.

    Args:
        server: One of ``servers.SERVERS``.
        model: One of ``models.NAMES``.
        protocol: How it is asked.
        rows: Rows a request.
        connections: Of a closed loop.
        share: Of an open loop, the offered rate as a share of the server's capacity.
    """

    server: str
    model: str
    protocol: Protocol = Protocol.V1
    rows: int = 1
    connections: int = 0
    share: float = 0.0

    @property
    def load(self) -> Load:
        """Which kind of load it is."""
        if self.connections:
            return Load.CLOSED
        return Load.OPEN if self.share else Load.START

    def __str__(self) -> str:
        if self.load is Load.START:
            return f"{self.server} {self.model} start"
        load = f"{self.connections} conn." if self.connections else f"{self.share:.0%} of capacity"
        return f"{self.server} {self.model} {self.protocol} {self.rows} row{'s'[: self.rows - 1]} {load}"
