# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The record of a measurement: every window with its outcome, for a person who wants to know why.

An inconclusive measurement has no other file. No command reads the record.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from tidegate_loadtests.capacity.document import Measured, RateInterval, Threshold
from tidegate_loadtests.capacity.measurement import Measurement, StagedWindow
from tidegate_loadtests.capacity.search import WindowOutcome


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WindowRecord(_Model):
    """One window of Poisson load."""

    stage: str
    rate: Measured
    seconds: Measured
    outcome: WindowOutcome
    discard_reason: str | None
    requests: int
    late: int
    """Successful responses whose latency exceeds the threshold."""
    failures: int
    latency_p50_ms: Measured | None
    """Of the successful responses; None without one."""
    latency_p99_ms: Measured | None
    send_delay_p99_ms: Measured
    generator_utilization: Measured
    server_starvation: Measured
    connections: int
    waited: int
    """Requests that waited for a free connection."""

    @classmethod
    def of(cls, staged: StagedWindow) -> Self:
        """Return the record of a window."""
        result, window = staged.result, staged.result.window
        return cls(
            stage=staged.stage,
            rate=window.rate,
            seconds=result.seconds,
            outcome=staged.outcome,
            discard_reason=staged.discard_reason,
            requests=window.requests,
            late=window.late,
            failures=window.failures,
            latency_p50_ms=_milliseconds(result.latency_p50_seconds),
            latency_p99_ms=_milliseconds(result.latency_p99_seconds),
            send_delay_p99_ms=window.send_delay_p99_seconds * 1e3,
            generator_utilization=window.generator_utilization,
            server_starvation=window.server_starvation,
            connections=window.connections,
            waited=window.waited,
        )


class MeasurementRecord(_Model):
    """The windows of a measurement, and its end."""

    version: Literal[1] = 1
    digest: str
    """The bundle's digest."""
    threshold: Threshold
    inconclusive_reason: str | None
    capacity_rate: RateInterval | None
    """The posterior at the end of the search; None before a window failed and another one passed."""
    windows: tuple[WindowRecord, ...]
    """In the order of the measurement."""

    @classmethod
    def of(cls, measurement: Measurement, digest: str, threshold: Threshold) -> Self:
        """Return the record of a measurement.

        Args:
            measurement: The measurement.
            digest: The bundle's digest.
            threshold: The thresholds of every window.
        """
        return cls(
            digest=digest,
            threshold=threshold,
            inconclusive_reason=measurement.inconclusive_reason,
            capacity_rate=measurement.capacity_rate,
            windows=tuple(map(WindowRecord.of, measurement.history)),
        )

    def write(self, path: Path) -> None:
        """Write the record as JSON."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
