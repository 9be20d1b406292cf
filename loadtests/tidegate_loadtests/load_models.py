# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load models: the intended rate of a phase over its time, as functions without a random source.

Each open loop has a rate λ(t) and its integral Λ(t), the expected number of requests. Arrival times are drawn
elsewhere, from Λ alone. Times are seconds from the start of the phase.
"""

from functools import cached_property
from math import cos, isclose, pi
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from tidegate.errors import FieldError
from tidegate_loadtests.traces import Trace

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LoadModel(BaseModel):
    """An open loop: requests arrive at their intended starts, even if the server falls behind."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    random: ClassVar[bool] = True
    """Whether arrivals are random, like those of independent clients, or at fixed times."""

    def rate_at(self, second: float, duration: float) -> float:
        """Return the intended requests per second.

        Args:
            second: The time.
            duration: The phase's duration.
        """
        raise NotImplementedError

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return the integral of the rate from the phase's start to each time, ``[times]``.

        Args:
            seconds: The times, ``[times]``.
            duration: The phase's duration.
        """
        raise NotImplementedError

    def validate_duration(self, duration: float) -> None:
        """Check that the model fits a phase.

        Raises:
            FieldError: If the duration contradicts a field of the model.
        """

    def planned_requests(self, duration: float) -> int:
        """Return the exact number of requests that a phase of this duration starts."""
        return round(float(self.expected_requests(np.array([duration]), duration)[0]))


class Constant(LoadModel):
    """Requests at equal intervals."""

    random: ClassVar[bool] = False
    model: Literal["constant"]
    rate: Positive
    """Requests per second."""

    def rate_at(self, second: float, duration: float) -> float:
        """Return the rate, which is constant."""
        return self.rate

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return rate · seconds, ``[times]``."""
        return self.rate * seconds


class Poisson(Constant):
    """Requests at random times, like those of independent clients, with a constant mean rate."""

    random: ClassVar[bool] = True
    model: Literal["poisson"]  # type: ignore[assignment]


class Steps(LoadModel):
    """One Poisson rate after the other, each for the same time."""

    model: Literal["steps"]
    rates: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """Requests per second in each step."""
    step_seconds: Positive

    def rate_at(self, second: float, duration: float) -> float:
        """Return the rate of the step."""
        return self.rates[min(int(second / self.step_seconds), len(self.rates) - 1)]

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return the requests of all earlier steps and of a part of the current one, ``[times]``."""
        edges = np.arange(len(self.rates) + 1) * self.step_seconds
        totals = np.concatenate([[0.0], np.cumsum(self.rates) * self.step_seconds])
        return np.asarray(np.interp(seconds, edges, totals))

    def validate_duration(self, duration: float) -> None:
        """Check that the steps fill the phase.

        Raises:
            FieldError: If they do not.
        """
        expected = len(self.rates) * self.step_seconds
        if not isclose(duration, expected):
            raise FieldError(
                ("duration",),
                f"expected {len(self.rates)} steps of {self.step_seconds:g} s, {expected:g} s, received "
                f"{duration:g}",
            )


class Ramp(LoadModel):
    """A Poisson rate that rises or falls linearly over the phase."""

    model: Literal["ramp"]
    from_rate: NonNegative
    """Requests per second at the start of the phase."""
    to_rate: NonNegative
    """Requests per second at its end."""

    def rate_at(self, second: float, duration: float) -> float:
        """Return the rate on the line between both rates."""
        return self.from_rate + (self.to_rate - self.from_rate) * second / duration

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return the area below the line, ``[times]``."""
        return self.from_rate * seconds + (self.to_rate - self.from_rate) * seconds**2 / (2 * duration)


class Spike(LoadModel):
    """A Poisson rate that jumps to a peak and back."""

    model: Literal["spike"]
    base_rate: NonNegative
    """Requests per second before and after the peak."""
    peak_rate: Positive
    at_seconds: NonNegative
    """Start of the peak, from the start of the phase."""
    peak_seconds: Positive
    """Duration of the peak."""

    def rate_at(self, second: float, duration: float) -> float:
        """Return the base rate or the peak rate."""
        return self.peak_rate if 0 <= second - self.at_seconds < self.peak_seconds else self.base_rate

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return the requests at the base rate, and those that the peak adds, ``[times]``."""
        in_peak = np.clip(seconds - self.at_seconds, 0.0, self.peak_seconds)
        return self.base_rate * seconds + (self.peak_rate - self.base_rate) * in_peak

    def validate_duration(self, duration: float) -> None:
        """Check that the peak lies within the phase.

        Raises:
            FieldError: If it does not.
        """
        if self.at_seconds + self.peak_seconds > duration:
            raise FieldError(
                ("load", "peak_seconds"),
                f"expected a peak that ends within the phase of {duration:g} s, received its end at "
                f"{self.at_seconds + self.peak_seconds:g} s",
            )


class Diurnal(LoadModel):
    """A Poisson rate that follows the day: it begins at its lowest, and is highest after half a period."""

    model: Literal["diurnal"]
    mean_rate: Positive
    """Requests per second on average over a period."""
    amplitude: NonNegative
    """The largest difference from the mean rate, in requests per second."""
    period_seconds: Positive

    @model_validator(mode="after")
    def _validate_amplitude(self) -> Self:
        if self.amplitude > self.mean_rate:
            raise FieldError(
                ("amplitude",),
                f"expected at most 'mean_rate' ({self.mean_rate:g}), received {self.amplitude:g}",
            )
        return self

    def rate_at(self, second: float, duration: float) -> float:
        """Return the cosine curve, which begins at its lowest."""
        return self.mean_rate - self.amplitude * cos(2 * pi * second / self.period_seconds)

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return the integral of the cosine curve, ``[times]``."""
        angle = 2 * pi / self.period_seconds
        return np.asarray(self.mean_rate * seconds - self.amplitude / angle * np.sin(angle * seconds))


class Replay(LoadModel):
    """The arrivals of a recorded trace, at their own times or faster; those after the phase are left out."""

    random: ClassVar[bool] = False
    model: Literal["replay"]
    trace: Path
    """A CSV or Parquet file with ``time_seconds``, and ``rows`` if requests have different numbers of rows.

    The path is relative to the campaign's file. The first request starts with the phase.
    """
    speed: Positive = 1.0
    """The recorded seconds that one second replays."""

    @field_validator("trace")
    @classmethod
    def _resolve_trace(cls, path: Path, info: ValidationInfo) -> Path:
        return resolve_path(path, info)

    @cached_property
    def recorded(self) -> Trace:
        """The trace, which the first use reads.

        Raises:
            FieldError: If the file is not a trace.
        """
        try:
            return Trace.read(self.trace)
        except ValueError as error:
            raise FieldError(("load", "trace"), str(error)) from None

    def rate_at(self, second: float, duration: float) -> float:
        """Return the number of requests in the whole second that holds the time."""
        edges = np.array([np.floor(second), np.floor(second) + 1])
        before, after = self.expected_requests(edges, duration)
        return float(after - before)

    def expected_requests(self, seconds: Floats, duration: float) -> Floats:
        """Return the number of recorded requests before each time, ``[times]``."""
        return np.asarray(np.searchsorted(self.recorded.time, seconds * self.speed), dtype=np.float64)


class Closed(BaseModel):
    """A closed loop: each user sends its next request after the previous response.

    A slower server receives less load, so a closed loop says little about latency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Literal["closed"]
    users: Annotated[int, Field(ge=1, le=10_000)]
    """Number of users, each with its own connection."""


OpenLoad = Annotated[
    Constant | Poisson | Steps | Ramp | Spike | Diurnal | Replay, Field(discriminator="model")
]
"""The open loops."""

Load = Annotated[
    Constant | Poisson | Steps | Ramp | Spike | Diurnal | Replay | Closed, Field(discriminator="model")
]
"""Any load model."""


def resolve_path(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path that is relative to the file of :func:`tidegate.settings.load_yaml`, if any."""
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path).resolve()
