# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of a step: blocks of evidence from the readings of all pods."""

from collections.abc import Callable, Iterator, Sequence

from tidegate.errors import ServerError
from tidegate.kubernetes.pods import Object, is_ready
from tidegate_rollout.evidence import Block, TrackCounts, increase
from tidegate_rollout.pairs import PairJoiner, Sample
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.release import Release
from tidegate_rollout.replay import Replay
from tidegate_rollout.room import ReplicaCapacity
from tidegate_rollout.scrape import HTTP_PORT, Get, PodReading, Target, read_pods
from tidegate_rollout.state import Reading, RolloutState
from tidegate_rollout.status import CONTAINER
from tidegate_rollout.status import assess as assess_status
from tidegate_rollout.verdict import Verdict, assess

READY_SECONDS = 900.0
"""The longest time until a release serves a step."""
POLL_SECONDS = 2.0


class Measurement:
    """The pods of a release, read block by block.

    Args:
        get: Reads a path of a pod.
        clock: Seconds since 1970.
        notice: Reports a pod that does not respond.
        capacity: The capacity of a replica, if measured.
        replay: Requests to send to both tracks, because no Gateway mirrors any.
    """

    def __init__(
        self,
        get: Get,
        clock: Callable[[], float],
        notice: Callable[[str], None],
        capacity: ReplicaCapacity | None = None,
        replay: Replay | None = None,
    ) -> None:
        self._get = get
        self._clock = clock
        self._notice = notice
        self._capacity = capacity
        self._replay = replay
        self._joiner = PairJoiner()
        self.rate: float | None = None
        """Requests per second of users in the last block."""

    def measure(self, state: RolloutState, release: Release) -> tuple[RolloutState, Verdict | None]:
        """Read all pods, and add the block since the last reading; the first one only starts a block."""
        mirrors = state.current.values.mirror_percent > 0
        before, policy = state.reading, state.policy
        targets = list(_find_targets(release, mirrors=mirrors))
        replay = None if mirrors or policy.predictions is None else self._replay
        unsent = [] if replay is None else replay.send(targets)
        # Only a mirrored or a replayed request is served by both tracks.
        samples = policy.predictions is not None and (mirrors or replay is not None)
        readings, unread = read_pods(targets, self._get, before.cursors, samples=samples)
        for failure in (*unsent, *unread):
            self._notice(failure)
        now = self._clock()
        state = state.model_copy(update={"reading": _next_reading(before, readings, targets, state, now)})
        pairs = self._joiner.join(_samples(readings, "stable"), _samples(readings, "canary"))
        if before.at is None or now <= before.at:
            return state, None
        seconds = now - before.at
        stable, canary = (
            increase(before.counts, _counts(readings, track, state)) for track in ("stable", "canary")
        )
        self.rate = (stable.timed + (0 if mirrors else canary.timed)) / seconds
        block = Block(
            canary=canary,
            stable=stable,
            seconds=seconds,
            stable_has_room=not mirrors and self._stable_has_room(stable, seconds, targets),
        )
        evidence = state.evidence.add(block, policy, pairs)
        verdict = assess(policy, evidence)
        return state.model_copy(update={"evidence": evidence.record(verdict.progress)}), verdict

    def _stable_has_room(self, counts: TrackCounts, seconds: float, targets: Sequence[Target]) -> bool:
        if self._capacity is None:
            return False
        replicas = sum(target.track == "stable" for target in targets)
        return counts.timed / seconds <= self._capacity.safe_rate * replicas


def await_ready(
    read_release: Callable[[], Release],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    notice: Callable[[str], None],
) -> Release:
    """Wait until a release is ready, for example because its autoscaler adds a replica, and return it.

    Args:
        read_release: Reads the release.
        clock: Seconds since 1970.
        sleep: Waits for a number of seconds.
        notice: Reports the reason of a wait.

    Raises:
        ServerError: If the release does not become ready.
    """
    deadline = clock() + READY_SECONDS
    while True:
        release = read_release()
        status = assess_status(release)
        if not status.pending:
            return release
        reason = "; ".join(status.pending)
        if status.error is not None or clock() > deadline:
            raise ServerError(f"{release.name} is not ready for a rollout: {status.error or reason}.")
        notice(f"waiting: {reason}")
        sleep(POLL_SECONDS)


def read_edges(release: Release, get: Get, policy: RolloutPolicy) -> tuple[float, ...]:
    """Return the durations that the verdict compares, by the histogram of a pod that can be read.

    Args:
        release: The release.
        get: Reads a path of a pod.
        policy: The policy with the objective, and whether each pod must have samples of predictions.

    Raises:
        ServerError: If no pod can be read.
        ConfigurationError: If the objective exceeds every bound of the histogram.
    """
    samples = policy.predictions is not None
    readings, failures = read_pods(_find_targets(release, mirrors=False), get, {}, samples=samples)
    if not readings:
        raise ServerError(f"No pod of {release.name} can be read: {'; '.join(failures)}.")
    return policy.latency_edges(list(readings[0].lane.buckets))


def _find_targets(release: Release, *, mirrors: bool) -> Iterator[Target]:
    """Yield the ready pods of both tracks.

    Args:
        release: The release.
        mirrors: Whether the canary's requests are mirrored ones.
    """
    for track in release.tracks:
        for pod in track.pods:
            if is_ready(pod):
                shadow = mirrors and track.name == "canary"
                yield Target(track.name, pod["metadata"]["name"], _metrics_port(pod), shadow=shadow)


def _metrics_port(pod: Object) -> int:
    for container in pod["spec"]["containers"]:
        for variable in container.get("env") or []:
            if (container["name"], variable["name"]) == (CONTAINER, "TIDEGATE_METRICS_PORT"):
                return int(variable["value"])
    return HTTP_PORT


def _next_reading(
    before: Reading,
    readings: Sequence[PodReading],
    targets: Sequence[Target],
    state: RolloutState,
    now: float,
) -> Reading:
    """Return the reading for the next block. A pod that did not respond keeps its earlier counts."""
    edges, pods = state.evidence.edges, {target.pod for target in targets}
    counts = {**before.counts, **{reading.target.pod: reading.counts(edges) for reading in readings}}
    cursors = {
        **before.cursors,
        **{reading.target.pod: reading.cursor for reading in readings if reading.cursor},
    }
    return Reading(
        at=now,
        counts={pod: count for pod, count in counts.items() if pod in pods},
        cursors={pod: cursor for pod, cursor in cursors.items() if pod in pods},
    )


def _counts(readings: Sequence[PodReading], track: str, state: RolloutState) -> dict[str, TrackCounts]:
    edges = state.evidence.edges
    return {
        reading.target.pod: reading.counts(edges) for reading in readings if reading.target.track == track
    }


def _samples(readings: Sequence[PodReading], track: str) -> list[Sample]:
    return [sample for reading in readings if reading.target.track == track for sample in reading.samples]
