# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plan: what ``loadtest.yaml`` says about the load and about the objective that it has to meet.

It holds no address and no model: the same plan is run against any server of any model. It refuses a plan
whose objective could not be decided.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.errors import FieldError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Protocol(StrEnum):
    """How a question is put: V1, Open Inference Protocol in JSON, or with binary tensors both ways."""

    V1 = "v1"
    V2 = "v2"
    V2_BINARY = "v2-binary"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Objective(_Part):
    """What must hold over the measured time, warm-up excluded. Latency counts from the intended start."""

    p50_ms: Positive | None = None
    p95_ms: Positive | None = None
    p99_ms: Positive | None = None
    failure_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest share of requests without a right answer in time."""
    rps: Positive | None = None
    """Fewest right answers a second."""

    @property
    def percentiles(self) -> dict[float, float]:
        """The limits in milliseconds by percentile, of those that have one."""
        limits = {50.0: self.p50_ms, 95.0: self.p95_ms, 99.0: self.p99_ms}
        return {percentile: limit for percentile, limit in limits.items() if limit is not None}

    @property
    def fewest_requests(self) -> int:
        """How many requests it takes to decide: ten beyond the highest percentile that has a limit."""
        return round(10 / (1 - max(self.percentiles, default=50.0) / 100))


class LoadTest(_Part):
    """A load: open loop at a ``rate``, or closed loop with a number of ``users``.

    In an open loop requests arrive at random times, as those of independent clients do, whether or not
    the server keeps up. In a closed loop each user asks again as soon as it has its answer, so that a
    slower server gets less load.
    """

    rate: Positive | None = None
    """Open loop: requests a second."""
    connections: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Open loop: how many connections the requests share; one carries one request at a time."""
    users: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Closed loop: how many users, each with its own connection."""
    duration: Positive
    """Measured time, in seconds."""
    warmup: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Seconds of the same load before, outside the verdict."""
    rows: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Rows a request."""
    protocols: Annotated[dict[Protocol, Positive], Field(min_length=1)] = {Protocol.V1: 1.0}
    """The protocols with their weights."""
    timeout: Positive = 5.0
    """Seconds that a client waits for its answer, from the intended start of its request."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of rows, mix and arrival times."""
    core: Annotated[int, Field(ge=0)] | None = None
    """The processor core of the generator. Left out, it is the last one, if there are two."""
    objective: Objective = Objective()

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if (self.rate is None) == (self.users is None):
            raise ValueError("give either 'rate' (open loop) or 'users' (closed loop)")
        if (self.connections is None) != (self.rate is None):
            raise ValueError(
                "'connections' belongs to 'rate': an open loop needs it, a closed loop has 'users'"
            )
        if self.rate is None:
            return self
        fewest = self.objective.fewest_requests
        if self.measured < fewest:
            raise FieldError(
                ("duration",),
                f"'rate' {self.rate:g} for 'duration' {self.duration:g} makes {self.measured} requests, "
                f"too few to decide the objective: expected at least {fewest}; raise 'duration' or 'rate'",
            )
        if self.objective.rps is not None and self.objective.rps >= self.rate:
            raise FieldError(
                ("objective", "rps"),
                f"{self.objective.rps:g} must be below 'rate' ({self.rate:g}): "
                "a few requests are always still under way when the measured time ends",
            )
        return self

    @property
    def concurrency(self) -> int:
        """How many requests can be under way at once."""
        return self.users or self.connections or 1

    @property
    def measured(self) -> int:
        """How many requests an open loop intends within the measured time; 0 in a closed loop."""
        return round((self.rate or 0.0) * self.duration)

    @property
    def planned(self) -> int:
        """How many requests an open loop intends in all, warm-up included; 0 in a closed loop."""
        return self.measured + round((self.rate or 0.0) * self.warmup)
