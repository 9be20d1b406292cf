# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The expected traffic, and the autoscaler that follows it."""

from dataclasses import dataclass
from enum import StrEnum

from tidegate.errors import ConfigurationError

DEFAULT_GROWTH_SECONDS = 300
"""Without an expected growth, the traffic may rise from zero to its peak in this time."""


class Autoscaler(StrEnum):
    """The chart's autoscalers."""

    HPA = "hpa"
    """CPU; needs nothing but metrics-server."""
    KEDA = "keda"
    """Requests in flight; needs KEDA."""

    @property
    def metric_window_seconds(self) -> int:
        """The time over which the metric is an average: of metrics-server, or of KEDA's slower source."""
        return 15 if self is Autoscaler.HPA else 60


@dataclass(frozen=True, slots=True)
class Traffic:
    """The expected traffic, in requests per second.

    Raises:
        ConfigurationError: If there is no peak, or the step exceeds it.
    """

    peak: float
    growth: float
    """The steepest growth, in requests per second per second."""
    largest_step: float = 0.0
    """The largest instantaneous rise, which no autoscaler can follow."""

    def __post_init__(self) -> None:
        if not 0 <= self.largest_step <= self.peak or self.peak <= 0:
            raise ConfigurationError(
                f"--largest-step is {self.largest_step:g} and --peak is {self.peak:g}: expected a step from "
                "0 to the peak, and a peak above 0."
            )
