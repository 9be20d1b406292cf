# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Timelines and time series of load tests, drawn by hand."""

from collections.abc import Callable, Sequence

import numpy as np

from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.time_series import PERCENTILES, TimeSeries
from tidegate_loadtests.timeline.records import Gap, PodRecord, ReplicaRecord, Timeline


def make_timeline(
    changes: Sequence[tuple[float, int, int]],
    pods: Sequence[PodRecord] = (),
    gaps: Sequence[Gap] = (),
    hpa_max: int | None = None,
) -> Timeline:
    """Make a timeline from (time, desired and current, ready).

    Args:
        changes: The replica counts from each time on.
        pods: Records of pods.
        gaps: Gaps of the timeline.
        hpa_max: The most replicas that the autoscaler may set.
    """
    return Timeline(
        started_at=0.0,
        replicas=[
            ReplicaRecord(time=time, desired=desired, current=desired, ready=ready, hpa_max=hpa_max)
            for time, desired, ready in changes
        ],
        pods=list(pods),
        gaps=list(gaps),
    )


def make_series(
    campaign: Campaign, late: Callable[[float], float] = lambda _: 0.0, failures: dict[int, int] | None = None
) -> TimeSeries:
    """Make a series of one-second bins with the intended rate of a campaign.

    Args:
        campaign: An open loop of whole seconds.
        late: The ratio of late requests at a time; their latency is 100 ms, and of others 10 ms.
        failures: Failures by second.
    """
    seconds = np.arange(int(campaign.duration_seconds))
    requests = np.array([round(campaign.rate_at(second) or 0) for second in seconds])
    late_counts = np.array(
        [round(late(float(second)) * n) for second, n in zip(seconds, requests, strict=True)]
    )
    failed = np.array([(failures or {}).get(second, 0) for second in seconds.tolist()])
    return TimeSeries(
        edges=np.arange(len(seconds) + 1, dtype=np.float64),
        requests=requests,
        failures=failed,
        completed=requests - failed,
        missed={q: np.maximum(late_counts, failed) for q in PERCENTILES},
        latency_ms={
            q: np.where(late_counts > requests * (1 - q / 100), 100.0, 10.0).astype(np.float64)
            for q in PERCENTILES
        },
    )
