# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The simulation of an autoscaled deployment, second by second, under a given traffic.

Requests spread evenly over the ready replicas. A rate above a replica's ceiling grows its queue, and requests
that would wait longer than the queue delay limit are rejected. The autoscaler sees metrics as late as a
cluster's metrics pipeline delivers them. All times are seconds from the start of the traffic.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidegate_loadtests.scaling.batch_server import LATENCY_LEVELS, weighted_quantiles
from tidegate_loadtests.scaling.hpa import (
    DEFAULT_OPTIONS,
    ControllerOptions,
    ControllerState,
    Observation,
    decide,
)
from tidegate_loadtests.scaling.hpa_spec import MetricSpec
from tidegate_loadtests.scaling.replica_calculator import Metric, PodMetric, PodState
from tidegate_loadtests.scaling.replica_model import ReplicaModel
from tidegate_loadtests.scaling.settings import ScalingSettings, signal_of

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_MAX_REJECTION_SECONDS = 1.0
_REJECTION_RATIO = 0.25
"""The hold of a rejection as a ratio of the queue delay limit. From the server's AdmissionController."""
_STRATA = {0.25: 0.5, 0.65: 0.3, 0.85: 0.1, 0.925: 0.05, 0.965: 0.03, 0.985: 0.01, 0.995: 0.01}
"""The weight of each latency level when the latencies of many seconds are mixed."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The delays of the metrics and the queue, in seconds.

    Args:
        resolution: Time between two scrapes.
        cpu_window: Time over which a CPU sample is averaged.
        in_flight_window: Time over which requests in flight are averaged; None is that of the settings.
        delay: Time from a scrape until the autoscaler sees it; a sync sees the last scrape before it.
        max_queue_delay: Longest time that a request waits; the server rejects the others.
    """

    resolution: float = 15.0
    cpu_window: float = 15.0
    in_flight_window: float | None = None
    delay: float = 7.5
    max_queue_delay: float = 2.0

    @property
    def rejection_seconds(self) -> float:
        """The time for which the server holds the response to a rejected request."""
        return min(_MAX_REJECTION_SECONDS, self.max_queue_delay * _REJECTION_RATIO)


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync of the autoscaler: its time, the desired replicas and the reason of ScalingLimited."""

    time: float
    replicas: int
    scaling_limited: str | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """The result, with one element per second, ``[seconds]``.

    Args:
        name: The name of the settings.
        rate: Requests per second.
        desired: Replicas that the autoscaler wants, which are also the replicas that cost.
        ready: Replicas that serve.
        latency: Latency at the percentile of the threshold; infinite without a ready replica.
        rejected: Requests per second that are rejected.
        syncs: The syncs of the autoscaler.
        p99_seconds: The 99th percentile of the latency of all responses.
    """

    name: str
    rate: Floats
    desired: Counts
    ready: Counts
    latency: Floats
    rejected: Floats
    syncs: tuple[Sync, ...]
    p99_seconds: float

    @property
    def replica_seconds(self) -> int:
        """The sum of the replicas over time: the cost."""
        return int(self.desired.sum())

    @property
    def rejected_ratio(self) -> float:
        """Rejected requests divided by all requests."""
        return float(self.rejected.sum() / max(self.rate.sum(), 1e-9))

    @property
    def max_replicas_ratio(self) -> float:
        """The fraction of syncs at which the maximum of replicas limits the autoscaler."""
        return float(np.mean([sync.scaling_limited == "TooManyReplicas" for sync in self.syncs] or [False]))

    def over_threshold_ratio(self, threshold_seconds: float) -> float:
        """Return the fraction of seconds whose latency exceeds the threshold, or that reject requests."""
        served = self.rate > 0
        over = (self.latency > threshold_seconds) | (self.rejected > 0)
        return float(over[served].mean()) if served.any() else 0.0


def simulate(
    rates: Floats,
    replica: ReplicaModel,
    settings: ScalingSettings,
    pipeline: Pipeline = Pipeline(),
    initial_replicas: int | None = None,
    percentile: float = 99.0,
    options: ControllerOptions = DEFAULT_OPTIONS,
) -> Simulation:
    """Simulate an autoscaler under a traffic.

    The deployment begins in the steady state of the first rate, with replicas that are ready.

    Args:
        rates: Requests per second, ``[seconds]``.
        replica: The model of one replica.
        settings: The autoscaler.
        pipeline: The delays of the metrics and the queue.
        initial_replicas: Replicas at the start; None is the autoscaler's minimum.
        percentile: The percentile of the latency that the result has for each second.
        options: The options of the controller.

    Returns:
        The replicas, latencies and rejected requests over time.
    """
    initial = settings.spec.min_replicas if initial_replicas is None else initial_replicas
    run = _Run(rates, replica, settings, pipeline, options, initial)
    for begin in range(0, len(rates), int(options.sync_period)):
        run.advance(begin, min(begin + int(options.sync_period), len(rates)))
    latency = np.where(run.ready > 0, run.latency(replica.latency_at(percentile / 100)), np.inf)
    return Simulation(
        settings.name,
        rates,
        run.desired,
        run.ready,
        latency,
        run.rejected,
        tuple(run.syncs),
        _mixed_percentile(run, replica),
    )


def _mixed_percentile(run: "_Run", replica: ReplicaModel) -> float:
    """Return the 99th percentile over the responses of all seconds."""
    responses = np.where(run.ready > 0, run.rates - run.rejected, 0.0)
    if responses.sum() <= 0:
        return float("inf")
    by_level = dict(zip(LATENCY_LEVELS, replica.latency, strict=True))
    latency = [run.latency(by_level[level]) for level in _STRATA]
    weights = [responses * weight for weight in _STRATA.values()]
    return float(weighted_quantiles(np.concatenate(latency), np.concatenate(weights), (0.99,))[0])


@dataclass
class _Run:
    """The state of a simulation: pods, queue, metrics and the controller's memory."""

    rates: Floats
    replica: ReplicaModel
    settings: ScalingSettings
    pipeline: Pipeline
    options: ControllerOptions
    replicas: int
    state: ControllerState = field(default_factory=ControllerState)
    syncs: list[Sync] = field(default_factory=list)
    backlog: float = 0.0
    """Requests in the queues of all replicas, in addition to those of a steady state."""

    def __post_init__(self) -> None:
        seconds = len(self.rates)
        self.desired = np.zeros(seconds, dtype=np.int64)
        self.ready = np.zeros(seconds, dtype=np.int64)
        self.served = np.zeros(seconds)
        self.queued = np.zeros(seconds)
        self.rejected = np.zeros(seconds)
        # Integrals from the start of the traffic, in order to average over any window.
        self.cpu_seconds = np.zeros(seconds + 1)
        self.in_flight_seconds = np.zeros(seconds + 1)
        long_ago = -10 * self.options.cpu_initialization_period
        self.created = 0
        self.pods: list[PodState] = []
        self._resize(self.replicas, long_ago)
        self.pods = [self._become_ready(pod, long_ago) for pod in self.pods]

    def advance(self, begin: int, end: int) -> None:
        """Serve the requests of some seconds, then let the autoscaler decide."""
        self.desired[begin:end] = self.replicas
        self.ready[begin:end] = self._ready_counts(begin, end)
        self._serve(begin, end)
        count = self.ready[begin:end]
        cpu = np.interp(self.served[begin:end], self.replica.rates, self.replica.cpu) * (count > 0)
        in_flight = np.interp(self.served[begin:end], self.replica.rates, self.replica.in_flight)
        # By Little's law, requests that wait at most the queue delay limit are at most so many.
        most = self.served[begin:end] * (self.pipeline.max_queue_delay + self.replica.idle_latency)
        held = self.rejected[begin:end] * self.pipeline.rejection_seconds * (count > 0)
        total = np.minimum(in_flight + self.queued[begin:end], most) * count + held
        self.cpu_seconds[begin + 1 : end + 1] = self.cpu_seconds[begin] + cpu.cumsum()
        self.in_flight_seconds[begin + 1 : end + 1] = self.in_flight_seconds[begin] + total.cumsum()
        if end - begin == self.options.sync_period:
            self._sync(float(end))

    def latency(self, curve: Floats) -> Floats:
        """Return the latency of each second, ``[seconds]``, from the latency of a replica by its rate.

        No request waits longer than the queue delay limit, because the server rejects the others.
        """
        longest = self.pipeline.max_queue_delay + curve[0]
        steady = np.interp(self.served, self.replica.rates, curve)
        return np.asarray(np.minimum(steady + self.queued / self.replica.ceiling, longest))

    def _ready_counts(self, begin: int, end: int) -> Counts:
        ready_at = np.array([self._ready_at(pod) for pod in self.pods])
        return np.searchsorted(np.sort(ready_at), np.arange(begin, end), side="right")

    def _ready_at(self, pod: PodState) -> float:
        if pod.ready == "True":
            return pod.ready_changed_at
        return (pod.started_at or 0.0) + self.replica.startup_seconds

    def _serve(self, begin: int, end: int) -> None:
        """Set the rate that each replica serves, the queue and the rejected requests."""
        ceiling, count = self.replica.ceiling, self.ready[begin:end]
        rates = self.rates[begin:end]
        if self.backlog == 0 and (rates <= ceiling * count).all():
            self.served[begin:end] = rates / np.maximum(count, 1)
            return
        for second in range(begin, end):
            replicas = int(self.ready[second])
            capacity = ceiling * replicas
            waiting = self.backlog + self.rates[second]
            responses = min(waiting, capacity)
            longest = capacity * self.pipeline.max_queue_delay
            self.backlog = min(waiting - responses, longest)
            self.rejected[second] = waiting - responses - self.backlog
            if replicas:
                self.served[second] = responses / replicas
                self.queued[second] = self.backlog / replicas

    def _sync(self, now: float) -> None:
        self.pods = [
            self._become_ready(pod, self._ready_at(pod))
            if pod.ready == "False" and self._ready_at(pod) <= now
            else pod
            for pod in self.pods
        ]
        metrics = tuple(self._measure(metric, now) for metric in self.settings.spec.metrics)
        observation = Observation(self.replicas, len(self.pods), tuple(self.pods), metrics)
        decision = decide(self.settings.spec, observation, self.state, now, self.options)
        self.state = decision.state
        self.syncs.append(Sync(now, decision.replicas, decision.scaling_limited))
        if decision.replicas != self.replicas:
            self.replicas = decision.replicas
            self._resize(self.replicas, now)

    def _resize(self, replicas: int, now: float) -> None:
        """Create pods, or delete those that are not ready, then those that became ready last."""
        self.pods.sort(key=self._ready_at)
        del self.pods[replicas:]
        for _ in range(replicas - len(self.pods)):
            self.created += 1
            self.pods.append(
                PodState(
                    f"pod-{self.created}",
                    ready="False",
                    ready_changed_at=now,
                    started_at=now,
                    request=self.settings.cpu_request,
                )
            )

    def _become_ready(self, pod: PodState, time: float) -> PodState:
        return PodState(pod.name, ready_changed_at=time, started_at=pod.started_at, request=pod.request)

    def _measure(self, metric: MetricSpec, now: float) -> Metric:
        """Return a metric as the autoscaler sees it: that of the last scrape."""
        pipeline = self.pipeline
        scraped = (now - pipeline.delay) // pipeline.resolution * pipeline.resolution
        if signal_of(metric) == "cpu":
            window = pipeline.cpu_window
            return self._by_pod(
                scraped, window, lambda begin: self._integral(self.cpu_seconds, begin, scraped)
            )
        window = pipeline.in_flight_window or self.settings.in_flight_window
        total = self._integral(self.in_flight_seconds, scraped - window, scraped) / window
        ready = max(1, sum(pod.ready == "True" for pod in self.pods))
        if metric.source == "Pods":
            return self._by_pod(scraped, window, lambda begin: total / ready * (scraped - begin))
        return round(1000 * (total / ready if metric.target_type == "Value" else total))

    def _by_pod(self, scraped: float, window: float, integral: Callable[[float], float]) -> Metric:
        """Return the mean of each pod over the window; a pod uses nothing before it is ready."""
        usage, common = {}, round(1000 * integral(scraped - window) / window)
        for pod in self.pods:
            if (pod.started_at or 0.0) > scraped - window:
                continue
            since = self._ready_at(pod)
            value = common
            if since > scraped - window:
                value = round(1000 * integral(min(since, scraped)) / window)
            usage[pod.name] = PodMetric(value, scraped, window)
        return usage

    def _integral(self, cumulative: Floats, begin: float, end: float) -> float:
        """Return an integral over time; before the traffic, the first second goes on for ever."""
        return self._cumulative(cumulative, end) - self._cumulative(cumulative, begin)

    def _cumulative(self, cumulative: Floats, time: float) -> float:
        if time <= 0:
            return float(cumulative[1] * time)
        whole = int(time)
        value = float(cumulative[whole])
        if time > whole:
            value += (time - whole) * float(cumulative[whole + 1] - cumulative[whole])
        return value
