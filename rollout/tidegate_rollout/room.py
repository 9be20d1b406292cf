# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Room for a step: whether the autoscalers' bounds allow its traffic, and the way back.

The stable track's replicas show what the requests need now. A capacity file adds what they need at the
measured safe rate, which a busy track may already exceed. All functions are pure.
"""

import math
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
    """The replicas of a track: now, and at most."""

    replicas: int = 0
    maximum: int | None = None
    """None without an autoscaler."""


def read_scale(release: Release, name: str) -> Scale:
    """Return a track's scale; that of no replicas if the track does not exist."""
    track = next((track for track in release.tracks if track.name == name), None)
    if track is None:
        return Scale()
    replicas = int((track.deployment or {}).get("spec", {}).get("replicas", 1))
    return Scale(replicas, None if track.autoscaler is None else int(track.autoscaler["spec"]["maxReplicas"]))


def required_replicas(
    known: int, stable: Scale, *, rate: float | None = None, capacity: ReplicaCapacity | None = None
) -> int:
    """Return the replicas that all requests of the release need on one track.

    The canary's replicas prove nothing: its autoscaler also reacts to the start of its pods.

    Args:
        known: The replicas that an earlier step needed.
        stable: The stable track.
        rate: The requests per second of both tracks; None if unknown.
        capacity: The capacity of a replica; None if not measured.
    """
    measured = 0 if rate is None or capacity is None else math.ceil(rate / capacity.safe_rate)
    return max(known, stable.replicas, measured, 1)


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
