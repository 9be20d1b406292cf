# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cheapest settings of an autoscaler that keep a threshold under a traffic, found by simulation.

Candidates differ in the signal, its target and the minimum of replicas. The target is the signal's value at a
fraction of the safe rate of one replica, so a lower fraction leaves more room until new replicas are ready.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tidegate_loadtests.scaling.hpa import DEFAULT_OPTIONS, tolerances_of
from tidegate_loadtests.scaling.hpa_spec import MetricSpec
from tidegate_loadtests.scaling.replica_model import ReplicaModel
from tidegate_loadtests.scaling.settings import ScalingSettings, in_flight_metric, with_target
from tidegate_loadtests.scaling.simulator import Pipeline, Simulation, simulate

Floats = NDArray[np.float64]

FRACTIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Rates of one replica at the target, as fractions of the safe rate."""
HEADROOM = 1.25
"""Maximum of replicas, in multiples of those that the peak needs."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The service level that a suggestion keeps.

    Args:
        threshold_seconds: Largest accepted latency at the percentile.
        percentile: The percentile of the latency.
        max_over_ratio: Largest accepted fraction of seconds over the threshold.
    """

    threshold_seconds: float
    percentile: float = 99.0
    max_over_ratio: float = 0.001

    def is_kept(self, simulation: Simulation) -> bool:
        """Return whether a simulation keeps the service level and rejects no request."""
        over = simulation.over_threshold_ratio(self.threshold_seconds)
        return over <= self.max_over_ratio and simulation.rejected_ratio == 0


def suggest(
    rates: Floats,
    replica: ReplicaModel,
    safe_rate: float,
    settings: ScalingSettings,
    objective: Objective,
    pipeline: Pipeline,
) -> tuple[ScalingSettings, Simulation] | None:
    """Return the candidate with the fewest replica-seconds that keeps the objective.

    Args:
        rates: Requests per second, ``[seconds]``.
        replica: The model of one replica.
        safe_rate: The confirmed rate of one replica.
        settings: The settings whose behavior, CPU request and KEDA source the candidates have.
        objective: The service level.
        pipeline: The delays of the metrics and the queue.

    Returns:
        The settings and their simulation; None if no candidate keeps the objective.
    """
    needed = max(1, math.ceil(float(rates.max()) / safe_rate))
    maximum = math.ceil(HEADROOM * needed)
    best: tuple[ScalingSettings, Simulation] | None = None
    for metric in target_candidates(replica, safe_rate, settings):

        def run(minimum: int, metric: MetricSpec = metric) -> tuple[ScalingSettings, Simulation]:
            spec = with_target(settings.spec, metric, minimum, maximum)
            candidate = replace(settings, name="suggested", spec=spec)
            return candidate, simulate(rates, replica, candidate, pipeline, percentile=objective.percentile)

        found = _smallest_minimum(run, needed, objective)
        if found and (best is None or found[1].replica_seconds < best[1].replica_seconds):
            best = found
    return best


def target_candidates(
    replica: ReplicaModel, safe_rate: float, settings: ScalingSettings
) -> Iterator[MetricSpec]:
    """Yield targets for both signals. At a target, a ratio at the upper tolerance still does not scale.

    Args:
        replica: The model of one replica.
        safe_rate: The confirmed rate of one replica.
        settings: The settings whose tolerance, CPU request and KEDA source the candidates have.
    """
    tolerance = 1 + tolerances_of(settings.spec.behavior, DEFAULT_OPTIONS).scale_up
    seen = set()
    for fraction in FRACTIONS:
        rate = fraction * safe_rate
        in_flight = float(np.interp(rate, replica.rates, replica.in_flight)) / tolerance
        cpu = float(np.interp(rate, replica.rates, replica.cpu)) / tolerance
        targets = (
            in_flight_metric(settings.keda_source, max(1, round(1000 * in_flight))),
            MetricSpec(
                "ContainerResource", "cpu", "Utilization", max(1, int(1e5 * cpu / settings.cpu_request))
            ),
        )
        for metric in targets:
            if metric not in seen:
                seen.add(metric)
                yield metric


def _smallest_minimum(
    run: Callable[[int], tuple[ScalingSettings, Simulation]], needed: int, objective: Objective
) -> tuple[ScalingSettings, Simulation] | None:
    """Return the run with the smallest minimum of replicas that keeps the objective, by bisection."""
    low, high, best = 1, needed, None
    while low <= high:
        minimum = (low + high) // 2
        candidate = run(minimum)
        if objective.is_kept(candidate[1]):
            best, high = candidate, minimum - 1
        else:
            low = minimum + 1
    return best
