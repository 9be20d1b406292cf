# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The evidence of a rollout: counts of both tracks in blocks of time, and the state of the sequential tests.

The evidence is a value: adding a block returns another one. It is small, and pydantic writes it as JSON, so a
command that was killed continues with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Self

import numpy as np

from tidegate_rollout.pairs import PairCounts, Sample
from tidegate_rollout.policy import EventLimit, RolloutPolicy
from tidegate_rollout.sequential import Floats, OddsRatios

ERRORS, CLIENT_ERRORS, OVERLOAD, SLOW = "errors", "client_errors", "overload", "slow"
"""The names of comparisons; a duration's begins with the last."""

SERVER_ERRORS = frozenset({"500", "501", "502", "503", "INTERNAL", "UNKNOWN", "UNAVAILABLE"})
"""Codes of the error rate of docs/monitoring.md, with the names of HTTP and of gRPC."""
OVERLOAD_CODES = frozenset({"429", "504", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})
"""Codes of requests that the server rejects because of its load."""
SUCCESS = frozenset({"200", "OK"})

_POINTS = 240
"""Most points of the history: a plot shows no more, and the evidence must fit into an annotation."""


@dataclass(frozen=True, slots=True)
class TrackCounts:
    """Responses of a track in a time, or of a pod since its start."""

    requests: int = 0
    """Successful responses and server errors."""
    bad: int = 0
    """Server errors."""
    client_errors: int = 0
    """All other responses, such as 400 and 499."""
    overloaded: int = 0
    """Requests that the server rejected because of its load."""
    timed: int = 0
    """Responses in the histogram of durations."""
    slow: tuple[int, ...] = ()
    """By edge, the timed responses that took longer."""

    @classmethod
    def from_metrics(
        cls, responses: Mapping[str, float], buckets: Mapping[float, float], edges: Iterable[float]
    ) -> Self:
        """Count the metrics of one pod.

        Args:
            responses: The number of responses by code: ``tidegate_requests_total``, summed over protocols.
            buckets: The number of responses up to each upper bound in seconds, infinity included:
                ``tidegate_request_duration_seconds_bucket``, summed over protocols.
            edges: The upper bounds that the verdict compares, of ``RolloutPolicy.latency_edges``.
        """
        bad = sum(count for code, count in responses.items() if code in SERVER_ERRORS)
        overloaded = sum(count for code, count in responses.items() if code in OVERLOAD_CODES)
        succeeded = sum(count for code, count in responses.items() if code in SUCCESS)
        timed = int(max(buckets.values(), default=0))
        return cls(
            requests=int(succeeded + bad),
            bad=int(bad),
            client_errors=int(sum(responses.values()) - succeeded - bad - overloaded),
            overloaded=int(overloaded),
            timed=timed,
            slow=tuple(timed - int(buckets[edge]) for edge in edges),
        )

    def __add__(self, other: "TrackCounts") -> "TrackCounts":
        slow = zip(self.slow or (0,) * len(other.slow), other.slow or (0,) * len(self.slow), strict=True)
        return TrackCounts(
            self.requests + other.requests,
            self.bad + other.bad,
            self.client_errors + other.client_errors,
            self.overloaded + other.overloaded,
            self.timed + other.timed,
            tuple(one + another for one, another in slow),
        )

    def since(self, before: "TrackCounts") -> "TrackCounts":
        """Return the increase of a pod's counts. After a reset of its counters it is all counts since."""
        slow = zip(self.slow, before.slow or (0,) * len(self.slow), strict=True)
        increase = TrackCounts(
            self.requests - before.requests,
            self.bad - before.bad,
            self.client_errors - before.client_errors,
            self.overloaded - before.overloaded,
            self.timed - before.timed,
            tuple(now - then for now, then in slow),
        )
        fallen = min(
            increase.requests,
            increase.bad,
            increase.client_errors,
            increase.overloaded,
            increase.timed,
            *increase.slow,
        )
        return self if fallen < 0 else increase


def increase(before: Mapping[str, TrackCounts], after: Mapping[str, TrackCounts]) -> TrackCounts:
    """Return the increase of a track's counts between two readings of its pods.

    A pod whose counters fell has restarted, so its counts since then are the increase. A pod without an
    earlier reading adds nothing, because its counts may be of any time.

    Args:
        before: The counts by pod at the start.
        after: The counts by pod at the end.
    """
    return sum((counts.since(before[pod]) for pod, counts in after.items() if pod in before), TrackCounts())


@dataclass(frozen=True, slots=True)
class Block:
    """The counts of both tracks in the same time. The tracks' weights are constant within it."""

    canary: TrackCounts
    stable: TrackCounts
    seconds: float
    stable_has_room: bool = False
    """Whether the stable track's replicas could serve more, by the capacity file; False without one.

    Then rejections because of load count as errors, on both tracks.
    """


@dataclass(frozen=True, slots=True)
class Events:
    """The requests of both tracks, and the events among them."""

    canary: int = 0
    canary_events: int = 0
    stable: int = 0
    stable_events: int = 0

    def __add__(self, other: "Events") -> "Events":
        return Events(
            self.canary + other.canary,
            self.canary_events + other.canary_events,
            self.stable + other.stable,
            self.stable_events + other.stable_events,
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind of event on both tracks: the counts of the step, and the sequential test's state."""

    events: Events
    """Of the step."""
    step: tuple[float, ...]
    """The log-likelihood of the step by odds ratio."""
    rollout: tuple[float, ...]
    """The log-likelihood of all steps by odds ratio."""

    @classmethod
    def empty(cls, limit: EventLimit) -> Self:
        """Return a comparison without events."""
        nothing = (0.0,) * len(odds_ratios(limit).values)
        return cls(Events(), nothing, nothing)

    def add(self, events: Events, limit: EventLimit) -> Self:
        """Add the events of a block.

        Args:
            events: The events.
            limit: The odds ratios.
        """
        likelihood = odds_ratios(limit).log_likelihood(
            (events.canary, events.canary_events), (events.stable, events.stable_events)
        )
        return replace(
            self,
            events=self.events + events,
            step=_add(self.step, likelihood),
            rollout=_add(self.rollout, likelihood),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """The progress of the checks at one time, for the plot."""

    seconds: float
    """Counted time since the start of the rollout."""
    step: int
    progress: Mapping[str, tuple[float, float]]
    """By check, the progress to failing and to passing: 1 is the threshold."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All counts of a rollout so far, and the state of its tests."""

    edges: tuple[float, ...]
    """The durations in seconds whose tails are compared."""
    comparisons: Mapping[str, Comparison]
    """By the name of a check."""
    step: int = 0
    """The index of the step in the policy."""
    seconds: float = 0.0
    """Counted time of the step."""
    elapsed: float = 0.0
    """Counted time of all steps."""
    mirrored: TrackCounts = TrackCounts()
    """The canary's copies of requests, whose responses no user received."""
    canary: TrackCounts = TrackCounts()
    """The requests of users that the canary served."""
    stable: TrackCounts = TrackCounts()
    pairs: PairCounts = field(default_factory=PairCounts)
    history: tuple[Point, ...] = ()

    @classmethod
    def start(cls, policy: RolloutPolicy, edges: tuple[float, ...] = ()) -> Self:
        """Return the evidence at the start of a rollout.

        Args:
            policy: The policy.
            edges: The durations of ``RolloutPolicy.latency_edges``.
        """
        names = (ERRORS, *(slow_name(edge) for edge in edges), CLIENT_ERRORS, OVERLOAD)
        return cls(edges, {name: Comparison.empty(limit_of(name, policy)) for name in names})

    def add(self, block: Block, policy: RolloutPolicy, pairs: Iterable[tuple[Sample, Sample]] = ()) -> Self:
        """Add a block of counts, and pairs of predictions.

        Args:
            block: The counts.
            policy: The policy with the odds ratios and the tolerances.
            pairs: The stable and the canary sample of each new pair.
        """
        events = _count_events(block, self.edges)
        mirrored = policy.steps[self.step].mirror is not None
        return replace(
            self,
            comparisons={
                name: one.add(events[name], limit_of(name, policy)) for name, one in self.comparisons.items()
            },
            seconds=self.seconds + block.seconds,
            elapsed=self.elapsed + block.seconds,
            mirrored=self.mirrored + block.canary if mirrored else self.mirrored,
            canary=self.canary if mirrored else self.canary + block.canary,
            stable=self.stable + block.stable,
            pairs=self.pairs if policy.predictions is None else self.pairs.add(pairs, policy.predictions),
        )

    def next_step(self, policy: RolloutPolicy) -> Self:
        """Return the evidence at the start of the next step.

        The evidence against the canary counts on, and each step has to prove anew that the canary is
        acceptable. Pairs count on as well, because their rows do not depend on the step.
        """
        comparisons = {
            name: replace(Comparison.empty(limit_of(name, policy)), rollout=one.rollout)
            for name, one in self.comparisons.items()
        }
        return replace(self, step=self.step + 1, seconds=0.0, comparisons=comparisons)

    def record(self, progress: Mapping[str, tuple[float, float]]) -> Self:
        """Add a point to the history, of which old points are thinned out.

        Args:
            progress: By check, the progress to failing and to passing.
        """
        history = self.history if len(self.history) < _POINTS else self.history[::2]
        return replace(self, history=(*history, Point(self.elapsed, self.step, progress)))


def slow_name(edge: float) -> str:
    """Return the name of the check of a duration.

    >>> slow_name(0.25)
    'slow_250ms'
    """
    return f"{SLOW}_{edge * 1000:g}ms"


def _count_events(block: Block, edges: tuple[float, ...]) -> dict[str, Events]:
    """Return the events of a block by the name of their comparison."""
    canary, stable = block.canary, block.stable
    errors = Events(canary.requests, canary.bad, stable.requests, stable.bad)
    overload = Events(
        canary.requests + canary.overloaded,
        canary.overloaded,
        stable.requests + stable.overloaded,
        stable.overloaded,
    )
    if block.stable_has_room:
        errors = replace(
            overload,
            canary_events=canary.bad + canary.overloaded,
            stable_events=stable.bad + stable.overloaded,
        )
    client_errors = Events(
        canary.requests + canary.client_errors,
        canary.client_errors,
        stable.requests + stable.client_errors,
        stable.client_errors,
    )
    slow = {
        slow_name(edge): Events(canary.timed, slow_canary, stable.timed, slow_stable)
        for edge, slow_canary, slow_stable in zip(
            edges, canary.slow or (0,) * len(edges), stable.slow or (0,) * len(edges), strict=True
        )
    }
    return {ERRORS: errors, **slow, CLIENT_ERRORS: client_errors, OVERLOAD: overload}


@lru_cache
def odds_ratios(limit: EventLimit) -> OddsRatios:
    """Return the odds ratios of a limit."""
    return OddsRatios(limit.equal_odds_ratio, limit.unacceptable_odds_ratio)


def limit_of(name: str, policy: RolloutPolicy) -> EventLimit:
    """Return the limit of a comparison.

    Args:
        name: The comparison's name.
        policy: The policy; without a latency objective there is no comparison of durations.
    """
    if not name.startswith(f"{SLOW}_"):
        return policy.errors
    assert policy.latency is not None, "a comparison of durations needs a latency objective"
    return policy.latency


def _add(logs: tuple[float, ...], more: Floats) -> tuple[float, ...]:
    return tuple((np.array(logs) + more).tolist())
