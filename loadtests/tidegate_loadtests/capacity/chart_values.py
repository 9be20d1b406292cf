# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Values of the chart ``helm/tidegate``, derived from a capacity file and the expected traffic.

Each value has a comment that derives it. The rules are pure functions, and no number is typed in: the
constants below are Kubernetes' defaults, or factors that the comments name.
"""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from tidegate.formatting import format_number
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.capacity.traffic import Autoscaler, Traffic

TOLERANCE = 0.1
"""The HorizontalPodAutoscaler's default tolerance."""
SYNC_SECONDS = 15
"""The HorizontalPodAutoscaler's default sync period."""
METRIC_RESOLUTION_SECONDS = 15
"""The default resolution of metrics-server, and the chart's interval of scrapes and of KEDA's queries."""
_MIN_TARGET_RATIO = 0.5
_MAX_REPLICAS_FACTOR = 1.25
_MAX_CPU_RATIO = 0.9
"""The ratio of the CPU limit above which a rising load hardly changes the CPU use."""
_HALF_LOAD_CPU_RATIO = 0.75
_MEMORY_FACTOR = 1.5
_MIB = 1 << 20
_MIN_QUEUE_DELAY_SECONDS = 2.0
_QUEUE_DELAY_FACTOR = 10
_MIN_RESPONSE_SECONDS = 1.0
_RESPONSE_FACTOR = 2


@dataclass(frozen=True, slots=True)
class Sizing:
    """The derived figures."""

    reaction_seconds: float
    """Time from a rise of the traffic until the new replicas are ready."""
    target_rate: float
    """The rate per replica at which the autoscaler adds replicas."""
    cpu_usable: bool
    """Whether CPU use tells half of the safe rate from all of it."""
    cpu_target_percent: int
    cpu_over_provisioning: float
    """By how many times more replicas the CPU target needs than the target rate."""
    in_flight_target: float
    min_replicas: int
    max_replicas: int
    memory_mib: int
    max_queue_delay_seconds: float


def size(capacity: Capacity, traffic: Traffic, autoscaler: Autoscaler) -> Sizing:
    """Derive the figures of the values.

    Args:
        capacity: The measured capacity of one replica.
        traffic: The expected traffic.
        autoscaler: The autoscaler that reacts.
    """
    safe_rate = capacity.safe_rate
    reaction = (
        METRIC_RESOLUTION_SECONDS + autoscaler.metric_window_seconds + SYNC_SECONDS + capacity.startup_seconds
    )
    target_rate = safe_rate * max(_MIN_TARGET_RATIO, 1 - traffic.growth * reaction / traffic.peak)
    # The request is the limit, so CPU use is a ratio of both.
    cpu_ratio = capacity.cpu_at(target_rate) / capacity.limits.cpu
    at_safe, at_half = capacity.cpu_at(safe_rate), capacity.cpu_at(safe_rate / 2)
    usable = at_half <= _HALF_LOAD_CPU_RATIO * at_safe and at_safe <= _MAX_CPU_RATIO * capacity.limits.cpu
    scale_up_ratio = min(cpu_ratio, _MAX_CPU_RATIO)
    min_replicas = max(1, math.ceil(traffic.largest_step / safe_rate))
    return Sizing(
        reaction_seconds=reaction,
        target_rate=target_rate,
        cpu_usable=usable,
        cpu_target_percent=max(1, math.floor(100 * scale_up_ratio / (1 + TOLERANCE))),
        cpu_over_provisioning=target_rate
        / rate_at_cpu(capacity, scale_up_ratio * capacity.limits.cpu, target_rate),
        in_flight_target=float(f"{capacity.in_flight_at(target_rate) / (1 + TOLERANCE):.3g}"),
        min_replicas=min_replicas,
        max_replicas=max(min_replicas, math.ceil(_MAX_REPLICAS_FACTOR * traffic.peak / safe_rate)),
        memory_mib=math.ceil(_MEMORY_FACTOR * capacity.memory_bytes / _MIB),
        max_queue_delay_seconds=max_queue_delay_seconds(capacity.threshold.latency_ms),
    )


def max_queue_delay_seconds(threshold_ms: float) -> float:
    """Return the longest time that a request may wait in a server with this latency threshold.

    >>> max_queue_delay_seconds(20), max_queue_delay_seconds(5000)
    (2.0, 50.0)
    """
    return max(_MIN_QUEUE_DELAY_SECONDS, _QUEUE_DELAY_FACTOR * threshold_ms / 1e3)


def per_retry_timeout_seconds(threshold_ms: float) -> float:
    """Return the time after which a Gateway may give up an attempt: the longest wait and a response.

    >>> per_retry_timeout_seconds(20), per_retry_timeout_seconds(400), per_retry_timeout_seconds(1000)
    (3.0, 5.0, 12.0)
    """
    response = max(_MIN_RESPONSE_SECONDS, _RESPONSE_FACTOR * threshold_ms / 1e3)
    return max_queue_delay_seconds(threshold_ms) + response


def rate_at_cpu(capacity: Capacity, cpu: float, highest: float) -> float:
    """Return the lowest rate at which a replica uses so much CPU, at most ``highest``.

    Args:
        capacity: The measured capacity.
        cpu: CPU seconds per second.
        highest: The highest rate.
    """
    rates = np.linspace(0, highest, 1001)[1:]
    reached = [rate for rate in rates if capacity.cpu_at(rate) >= cpu]
    return float(reached[0]) if reached else highest


def chart_values(capacity: Capacity, traffic: Traffic, autoscaler: Autoscaler) -> str:
    """Write the values with the comments that derive them, as YAML.

    Args:
        capacity: The measured capacity of one replica.
        traffic: The expected traffic.
        autoscaler: The autoscaler that the values select.
    """
    sizing = size(capacity, traffic, autoscaler)
    sections: list[tuple[str, dict[str, Any]]] = [
        (_identity_comment(capacity, traffic), {"capacity": {"digest": capacity.digest}}),
        (
            f"requests = limits: the capacity holds for {_cpus(capacity)}, and a replica that requests less "
            f"may receive less. Memory: {_MEMORY_FACTOR:g} times the largest measured use, "
            f"{capacity.memory_bytes / _MIB:.0f} MiB.",
            {"resources": {"requests": _resources(capacity, sizing), "limits": _resources(capacity, sizing)}},
        ),
        (
            f"The larger of {_MIN_QUEUE_DELAY_SECONDS:g} s and {_QUEUE_DELAY_FACTOR} times the latency "
            f"threshold ({capacity.threshold.latency_ms:g} ms): a late response is better than a rejection "
            "while replicas are added.",
            {"server": {"maxQueueDelaySeconds": sizing.max_queue_delay_seconds}},
        ),
    ]
    if sizing.max_queue_delay_seconds > _MIN_QUEUE_DELAY_SECONDS:
        sections.append(_retry_section(capacity))
    text = "\n".join(_comment(comment, 0) + _dump(values, 0) for comment, values in sections)
    fields = _autoscaling(capacity, traffic, autoscaler, sizing)
    return f"{text}\nautoscaling:\n" + "".join(
        _comment(comment, 2) + _dump(values, 2) for comment, values in fields
    )


def _retry_section(capacity: Capacity) -> tuple[str, dict[str, Any]]:
    """Return the timeout of an attempt; the chart's default only fits the smallest queue delay limit."""
    threshold_ms = capacity.threshold.latency_ms
    return (
        f"server.maxQueueDelaySeconds and the larger of {_MIN_RESPONSE_SECONDS:g} s and {_RESPONSE_FACTOR} "
        f"times the latency threshold ({threshold_ms:g} ms): a Gateway that gives up an attempt sooner sends "
        "requests again that still wait for the engine.",
        {"backendTrafficPolicy": {"perRetryTimeoutSeconds": per_retry_timeout_seconds(threshold_ms)}},
    )


def _cpus(capacity: Capacity) -> str:
    return "1 CPU" if capacity.limits.cpu == 1 else f"{capacity.limits.cpu:g} CPUs"


def _identity_comment(capacity: Capacity, traffic: Traffic) -> str:
    threshold = capacity.threshold
    return (
        f"Written by 'tidegate loadtest capacity' for {capacity.model}, engine {capacity.engine}, from the "
        f"capacity file of {capacity.measured_at:%Y-%m-%d}. One replica with {_cpus(capacity)} keeps "
        f"p{threshold.percentile:g} <= {threshold.latency_ms:g} ms up to its safe rate, "
        f"{capacity.safe_rate:g} requests per second (protocol {capacity.protocol.value}, rows per request: "
        f"{capacity.rows_per_request}). Expected traffic: at most {traffic.peak:g} requests per second, "
        f"growing by at most {traffic.growth:.3g} per second. The chart rejects these values for another "
        "bundle unless capacity.allowOtherDigest is true."
    )


def _autoscaling(
    capacity: Capacity, traffic: Traffic, autoscaler: Autoscaler, sizing: Sizing
) -> list[tuple[str, dict[str, Any]]]:
    target, reaction = sizing.target_rate, sizing.reaction_seconds
    target_comment = (
        f"Target rate per replica: {format_number(target)} requests per second, "
        f"{target / capacity.safe_rate:.2f} of the safe rate, because the traffic may grow by "
        f"{traffic.growth:.3g} per second for {reaction:.0f} s until new replicas are ready: "
        f"{METRIC_RESOLUTION_SECONDS} s metric resolution + {autoscaler.metric_window_seconds} s metric "
        f"window + {SYNC_SECONDS} s sync + {capacity.startup_seconds:.0f} s start."
    )
    in_flight: tuple[str, dict[str, Any]] = (
        f"The requests in flight at the target rate, {capacity.in_flight_at(target):.3g} (Little's law), "
        f"divided by {1 + TOLERANCE:g}, for the autoscaler's tolerance.",
        {"keda": {"inFlightPerReplica": sizing.in_flight_target}},
    )
    cpu: tuple[str, dict[str, Any]] = (
        _cpu_comment(capacity, sizing),
        {"targetCPUUtilization": sizing.cpu_target_percent},
    )
    return [
        (target_comment, {"type": autoscaler.value}),
        *((cpu, in_flight) if sizing.cpu_usable else (in_flight, cpu)),
        (
            f"The largest instantaneous step, {traffic.largest_step:g} requests per second, divided by the "
            f"safe rate, rounded up, and at least 1: no autoscaler responds within {reaction:.0f} s.",
            {"minReplicas": sizing.min_replicas},
        ),
        (
            f"{_MAX_REPLICAS_FACTOR:g} times the peak, {traffic.peak:g} requests per second, divided by the "
            "safe rate, rounded up.",
            {"maxReplicas": sizing.max_replicas},
        ),
        (
            "Up: at once, at most doubled or 4 more per sync period. Down: after 5 minutes below the target, "
            "at most half of the replicas per minute.",
            {"behavior": _behavior()},
        ),
    ]


def _cpu_comment(capacity: Capacity, sizing: Sizing) -> str:
    half, full = capacity.cpu_at(capacity.safe_rate / 2), capacity.cpu_at(capacity.safe_rate)
    measured = f"One replica uses {half:.2f} CPUs at half of the safe rate and {full:.2f} at all of it."
    if sizing.cpu_usable:
        return (
            f"{measured} CPU is a usable signal: the use at the target rate as a ratio of the request, "
            f"divided by {1 + TOLERANCE:g}, for the autoscaler's tolerance."
        )
    return (
        f"{measured} CPU is a poor signal for this model, because its use hardly rises with the load: it can "
        f"reach {100 / sizing.cpu_target_percent:.2f} times this target at most, so the autoscaler adds "
        f"replicas in small steps. The target needs about {sizing.cpu_over_provisioning:.1f} times the "
        "replicas that the thresholds need. Prefer requests in flight, with type keda."
    )


def _behavior() -> dict[str, Any]:
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 15},
            ],
            "selectPolicy": "Max",
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        },
    }


def _resources(capacity: Capacity, sizing: Sizing) -> dict[str, str]:
    cpu = capacity.limits.cpu
    return {
        "cpu": str(int(cpu)) if cpu == int(cpu) else f"{math.floor(cpu * 1000)}m",
        "memory": f"{sizing.memory_mib}Mi",
    }


def _comment(text: str, indent: int) -> str:
    prefix = " " * indent + "# "
    return textwrap.fill(text, 110, initial_indent=prefix, subsequent_indent=prefix) + "\n"


def _dump(values: dict[str, Any], indent: int) -> str:
    return textwrap.indent(yaml.safe_dump(values, sort_keys=False), " " * indent)
