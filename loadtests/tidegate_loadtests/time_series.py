# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The time series: a campaign's throughput and latency in bins of equal width, for the report's plots."""

from dataclasses import dataclass

import numpy as np

from tidegate.stats import percentile
from tidegate_loadtests.samples import Floats, Samples
from tidegate_loadtests.summary import PERCENTILES

_MAX_BINS = 120


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Metrics over time, one element per bin, ``[bins]``; bins of the warm-up have negative times."""

    bin_seconds: float
    time: Floats
    """The middle of each bin, in seconds from the start of the measured time."""
    goodput: Floats
    """Successful responses per second, by the time of the response."""
    failures: Floats
    """Failures per second, by their intended start."""
    latency_ms: dict[float, Floats]
    """By percentile, the latency of requests that start in the bin; NaN without a successful response."""


def compute_time_series(samples: Samples, duration: float, warmup: float) -> TimeSeries:
    """Divide a campaign into at most about 120 bins of at least one second.

    Args:
        samples: All samples, with those of the warm-up.
        duration: The measured time in seconds.
        warmup: The warm-up in seconds.
    """
    width = max(1.0, float(np.ceil((duration + warmup) / _MAX_BINS)))
    edges = np.arange(-np.ceil(warmup / width), np.ceil(duration / width) + 1) * width
    successful = samples.select(samples.successful)
    failed = samples.select(~samples.successful)
    bins = np.digitize(successful.intended_start, edges)
    latency_ms = {
        q: np.array(
            [percentile(successful.latency_ms[bins == index], q) or np.nan for index in range(1, len(edges))]
        )
        for q in PERCENTILES
    }
    # The first and the last bin may reach beyond the campaign; their rates count only the part within it.
    lengths = np.diff(np.clip(edges, -warmup, duration))
    return TimeSeries(
        bin_seconds=width,
        time=(edges[:-1] + edges[1:]) / 2,
        goodput=np.histogram(successful.completed[successful.completed < duration], edges)[0] / lengths,
        failures=np.histogram(failed.intended_start, edges)[0] / lengths,
        latency_ms=latency_ms,
    )
