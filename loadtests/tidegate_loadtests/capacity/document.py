# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The capacity file: the measured capacity of one replica, with the conditions that it holds for.

The file is the only source of the simulator and of the chart values. It holds measurements and no decision.
All rates are requests per second of one replica.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import yaml
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tidegate.errors import FieldError
from tidegate.protocol.constants import Protocol
from tidegate.settings import load_yaml

_HEADER = "# Written by 'tidegate loadtest capacity'. It holds for this bundle, hardware and limits only.\n"


def _round(value: float) -> float:
    return float(f"{value:.4g}")


Measured = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_round)]
"""A measured number, rounded to four significant digits."""
PositiveMeasured = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_round)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hardware(_Model):
    """The machine of the replica."""

    cpu: str
    """The processor's name."""
    cpus: Annotated[int, Field(ge=1)]
    memory_bytes: Annotated[int, Field(gt=0)]


class Limits(_Model):
    """The resources that the replica could use."""

    cpu: Positive
    """CPUs, as in a container's ``limits.cpu``."""
    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    """None if the memory was not limited."""


class Threshold(_Model):
    """The thresholds that every request rate up to the capacity keeps."""

    percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    latency_ms: Positive
    """Largest accepted latency at the percentile, from the intended start."""
    max_failure_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0


class RateInterval(_Model):
    """The posterior of the capacity: its median, and its 2.5 % and 97.5 % quantiles."""

    median: PositiveMeasured
    low: PositiveMeasured
    high: PositiveMeasured

    @model_validator(mode="after")
    def _validate_order(self) -> Self:
        if not self.low <= self.median <= self.high:
            raise ValueError(
                f"expected low <= median <= high, received {self.low:g}, {self.median:g}, {self.high:g}"
            )
        return self


class ServiceTime(_Model):
    """The time of one engine call with its event-loop iteration: ``call_seconds + row_seconds * rows``."""

    call_seconds: Measured
    row_seconds: Measured
    jitter: Measured
    """Standard deviation of the logarithm of a call's time around the line."""


class RateMeasurement(_Model):
    """The replica's metrics at one request rate."""

    rate: PositiveMeasured
    cpu_seconds_per_second: Measured
    in_flight: Measured
    """Mean number of requests in flight: the rate of ``tidegate_request_duration_seconds_sum``."""
    latency_p99_ms: Measured
    mean_batch_rows: Measured


class Capacity(_Model):
    """The capacity of one replica."""

    version: Literal[1] = 1
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The bundle's digest."""
    model: str
    engine: str
    hardware: Hardware | None
    """None if the replica ran on another machine."""
    limits: Limits
    protocol: Protocol
    rows_per_request: Annotated[int, Field(ge=1)]
    threshold: Threshold
    safe_rate: PositiveMeasured
    """The confirmed rate: measured windows at this rate keep the thresholds."""
    capacity_rate: RateInterval
    """The rate at which half of the windows keep the thresholds."""
    service_time: ServiceTime
    in_flight_at_safe_rate: PositiveMeasured
    cpu_at_rates: Annotated[tuple[RateMeasurement, ...], Field(min_length=1)]
    """The replica's metrics, by ascending rate."""
    startup_seconds: PositiveMeasured
    """Time from the start of the process, or of the container, until the server is ready."""
    memory_bytes: Annotated[int, Field(gt=0)]
    """The largest memory use in the measurement."""
    tidegate_version: str
    measured_at: AwareDatetime

    @model_validator(mode="after")
    def _validate_rates(self) -> Self:
        if self.safe_rate > self.capacity_rate.low:
            raise FieldError(
                ("safe_rate",),
                f"expected at most capacity_rate.low ({self.capacity_rate.low:g}), "
                f"received {self.safe_rate:g}",
            )
        rates = [measurement.rate for measurement in self.cpu_at_rates]
        if sorted(set(rates)) != rates:
            raise FieldError(("cpu_at_rates",), "expected ascending rates, each once")
        return self

    def cpu_at(self, rate: float) -> float:
        """Return the CPU seconds per second at a rate, linear between the measured rates."""
        return self._interpolate("cpu_seconds_per_second", rate)

    def in_flight_at(self, rate: float) -> float:
        """Return the mean number of requests in flight at a rate, linear between the measured rates."""
        return self._interpolate("in_flight", rate)

    def _interpolate(self, field: str, rate: float) -> float:
        rates = [0.0, *(measurement.rate for measurement in self.cpu_at_rates)]
        values = [0.0, *(getattr(measurement, field) for measurement in self.cpu_at_rates)]
        return float(np.interp(rate, rates, values))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a capacity file.

        Raises:
            ConfigurationError: If the file cannot be read or is not a capacity file.
        """
        return load_yaml(path, cls)

    def write(self, path: Path) -> None:
        """Write the capacity file."""
        fields = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path.write_text(_HEADER + fields, encoding="utf-8")
