# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plan: the load and its thresholds, as ``loadtest.yaml`` defines them.

A plan names no server and no model, so one plan serves for every server and model. A plan with thresholds
that its requests cannot decide is rejected.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.errors import FieldError
from tidegate.protocol.constants import Protocol

HttpProtocol = Literal[Protocol.V1, Protocol.V2, Protocol.V2_BINARY]
"""The protocols that the load generator speaks."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_REQUESTS_BEYOND_PERCENTILE = 10


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Model):
    """The pass criteria over the measured time, which excludes the warm-up."""

    max_p50_ms: Positive | None = None
    """Largest accepted median latency. Latency counts from the intended start."""
    max_p95_ms: Positive | None = None
    max_p99_ms: Positive | None = None
    max_failure_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest accepted ratio of failed requests to all requests."""
    min_goodput: Positive | None = None
    """Smallest accepted number of successful responses per second."""

    @property
    def max_latency_ms(self) -> dict[float, float]:
        """The latency thresholds in milliseconds by percentile, without absent thresholds."""
        limits = {50.0: self.max_p50_ms, 95.0: self.max_p95_ms, 99.0: self.max_p99_ms}
        return {percentile: limit for percentile, limit in limits.items() if limit is not None}

    @property
    def min_requests(self) -> int:
        """The smallest number of requests that puts ten beyond the highest percentile with a threshold."""
        highest = max(self.max_latency_ms, default=50.0)
        return round(_REQUESTS_BEYOND_PERCENTILE / (1 - highest / 100))


class LoadTest(_Model):
    """A load, with its thresholds: an open loop at a ``rate``, or a closed loop with a number of ``users``.

    In an open loop, requests arrive at random times, like those of independent clients, even if the server
    falls behind. In a closed loop, each user sends its next request after the previous response, so a slower
    server receives less load.
    """

    rate: Positive | None = None
    """Open loop: requests per second."""
    connections: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Open loop: number of connections; each carries one request at a time."""
    users: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Closed loop: number of users, each with its own connection."""
    duration: Positive
    """Measured time, in seconds."""
    warmup: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Seconds of the same load before the measured time; the verdict excludes them."""
    rows_per_request: Annotated[int, Field(ge=1, le=10_000)] = 1
    protocols: Annotated[dict[HttpProtocol, Positive], Field(min_length=1)] = {Protocol.V1: 1.0}
    """The protocols with their weights."""
    timeout: Positive = 5.0
    """Seconds from the intended start of a request after which it counts as failed."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the rows, the mix of protocols and the arrival times."""
    cpu: Annotated[int, Field(ge=0)] | None = None
    """The CPU that the load generator is pinned to; by default the last of several, and none of one."""
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _validate_decidable(self) -> Self:
        if (self.rate is None) == (self.users is None):
            raise ValueError("give either 'rate' (open loop) or 'users' (closed loop)")
        if (self.connections is None) != (self.rate is None):
            raise ValueError(
                "'connections' belongs to 'rate': an open loop needs it, a closed loop has 'users'"
            )
        if self.rate is None:
            return self
        min_requests = self.thresholds.min_requests
        if self.measured_requests < min_requests:
            raise FieldError(
                ("duration",),
                f"'rate' {self.rate:g} for 'duration' {self.duration:g} makes {self.measured_requests} "
                f"requests, too few to decide the thresholds: expected at least {min_requests}; raise "
                "'duration' or 'rate'",
            )
        min_goodput = self.thresholds.min_goodput
        if min_goodput is not None and min_goodput >= self.rate:
            raise FieldError(
                ("thresholds", "min_goodput"),
                f"expected less than 'rate' ({self.rate:g}), received {min_goodput:g}: "
                "a few requests are always in flight when the measured time ends",
            )
        return self

    @property
    def concurrency(self) -> int:
        """The largest number of requests in flight."""
        return self.users or self.connections or 1

    @property
    def measured_requests(self) -> int:
        """The number of requests that an open loop starts in the measured time; 0 in a closed loop."""
        return round((self.rate or 0.0) * self.duration)

    @property
    def planned_requests(self) -> int:
        """The number of requests of an open loop, with those of the warm-up; 0 in a closed loop."""
        return self.measured_requests + round((self.rate or 0.0) * self.warmup)
