# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The fit of the service time: ``call_seconds + row_seconds * rows`` per engine call.

Each window has a mean batch and a mean time per call; a line through them is fitted by weighted least
squares. The time is the replica's CPU time divided by its CPUs, so it includes reading, parsing and encoding,
which share the event loop with the engine. A line with a negative coefficient is replaced by one through the
origin or by a constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import TidegateError
from tidegate.stats import percentile
from tidegate_loadtests.capacity.document import ServiceTime


@dataclass(frozen=True, slots=True)
class Calls:
    """The engine calls of one window."""

    calls: float
    rows: float
    busy_seconds: float
    """The replica's busy time."""


def fit_service_time(windows: Sequence[Calls], single_call_seconds: NDArray[np.float64]) -> ServiceTime:
    """Fit the service time.

    >>> windows = [Calls(100, 100, 0.3), Calls(50, 500, 0.6)]
    >>> fit_service_time(windows, np.full(9, 0.003))
    ServiceTime(call_seconds=0.002, row_seconds=0.001, jitter=0.0)

    Args:
        windows: The engine calls of each window.
        single_call_seconds: Latencies of requests that were alone in the server, ``[requests]``.

    Raises:
        TidegateError: If no window has an engine call.
    """
    used = [window for window in windows if window.calls > 0]
    if not used:
        raise TidegateError("The replica counted no engine call: give the URL of one pod of this model.")
    weights = np.array([window.calls for window in used])
    batch = np.array([window.rows for window in used]) / weights
    seconds = np.array([window.busy_seconds for window in used]) / weights
    call, row = _fit_line(batch, seconds, weights)
    return ServiceTime(call_seconds=call, row_seconds=row, jitter=_jitter(single_call_seconds))


def _fit_line(
    batch: NDArray[np.float64], seconds: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    mean_batch, mean_seconds = np.average(batch, weights=weights), np.average(seconds, weights=weights)
    deviation = batch - mean_batch
    variance = float(weights @ deviation**2)
    # Windows with equal batches show no slope.
    row = float(weights @ (deviation * (seconds - mean_seconds))) / variance if variance > 0 else 0.0
    call = float(mean_seconds - row * mean_batch)
    if row < 0:
        return float(mean_seconds), 0.0
    if call < 0:
        return 0.0, float(weights @ (batch * seconds)) / float(weights @ batch**2)
    return call, row


def _jitter(seconds: NDArray[np.float64]) -> float:
    """Return half of the distance between the 16 % and 84 % quantiles of the logarithms.

    It is the standard deviation of a log-normal distribution, and a few delayed requests do not change it.
    """
    logarithms = np.log(seconds[seconds > 0])
    low, high = percentile(logarithms, 15.87), percentile(logarithms, 84.13)
    return 0.0 if low is None or high is None else (high - low) / 2
