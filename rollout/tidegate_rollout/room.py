# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Room for a step: whether the autoscalers' bounds allow its traffic, and the way back.

The stable track's replicas show what the requests need now. A capacity file adds what they need at the
measured safe rate, which a busy track may already exceed. All functions are pure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tidegate.settings import load_yaml
from tidegate_rollout.plan import FULL_WEIGHT, RolloutValues
from tidegate_rollout.release import Release


class ReplicaCapacity(BaseModel):
    """The part of a capacity file of ``tidegate loadtest capacity`` that a rollout needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    safe_rate: float = Field(gt=0)
    """Requests per second of one replica."""

    @classmethod
    def load(cls, path: Path) -> "ReplicaCapacity":
        """Read a capacity file.

        Raises:
            ConfigurationError: If the file is not one.
        """
        return load_yaml(path, cls)


@dataclass(frozen=True, slots=True)
class Scale:
    """The replicas of a track: now, and its autoscaler's bounds."""

    replicas: int = 0
    minimum: int = 0
    maximum: int | None = None
    """None without an autoscaler."""


def read_scale(release: Release, name: str) -> Scale:
    """Return a track's scale; that of no replicas if the track does not exist."""
    track = next((track for track in release.tracks if track.name == name), None)
    if track is None:
        return Scale()
    replicas = int((track.deployment or {}).get("spec", {}).get("replicas", 1))
    if track.autoscaler is None:
        return Scale(replicas, minimum=replicas)
    bounds = track.autoscaler["spec"]
    return Scale(replicas, int(bounds.get("minReplicas", 1)), int(bounds["maxReplicas"]))


def required_replicas(
    known: int,
    tracks: Sequence[tuple[int, Scale]],
    *,
    rate: float | None = None,
    capacity: ReplicaCapacity | None = None,
) -> int:
    """Return the replicas that all requests of the release need on one track.

    A track at its minimum may have more replicas than its requests need, so it proves nothing.

    Args:
        known: The replicas that an earlier step needed.
        tracks: Each track's weight in percent and its scale.
        rate: The requests per second of both tracks; None if unknown.
        capacity: The capacity of a replica; None if not measured.
    """
    together = sum(scale.replicas for _, scale in tracks)
    needed = [
        min(scale.replicas * FULL_WEIGHT // weight, together)
        for weight, scale in tracks
        if weight > 0 and scale.replicas > scale.minimum
    ]
    if rate is not None and capacity is not None:
        needed.append(math.ceil(rate / capacity.safe_rate))
    return max(known, *needed, 1)


def find_shortage(stable: Scale, canary: Scale, replicas: int, values: RolloutValues) -> str | None:
    """Return why a step has no room, with the fix; None if it has.

    Args:
        stable: The stable track, which must be able to take back all requests.
        canary: The canary.
        replicas: The replicas that all requests need.
        values: The values of the step.
    """
    needed = max(math.ceil(replicas * values.weight / FULL_WEIGHT), values.canary_min_replicas or 0)
    if canary.maximum is not None and needed > canary.maximum:
        return (
            f"the canary needs {needed} replicas, and its maximum is {canary.maximum}: set "
            f"canary.maxReplicas to {needed} or more"
        )
    if stable.maximum is not None and replicas > stable.maximum:
        return (
            f"the stable track needs {replicas} replicas to take back all requests, and its maximum is "
            f"{stable.maximum}: set autoscaling.maxReplicas to {replicas} or more"
        )
    return None
