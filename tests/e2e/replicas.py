# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The replicas of a release over time, as its autoscaler and its pods report them."""

import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.e2e.kube import Object
from tests.e2e.release import Release


@dataclass(frozen=True)
class ReplicaPoint:
    """The replicas at one time.

    Args:
        time_seconds: Unix time.
        desired: The replicas that the autoscaler wants.
        ready: The pods that are ready.
        metric: The autoscaler's current value of its metric; None if it has none.
    """

    time_seconds: float
    desired: int
    ready: int
    metric: str | None


class ReplicaRecorder:
    """A recorder of a release's replicas, once per second during a `with` block.

    Args:
        release: The recorded release.
    """

    def __init__(self, release: Release) -> None:
        self._release = release
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._record, daemon=True)
        self.points: list[ReplicaPoint] = []

    def __enter__(self) -> "ReplicaRecorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)

    def _record(self) -> None:
        while not self._stopped.wait(1.0):
            try:
                self._add_point()
            except AssertionError as error:
                print(f"no point: {error}")  # a failed command is only a gap between two points

    def _add_point(self) -> None:
        status = self._release.autoscaler().get("status", {})
        ready = len(self._release.ready_pods())
        self.points.append(
            ReplicaPoint(time.time(), status.get("desiredReplicas", 0), ready, current_metric(status))
        )

    def between(self, start: float, end: float) -> list[ReplicaPoint]:
        """Return the points between two Unix times."""
        return [point for point in self.points if start <= point.time_seconds <= end]

    def changes(self, origin: float) -> list[dict[str, Any]]:
        """Return the points at which the replicas changed, in seconds from an origin."""
        changes: list[dict[str, Any]] = []
        for point in self.points:
            if not changes or (changes[-1]["desired"], changes[-1]["ready"]) != (point.desired, point.ready):
                changes.append(
                    {
                        "second": round(point.time_seconds - origin, 1),
                        "desired": point.desired,
                        "ready": point.ready,
                        "metric": point.metric,
                    }
                )
        return changes


def current_metric(status: Object) -> str | None:
    """Return the first current metric of an autoscaler's status: a utilization in percent, or a quantity.

    >>> current_metric({"currentMetrics": [{"external": {"current": {"averageValue": "2500m"}}}]})
    '2500m'
    """
    for metric in status.get("currentMetrics") or []:
        source = metric.get("containerResource") or metric.get("external") or {}
        current = source.get("current", {})
        for key in ("averageUtilization", "averageValue", "value"):
            if current.get(key) is not None:
                return str(current[key])
    return None
