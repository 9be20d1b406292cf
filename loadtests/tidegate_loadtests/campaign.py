# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The campaign: target, requests, phases and thresholds, as one YAML file defines them.

A campaign may leave out its target, so that one file serves for every server and model. A campaign with
thresholds that its requests cannot decide is rejected.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tidegate.errors import ConfigurationError, FieldError
from tidegate.protocol.constants import Protocol
from tidegate_loadtests.evidence import min_requests
from tidegate_loadtests.load_models import Closed, Load, Positive, resolve_path

_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})

Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Watch(_Model):
    """The Kubernetes object whose replicas the timeline records."""

    namespace: Annotated[str, Field(min_length=1)] = "default"
    inference_service: str | None = None
    """Name of KServe's InferenceService."""
    deployment: str | None = None
    """Name of the Deployment."""

    @model_validator(mode="after")
    def _validate_one_object(self) -> Self:
        if (self.inference_service is None) == (self.deployment is None):
            raise ValueError("give either 'inference_service' or 'deployment'")
        return self


class Target(_Model):
    """The server under load, and the object that scales it."""

    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """The server's base URL; the option ``--url`` replaces it."""
    grpc_url: Annotated[str, Field(pattern=r"^[^/\s]+:\d+$")] | None = None
    """Host and port for gRPC; the option ``--grpc-url`` replaces it."""
    headers: dict[Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")], str] = {}
    """Headers of each request. ``${NAME}`` is the environment variable at the start of the campaign.

    No output of a campaign has the variable's value.
    """
    watch: Watch | None = None
    """The object whose timeline is recorded; None records none."""

    @model_validator(mode="after")
    def _validate_credentials(self) -> Self:
        for name, value in self.headers.items():
            if name.lower() in _CREDENTIAL_HEADERS and not re.search(r"\$\{\w+\}", value):
                raise FieldError(
                    ("headers", name),
                    "expected its value from the environment, because the report has the campaign: write "
                    "${NAME}",
                )
        return self


class Payload(_Model):
    """The rows of the requests."""

    file: Path
    """A CSV or Parquet file with one column per feature; other columns are ignored.

    The path is relative to the campaign's file. Requests take the rows in their order, again and again.
    """

    @field_validator("file")
    @classmethod
    def _resolve_file(cls, path: Path, info: ValidationInfo) -> Path:
        return resolve_path(path, info)


class Thresholds(_Model):
    """The pass criteria over one phase."""

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
        """The smallest number of requests that proves every percentile with a threshold, if none is late."""
        return max(map(min_requests, self.max_latency_ms), default=1)


class ScalingThresholds(_Model):
    """The pass criteria over the timeline of the whole campaign."""

    max_reaction_seconds: Positive | None = None
    """Largest accepted time from a step of the load until the desired replicas rise."""
    max_ready_seconds: Positive | None = None
    """Largest accepted time from a step of the load until that many replicas are ready."""
    max_recovery_seconds: Positive | None = None
    """Largest accepted time from a step of the load until latency is below the phase's threshold again."""
    min_replicas: Count | None = None
    """Smallest accepted number of ready replicas, at any time."""
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    """Largest accepted number of ready replicas, at any time."""
    final_replicas: Count | None = None
    """The number of ready replicas at the end of the campaign."""
    max_replica_seconds_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Largest accepted ratio of replica-seconds to their ideal, which follows from ``sizes``."""
    max_direction_changes: Count | None = None
    """Largest accepted number of changes between scaling up and scaling down."""
    sizes: Path | None = None
    """The file of ``tidegate loadtest capacity``, relative to the campaign's file."""

    @field_validator("sizes")
    @classmethod
    def _resolve_sizes(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return None if path is None else resolve_path(path, info)

    @model_validator(mode="after")
    def _validate_consistent(self) -> Self:
        if self.max_replica_seconds_ratio is not None and self.sizes is None:
            raise FieldError(
                ("max_replica_seconds_ratio",), "expected 'sizes', the capacity file of the ideal, as well"
            )
        low, high = self.min_replicas, self.max_replicas
        if low is not None and high is not None and low > high:
            raise FieldError(("min_replicas",), f"expected at most 'max_replicas' ({high}), received {low}")
        return self


class Phase(_Model):
    """A part of the campaign with one load."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$")]
    duration: Positive
    """Seconds."""
    load: Load
    judged: bool = True
    """Whether the phase has thresholds; a warm-up has none."""
    thresholds: Thresholds = Thresholds()

    @property
    def planned_requests(self) -> int:
        """The exact number of requests that an open loop starts; 0 in a closed loop."""
        return 0 if isinstance(self.load, Closed) else self.load.planned_requests(self.duration)

    @model_validator(mode="after")
    def _validate_decidable(self) -> Self:
        if not self.judged and self.thresholds != Thresholds():
            raise FieldError(("thresholds",), "expected none in a phase that is not judged, received some")
        if isinstance(self.load, Closed):
            return self
        self.load.validate_duration(self.duration)
        if not self.judged:
            return self
        if self.planned_requests < self.thresholds.min_requests:
            raise FieldError(
                ("duration",),
                f"the load of phase '{self.name}' makes {self.planned_requests} requests in "
                f"{self.duration:g} s, too few to decide the thresholds: expected at least "
                f"{self.thresholds.min_requests}; raise 'duration' or the rate",
            )
        min_goodput, mean_rate = self.thresholds.min_goodput, self.planned_requests / self.duration
        if min_goodput is not None and min_goodput >= mean_rate:
            raise FieldError(
                ("thresholds", "min_goodput"),
                f"expected less than the phase's mean rate ({mean_rate:g}), received {min_goodput:g}: "
                "a few requests are always in flight when a phase ends",
            )
        return self


@dataclass(frozen=True, slots=True)
class PhaseBounds:
    """The time of a phase, in seconds from the start of the campaign, and its thresholds."""

    name: str
    start: float
    end: float
    judged: bool
    thresholds: Thresholds

    @property
    def duration(self) -> float:
        """The phase's duration in seconds."""
        return self.end - self.start


class Campaign(_Model):
    """A load test: the phases run in their order, without a pause."""

    target: Target = Target()
    protocols: Annotated[dict[Protocol, Positive], Field(min_length=1)] = {Protocol.V1: 1.0}
    """The protocols with their weights."""
    rows_per_request: Annotated[int, Field(ge=1, le=10_000)] = 1
    payload: Payload | None = None
    """The rows of the requests; None draws them from the model's contract."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Open loop: the largest number of requests in flight, each on a connection of its own."""
    timeout: Positive = 5.0
    """Seconds from the intended start of a request after which it counts as failed."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the rows, the mix of protocols and the arrival times."""
    cpu: Annotated[int, Field(ge=0)] | None = None
    """The CPU that the load generator is pinned to; by default the last of several, and none of one."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    scaling: ScalingThresholds | None = None
    """The thresholds over the timeline."""

    @model_validator(mode="after")
    def _validate_decidable(self) -> Self:
        names = [phase.name for phase in self.phases]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise FieldError(
                    ("phases", index, "name"), f"expected a name per phase, received '{name}' twice"
                )
        if not any(phase.judged for phase in self.phases):
            raise FieldError(("phases",), "expected at least one phase that is judged, received none")
        if self.scaling is None:
            return self
        if self.target.watch is None:
            raise FieldError(
                ("scaling",), "expected 'target.watch', the object whose replicas are recorded, as well"
            )
        if self.scaling.max_recovery_seconds is not None and not any(
            phase.thresholds.max_latency_ms for phase in self.phases
        ):
            raise FieldError(
                ("scaling", "max_recovery_seconds"),
                "expected a phase with a latency threshold, received none",
            )
        return self

    def with_addresses(self, url: str | None, grpc_url: str | None) -> Self:
        """Return the campaign with the addresses of the command line, which replace those of the file.

        Args:
            url: The server's base URL.
            grpc_url: Host and port for gRPC.

        Raises:
            ConfigurationError: If an address has another form, or a protocol has none.
        """
        fields = {"url": url or self.target.url, "grpc_url": grpc_url or self.target.grpc_url}
        try:
            target = Target.model_validate(self.target.model_dump(exclude_unset=True) | fields)
        except ValidationError as error:
            (field,) = error.errors()[0]["loc"]
            option, expected = {
                "url": ("--url", "http://… or https://…"),
                "grpc_url": ("--grpc-url", "HOST:PORT, which is used without TLS"),
            }[str(field)]
            raise ConfigurationError(
                f"{option}: '{fields[str(field)]}' is not an address of a server: expected {expected}."
            ) from None
        if target.url is None and set(self.protocols) != {Protocol.GRPC}:
            raise ConfigurationError("The campaign has no address: give --url or 'target.url'.")
        if target.grpc_url is None and Protocol.GRPC in self.protocols:
            raise ConfigurationError(
                "The campaign has no address for gRPC: give --grpc-url or 'target.grpc_url', or remove "
                "'grpc' from 'protocols'."
            )
        return self.model_copy(update={"target": target})

    @property
    def duration_seconds(self) -> float:
        """The duration of all phases."""
        return sum(phase.duration for phase in self.phases)

    @property
    def planned_requests(self) -> int:
        """The exact number of requests of all open loops; a closed loop adds to them."""
        return sum(phase.planned_requests for phase in self.phases)

    @property
    def open_loop(self) -> bool:
        """Whether every phase is an open loop, so that the number of requests is planned."""
        return not any(isinstance(phase.load, Closed) for phase in self.phases)

    @property
    def concurrency(self) -> int:
        """The largest number of requests in flight."""
        return max(self.phase_concurrency(phase) for phase in self.phases)

    def phase_concurrency(self, phase: Phase) -> int:
        """Return the largest number of requests in flight in a phase: its users, or the connections."""
        return phase.load.users if isinstance(phase.load, Closed) else self.connections

    def bounds(self) -> tuple[PhaseBounds, ...]:
        """Return the time of each phase."""
        return tuple(self._bounds())

    def phase_at(self, second: float) -> Phase:
        """Return the phase at a time from the campaign's start; the first before it, the last after it."""
        ends = (bounds.end for bounds in self._bounds())
        return next(
            (phase for phase, end in zip(self.phases, ends, strict=True) if second < end), self.phases[-1]
        )

    def rate_at(self, second: float) -> float | None:
        """Return the intended requests per second at a time from the campaign's start.

        Returns:
            0 outside of the campaign; None in a closed loop, whose rate the server decides.
        """
        for phase, bounds in zip(self.phases, self._bounds(), strict=True):
            if bounds.start <= second < bounds.end:
                if isinstance(phase.load, Closed):
                    return None
                return phase.load.rate_at(second - bounds.start, phase.duration)
        return 0.0

    def _bounds(self) -> Iterator[PhaseBounds]:
        start = 0.0
        for phase in self.phases:
            yield PhaseBounds(phase.name, start, start + phase.duration, phase.judged, phase.thresholds)
            start += phase.duration
