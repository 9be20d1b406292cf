# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Records of a timeline: the replicas, pods, events and gaps of a campaign, and their Parquet file.

A record holds from its time on, so a timeline has one record per change. Times are seconds from the start of
the campaign, and negative before it. The file has one row per record, with one struct column per kind.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.errors import TidegateError

TIMELINE = "timeline.parquet"
"""The file's name in the directory of a campaign."""

_STARTED_AT = b"started_at"


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """The replica counts from a time on."""

    time: float
    desired: int
    """``spec.replicas`` of the Deployment."""
    current: int
    ready: int
    hpa_desired: int | None = None
    """``status.desiredReplicas`` of the HorizontalPodAutoscaler; None without one."""
    hpa_max: int | None = None
    """``spec.maxReplicas`` of the HorizontalPodAutoscaler; None without one."""
    metric: float | None = None
    """Current value of the first metric of the HorizontalPodAutoscaler; None if it has no value."""


@dataclass(frozen=True, slots=True)
class PodRecord:
    """The state of a pod from a time on."""

    time: float
    name: str
    phase: str
    ready: bool
    endpoint_ready: bool
    """Whether an EndpointSlice has the pod as a ready endpoint, so that it receives requests."""
    deleted: bool
    """Whether the pod terminates or is gone."""
    gone: bool
    """Whether the pod is gone. A pod without such a record still exists at the end of the recording."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event of the cluster about the Deployment, its pods or its autoscaler."""

    time: float
    kind: str
    name: str
    type: str
    """``Normal`` or ``Warning``."""
    reason: str
    message: str
    count: int
    """Number of times that the event has occurred."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which changes of a resource may be missing."""

    resource: str
    start: float
    end: float
    reason: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The records of a campaign, each list in the order of time."""

    started_at: float
    """Start of the campaign, in seconds of Unix time."""
    replicas: list[ReplicaRecord] = field(default_factory=list)
    pods: list[PodRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the records as Parquet."""
        rows = [{column: asdict(record)} for column in _KINDS for record in getattr(self, _LISTS[column])]
        metadata = {_STARTED_AT: repr(self.started_at).encode()}
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(metadata)), path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file of :meth:`write`.

        Raises:
            TidegateError: If the file does not exist or does not hold a timeline.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise TidegateError(f"{path} is not a complete file of a timeline: {error}.") from None
        metadata = table.schema.metadata or {}
        if not table.schema.equals(_SCHEMA) or _STARTED_AT not in metadata:
            raise TidegateError(
                f"{path} is not a file of a timeline: expected the columns {', '.join(_KINDS)} with the "
                f"start of the campaign, received {', '.join(table.schema.names)}; run the campaign again."
            )
        records: dict[str, list[Any]] = {
            _LISTS[column]: [kind(**row) for row in table.column(column).to_pylist() if row is not None]
            for column, kind in _KINDS.items()
        }
        return cls(float(metadata[_STARTED_AT]), **records)


_KINDS: dict[str, type[Any]] = {"replicas": ReplicaRecord, "pod": PodRecord, "event": EventRecord, "gap": Gap}
_LISTS = {"replicas": "replicas", "pod": "pods", "event": "events", "gap": "gaps"}
"""The timeline's list by column of the file."""
_TYPES: dict[Any, Any] = {
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
    bool: pa.bool_(),
    float | None: pa.float64(),
    int | None: pa.int64(),
}
_SCHEMA = pa.schema(
    [
        (column, pa.struct([(name, _TYPES[hint]) for name, hint in get_type_hints(kind).items()]))
        for column, kind in _KINDS.items()
    ]
)
