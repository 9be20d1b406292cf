# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Records of a timeline. Times are seconds from the start of the campaign."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """The replica counts from a time on."""

    time: float
    desired: int
    current: int
    ready: int
    hpa_desired: int | None = None
    hpa_max: int | None = None


@dataclass(frozen=True, slots=True)
class PodRecord:
    """The state of a pod from a time on."""

    time: float
    name: str
    phase: str
    ready: bool
    endpoint_ready: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which changes of a resource may be missing."""

    resource: str
    start: float
    end: float
    reason: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The records of a campaign."""

    started_at: float
    replicas: list[ReplicaRecord] = field(default_factory=list)
    pods: list[PodRecord] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
