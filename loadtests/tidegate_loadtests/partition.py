# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The partition: the part of a load that one load generator process makes, and all that it needs for it.

A partition has no threshold, no file and no secret, so the master can send it to a worker on another machine.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Base64Bytes, BaseModel, ConfigDict

from tidegate.contract import Contract, Scalar
from tidegate.protocol.constants import Protocol
from tidegate_loadtests.arrivals import CHUNK_REQUESTS, random_arrivals, regular_arrivals
from tidegate_loadtests.campaign import Campaign, Phase
from tidegate_loadtests.load_models import Closed, Constant, Load, Replay


class Arrival(NamedTuple):
    """The intended start of one request, in seconds from the campaign's start, and its number of rows."""

    intended_start: float
    rows: int


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordedArrivals(_Model):
    """The arrivals of a replay, as the bytes of arrays ``[requests]``."""

    time: Base64Bytes
    """Seconds from the phase's start, little-endian 64-bit floats."""
    rows: Base64Bytes | None
    """Little-endian 32-bit integers; None if every request has the campaign's number of rows."""


class PhasePart(_Model):
    """One generator's part of a phase."""

    start: float
    """Seconds from the campaign's start."""
    duration: float
    load: Load
    """The load of all generators together."""
    users: int
    """The largest number of this generator's requests in flight."""
    judged: bool = True
    recorded: RecordedArrivals | None = None
    """This generator's arrivals of a replay."""

    @property
    def end(self) -> float:
        """Seconds from the campaign's start."""
        return self.start + self.duration


class Partition(_Model):
    """One of several equal parts of a load; by default the whole load."""

    contract: Contract
    """The contract of the model that the server serves."""
    protocols: dict[Protocol, float]
    """The protocols with their weights."""
    rows_per_request: int
    recorded_rows: tuple[tuple[Scalar, ...], ...] | None = None
    """The rows of the requests; None draws them from the contract."""
    headers: dict[str, str] = {}
    """Headers whose values name variables of the generator's environment."""
    grpc_url: str | None = None
    """Host and port for gRPC."""
    timeout: float
    seed: int
    phases: tuple[PhasePart, ...]
    index: int = 0
    count: int = 1
    """Number of partitions of the load."""

    @property
    def users(self) -> int:
        """The number of this generator's users."""
        return max(phase.users for phase in self.phases)

    @property
    def duration_seconds(self) -> float:
        """The duration of all phases."""
        return self.phases[-1].end

    @property
    def judged(self) -> list[tuple[float, float]]:
        """Start and end of each judged phase, in seconds from the campaign's start."""
        return [(phase.start, phase.end) for phase in self.phases if phase.judged]

    @property
    def request_sizes(self) -> tuple[int, ...]:
        """The different numbers of rows per request, ascending."""
        sizes = {self.rows_per_request}
        for phase in self.phases:
            if phase.recorded is not None and phase.recorded.rows is not None:
                sizes.update(np.unique(np.frombuffer(phase.recorded.rows, "<i4")).tolist())
        return tuple(sorted(sizes))

    def arrivals(self, number: int) -> Iterator[Arrival]:
        """Produce this generator's arrivals in an open-loop phase, in chunks.

        Args:
            number: The phase's number, from 0.
        """
        phase = self.phases[number]
        for times, rows in self._chunks(number, phase):
            starts = (times + phase.start).tolist()
            yield from map(Arrival, starts, rows or [self.rows_per_request] * len(starts))

    def _chunks(self, number: int, phase: PhasePart) -> Iterator[tuple[np.ndarray, Sequence[int] | None]]:
        load = phase.load
        if phase.recorded is not None:
            yield from _recorded_chunks(phase.recorded)
        elif isinstance(load, Constant) and not load.random:
            for times in regular_arrivals(load, phase.duration, self.index, self.count):
                yield times, None
        elif not isinstance(load, Closed):
            size = split_evenly(load.planned_requests(phase.duration), self.index, self.count)
            source = np.random.default_rng([self.seed, self.index, number])
            for times in random_arrivals(load, phase.duration, size, source):
                yield times, None


def split_evenly(total: int, index: int, count: int) -> int:
    """Return one of ``count`` parts of a number; the parts add up to the number.

    >>> [split_evenly(11, index, 3) for index in range(3)]
    [4, 4, 3]

    Args:
        total: The number.
        index: The part, from 0.
        count: Number of parts.
    """
    return total // count + (index < total % count)


def split_load(
    campaign: Campaign,
    contract: Contract,
    count: int = 1,
    recorded_rows: tuple[tuple[Scalar, ...], ...] | None = None,
) -> list[Partition]:
    """Split a load into equal partitions, each with random numbers of its own.

    Args:
        campaign: The load.
        contract: The contract of the model that the server serves.
        count: Number of partitions.
        recorded_rows: The rows of the campaign's payload file, if any; each partition has other rows.
    """
    return [
        Partition(
            contract=contract,
            protocols=campaign.protocols,
            rows_per_request=campaign.rows_per_request,
            recorded_rows=recorded_rows and (recorded_rows[index::count] or recorded_rows),
            headers=campaign.target.headers,
            grpc_url=campaign.target.grpc_url,
            timeout=campaign.timeout,
            seed=campaign.seed,
            phases=tuple(
                PhasePart(
                    start=bounds.start,
                    duration=phase.duration,
                    load=phase.load,
                    users=split_evenly(campaign.phase_concurrency(phase), index, count),
                    judged=phase.judged,
                    recorded=_record_part(phase, index, count),
                )
                for phase, bounds in zip(campaign.phases, campaign.bounds(), strict=True)
            ),
            index=index,
            count=count,
        )
        for index in range(count)
    ]


def _record_part(phase: Phase, index: int, count: int) -> RecordedArrivals | None:
    """Return every ``count``-th arrival of a replay that starts within its phase."""
    load = phase.load
    if not isinstance(load, Replay):
        return None
    part = slice(index, load.planned_requests(phase.duration), count)
    trace = load.recorded
    return RecordedArrivals.model_construct(
        time=(trace.time[part] / load.speed).astype("<f8").tobytes(),
        rows=None if trace.rows is None else trace.rows[part].astype("<i4").tobytes(),
    )


def _recorded_chunks(recorded: RecordedArrivals) -> Iterator[tuple[np.ndarray, Sequence[int] | None]]:
    time = np.frombuffer(recorded.time, "<f8")
    rows = None if recorded.rows is None else np.frombuffer(recorded.rows, "<i4")
    for first in range(0, len(time), CHUNK_REQUESTS):
        chunk = slice(first, first + CHUNK_REQUESTS)
        yield time[chunk], None if rows is None else rows[chunk].tolist()
