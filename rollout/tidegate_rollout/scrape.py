# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Counters and samples of every pod of both tracks, read through the API server.

A port-forward works from a laptop, from CI and from a Job. It passes NetworkPolicies, reaches a port that
listens on the loopback interface alone, and is authorized by the permission ``create`` on
``pods/portforward``. A pod that does not respond is left out: missing
data is not evidence.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tidegate.errors import ServerError
from tidegate.protocol.constants import PAIRS_PORT
from tidegate_rollout.evidence import OVERLOAD_CODES, TrackCounts
from tidegate_rollout.pairs import Sample

HTTP_PORT = 8080
"""The server's port. It has the metrics too, unless the chart's value server.metricsPort is set."""

Get = Callable[[str, int, str], str]
"""Returns the body of ``GET``: pod, port, path. Raises ServerError if the pod does not respond with 200."""

_REQUESTS = re.compile(r"^tidegate(_shadow)?_requests_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_BUCKETS = re.compile(r"^tidegate(_shadow)?_request_duration_seconds_bucket\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next reading of a pod's samples begins."""

    epoch: str
    """The server's process."""
    next: int


@dataclass(frozen=True, slots=True)
class Target:
    """A pod to read."""

    track: str
    pod: str
    metrics_port: int
    shadow: bool
    """Whether to count mirrored requests in place of those of users."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The counters of one lane of a pod: those of users, or those of mirrored requests."""

    responses: Mapping[str, float]
    """By code."""
    buckets: Mapping[float, float]
    """By upper bound in seconds, the responses up to it."""


@dataclass(frozen=True, slots=True)
class PodReading:
    """The lane of one pod, and its new samples."""

    target: Target
    lane: Lane
    samples: tuple[Sample, ...]
    cursor: Cursor | None
    """None if the server keeps no samples."""

    def counts(self, edges: Iterable[float]) -> TrackCounts:
        """Return the pod's counts, with the responses that took longer than each edge."""
        return TrackCounts.from_metrics(self.lane.responses, self.lane.buckets, edges)


def read_pods(
    targets: Iterable[Target], get: Get, cursors: Mapping[str, Cursor], *, samples: bool
) -> tuple[list[PodReading], list[str]]:
    """Read every pod that responds.

    Args:
        targets: The ready pods.
        get: Reads a path of a pod.
        cursors: By pod, where the reading of its samples begins.
        samples: Whether to read samples of predictions.

    Returns:
        The readings, and one sentence for each pod that did not respond.
    """
    readings, failures = [], []
    for target in targets:
        try:
            lane = parse_lane(get(target.pod, target.metrics_port, "/metrics"), shadow=target.shadow)
            new, cursor = _read_samples(target.pod, get, cursors.get(target.pod)) if samples else ((), None)
        except ServerError as error:
            failures.append(f"{target.pod}: {error}")
        else:
            readings.append(PodReading(target, lane, new, cursor))
    return readings, failures


def parse_lane(page: str, *, shadow: bool) -> Lane:
    """Return a lane's counters from a page in Prometheus' text format, summed over the protocols.

    Mirrored requests have the lowest priority, so their rejections because of load say nothing about the
    canary.

    >>> page = '''tidegate_requests_total{protocol="v2",code="200"} 7.0
    ... tidegate_request_duration_seconds_bucket{protocol="v2",le="+Inf"} 7.0
    ... '''
    >>> parse_lane(page, shadow=False).responses
    {'200': 7.0}

    Raises:
        ServerError: If the page has no such counters, because another program wrote it.
    """
    responses: dict[str, float] = {}
    for labels, value in _series(_REQUESTS, page, shadow=shadow):
        if not (shadow and labels["code"] in OVERLOAD_CODES):
            responses[labels["code"]] = responses.get(labels["code"], 0.0) + value
    buckets: dict[float, float] = {}
    for labels, value in _series(_BUCKETS, page, shadow=shadow):
        bound = float(labels["le"])
        buckets[bound] = buckets.get(bound, 0.0) + value
    if not responses or not buckets:
        name = "tidegate_shadow_requests_total" if shadow else "tidegate_requests_total"
        raise ServerError(f"/metrics has no {name}: expected a server of this version.")
    return Lane(responses, buckets)


def _series(pattern: re.Pattern[str], page: str, *, shadow: bool) -> Iterable[tuple[dict[str, str], float]]:
    for match in pattern.finditer(page):
        if (match.group(1) is not None) == shadow:
            yield dict(_LABEL.findall(match.group(2))), float(match.group(3))


def _read_samples(pod: str, get: Get, cursor: Cursor | None) -> tuple[tuple[Sample, ...], Cursor]:
    """Return a pod's samples since the cursor; all of them after a restart of the server."""
    samples, after = _parse_page(get(pod, PAIRS_PORT, f"/pairs?after={cursor.next if cursor else 0}"))
    if cursor is not None and after.epoch != cursor.epoch:
        samples, after = _parse_page(get(pod, PAIRS_PORT, "/pairs?after=0"))
    return samples, after


def _parse_page(text: str) -> tuple[tuple[Sample, ...], Cursor]:
    try:
        page = json.loads(text)
        return tuple(map(Sample.parse, page["samples"])), Cursor(str(page["epoch"]), int(page["next"]))
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"/pairs: expected samples as JSON, received {text[:80]!r}") from None
