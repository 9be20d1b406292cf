# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plot of simulations: traffic, replicas and latency over time, one line per settings, as a PNG."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tidegate_loadtests.scaling.simulator import Simulation

_COLOURS = ("#1f5fa8", "#c2560b", "#12806f", "#8a2f8f", "#6b6b6b")
_INK, _MUTED, _RED = "#222222", "#666666", "#b3261e"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "legend.frameon": False,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
}
_DOTTED = (0, (2, 2))
_MARK = {"ms": 6, "mew": 1.2}
_UNITS = ((2 * 86_400, 86_400, "days"), (3 * 3600, 3600, "hours"), (300, 60, "minutes"), (0, 1, "seconds"))
_MAX_POINTS = 2_000
"""Points of a line; more would be drawn over each other."""


def plot_simulations(
    simulations: Sequence[Simulation], safe_rate: float, threshold_seconds: float, percentile: float
) -> bytes:
    """Plot simulations of the same traffic.

    Args:
        simulations: One simulation per settings.
        safe_rate: The confirmed rate of one replica, which gives the replicas that the traffic needs.
        threshold_seconds: The threshold of the latency.
        percentile: The percentile of the latency.

    Returns:
        A PNG.
    """
    rate = simulations[0].rate
    divisor, unit = next((by, unit) for least, by, unit in _UNITS if len(rate) >= least)
    step = -(-len(rate) // _MAX_POINTS)
    time = np.arange(0, len(rate), step) / divisor
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 7.5), dpi=130, layout="constrained")
        traffic, replicas, latency = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.5, 1.3))
        traffic.plot(time, _maxima(rate, step), color=_INK, lw=1.2)
        traffic.fill_between(time, _maxima(rate, step), color=_INK, alpha=0.08, lw=0)
        traffic.set_ylabel("requests per second")
        traffic.set_ylim(bottom=0)
        traffic.yaxis.set_major_formatter("{x:,.0f}")
        needed = np.ceil(rate / safe_rate)
        replicas.fill_between(
            time, _maxima(needed, step), step="post", color="#d9d9d9", lw=0, label="needed at the safe rate"
        )
        for line, simulation in enumerate(simulations):
            colour = _COLOURS[line % len(_COLOURS)]
            _draw_replicas(replicas, time, step, simulation, colour)
            shown = np.where(np.isfinite(simulation.latency), simulation.latency, np.nan)
            latency.plot(time, 1000 * _maxima(shown, step), color=colour, lw=1.3, label=simulation.name)
            rejected = time[_maxima(simulation.rejected, step) > 0]
            height = np.full(len(rejected), 1.03 + 0.05 * line)
            if len(rejected):  # marks above the axes, which hide no latency
                above = {"transform": latency.get_xaxis_transform(), "clip_on": False}
                latency.plot(rejected, height, "|", color=colour, **above, **_MARK)
        latency.plot([], [], "|", color=_MUTED, label="rejected requests", **_MARK)
        replicas.plot([], [], color=_MUTED, lw=1, ls=_DOTTED, label="ready")
        replicas.set_ylabel("replicas")
        replicas.set_ylim(bottom=0)
        replicas.legend(loc="upper left", ncols=5)
        latency.axhline(1000 * threshold_seconds, color=_RED, lw=1, ls=(0, (4, 3)), label="threshold")
        latency.set_yscale("log")
        latency.yaxis.set_major_formatter("{x:,g}")
        latency.set_ylabel(f"p{percentile:g} latency, ms")
        latency.legend(loc="upper left", ncols=5)
        latency.set_xlabel(f"time, {unit}")
        latency.set_xlim(time[0], len(rate) / divisor)
        for axes in (replicas, latency):
            _leave_room_for_legend(axes)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_replicas(
    axes: Any, time: NDArray[np.float64], step: int, simulation: Simulation, colour: str
) -> None:
    ready, desired = (
        _maxima(series.astype(float), step) for series in (simulation.ready, simulation.desired)
    )
    axes.step(time, desired, where="post", color=colour, lw=1.6, label=simulation.name)
    axes.step(time, ready, where="post", color=colour, lw=1, ls=_DOTTED)


def _leave_room_for_legend(axes: Any) -> None:
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, high * (high / low) ** 0.3)
    else:
        axes.set_ylim(low, high + 0.3 * (high - low))


def _maxima(values: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Return the largest value of every ``step`` seconds, ``[points]``; NaN only where all are."""
    starts = np.arange(0, len(values), step)
    return np.asarray(np.fmax.reduceat(values, starts))
