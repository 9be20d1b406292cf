# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plot of a measurement: latency and outcome of each window, and the metrics up to the safe rate."""

from pathlib import Path

from matplotlib.figure import Figure

from tidegate.formatting import format_number
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.capacity.measurement import Measurement
from tidegate_loadtests.capacity.search import Criterion

_COLOURS = {"pass": "#0f766e", "fail": "#b91c1c"}
_MARKERS = {"pass": "o", "fail": "x"}


def plot_capacity(measurement: Measurement, capacity: Capacity, path: Path) -> None:
    """Write the plot as PNG.

    Args:
        measurement: The windows.
        capacity: The capacity file.
        path: The PNG file.
    """
    figure = Figure(figsize=(8, 7), layout="constrained")
    latency, metrics = figure.subplots(2, 1, sharex=True)
    threshold, rates = capacity.threshold, capacity.cpu_at_rates
    criterion = Criterion(threshold.percentile, threshold.latency_ms / 1e3, threshold.max_failure_ratio)
    for outcome, colour in _COLOURS.items():
        windows = [one for one in measurement.windows if one.window.outcome(criterion) == outcome]
        latency.scatter(
            [one.window.rate for one in windows],
            [(one.latency_p99_seconds or threshold.latency_ms / 1e3) * 1e3 for one in windows],
            c=colour,
            marker=_MARKERS[outcome],
            label=f"window: {outcome}",
        )
    latency.axhline(threshold.latency_ms, color="#6b7280", linestyle="--", label="threshold")
    for axes in (latency, metrics):
        axes.axvline(capacity.safe_rate, color="#1d4ed8", label="safe rate")
        axes.grid(alpha=0.3)
    interval = capacity.capacity_rate
    latency.axvspan(
        interval.low, interval.high, color="#f59e0b", alpha=0.25, label="capacity, posterior interval"
    )
    latency.set_yscale("log")
    latency.set_ylabel("p99 latency of successes (ms)")
    latency.set_title(
        f"{capacity.model}, {capacity.engine}, {capacity.limits.cpu:g} CPU: "
        f"safe rate {format_number(capacity.safe_rate)}, capacity {format_number(interval.median)} "
        "requests per second"
    )
    latency.legend(fontsize=8, loc="center left")
    x = [one.rate for one in rates]
    metrics.plot(
        x, [one.cpu_seconds_per_second / capacity.limits.cpu for one in rates], "o-", color="#0f766e"
    )
    metrics.set_ylabel("CPU, ratio of the limit", color="#0f766e")
    metrics.set_ylim(0, 1.1)
    in_flight = metrics.twinx()
    in_flight.plot(x, [one.in_flight for one in rates], "s-", color="#b45309")
    in_flight.set_ylabel("requests in flight", color="#b45309")
    in_flight.set_ylim(bottom=0)
    metrics.set_xlabel("requests per second of one replica")
    metrics.set_xlim(left=0)
    figure.savefig(path, dpi=120)
