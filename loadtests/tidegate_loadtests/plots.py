# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report's plots as inline SVG, whose colours follow the page in its light and its dark theme.

Each plot is a pure function of its data. A plot has no script, no link and no font of its own.
"""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.time_series import TimeSeries

# Placeholders that matplotlib accepts as colours; each is replaced by the CSS variable of its name.
_COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "blue": "#040404",
    "teal": "#050505",
    "amber": "#060606",
    "red": "#070707",
    "shade": "#080808",
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tidegate",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _COLOURS["muted"],
    "axes.labelcolor": _COLOURS["muted"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _COLOURS["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": _COLOURS["muted"],
    "ytick.color": _COLOURS["muted"],
    "ytick.major.size": 0,
    "text.color": _COLOURS["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_MIN_LATENCY_MS = 1e-3
"""The smallest value on a logarithmic axis, which is the resolution of a sample."""
_PERCENTILE_COLOURS = {50.0: "teal", 95.0: "blue", 99.0: "amber"}


def plot_throughput(series: TimeSeries, plan: LoadTest) -> str:
    """Plot goodput and failures over time, with the rate of an open loop."""

    def draw(axes: Any) -> None:
        edges = np.append(series.time - series.bin_seconds / 2, series.time[-1] + series.bin_seconds / 2)
        axes.stairs(series.goodput, edges, color=_COLOURS["blue"], alpha=0.16, lw=0, fill=True)
        axes.stairs(
            series.goodput, edges, color=_COLOURS["blue"], lw=1.8, baseline=None, label="successful responses"
        )
        if plan.rate is not None:
            axes.axhline(plan.rate, color=_COLOURS["muted"], lw=1, ls=(0, (4, 3)), label="intended rate")
        if (failed := series.failures > 0).any():
            # Markers, because bars of a few failures among thousands of responses are too small to see.
            at, height = series.time[failed], series.failures[failed]
            axes.vlines(at, 0, height, color=_COLOURS["red"], lw=2)
            axes.plot(at, height, "o", color=_COLOURS["red"], ms=5, label="failures", clip_on=False)
        axes.set_ylabel("requests per second")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(0, max(plan.rate or 0, *series.goodput, *series.failures, 1) * 1.18)
        _time_axis(axes, plan)

    return _svg(draw)


def plot_latency(series: TimeSeries, plan: LoadTest) -> str:
    """Plot latency percentiles over time with their thresholds, on a logarithmic scale."""

    def draw(axes: Any) -> None:
        limits = plan.thresholds.max_latency_ms
        axes.set_yscale("log")
        shown = [*limits.values(), *np.concatenate([*series.latency_ms.values()])]
        finite = [max(value, _MIN_LATENCY_MS) for value in shown if np.isfinite(value)] or [1.0]
        axes.set_ylim(min(finite) / 1.4, max(finite) * 2)
        for q, colour in _PERCENTILE_COLOURS.items():
            axes.plot(
                series.time,
                np.maximum(series.latency_ms[q], _MIN_LATENCY_MS),
                color=_COLOURS[colour],
                label=f"p{q:g}",
            )
            if q in limits:
                axes.axhline(limits[q], color=_COLOURS[colour], lw=1, ls=(0, (4, 3)))
                axes.annotate(
                    f"p{q:g} threshold",
                    (1, limits[q]),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="bottom",
                    fontsize=8.5,
                    color=_COLOURS["muted"],
                )
        axes.set_ylabel("latency, ms")
        _plain_log(axes.yaxis)
        _time_axis(axes, plan)

    return _svg(draw)


def plot_distribution(samples: Samples) -> str:
    """Plot the distributions of latency and of service time, on a logarithmic scale."""

    def draw(axes: Any) -> None:
        measured = samples.measured
        successful = measured.select(measured.successful)
        latency, service_time = (
            np.maximum(values, _MIN_LATENCY_MS)
            for values in (successful.latency_ms, successful.service_time_ms)
        )
        if len(latency):
            low, high = min(latency.min(), service_time.min()), max(latency.max(), service_time.max())
            bins = np.geomspace(low * 0.9, high * 1.1, 60)
            axes.hist(
                latency,
                bins,
                color=_COLOURS["blue"],
                alpha=0.5,
                lw=0,
                label="latency (from the intended start)",
            )
            axes.hist(
                service_time,
                bins,
                color=_COLOURS["amber"],
                histtype="step",
                lw=1.5,
                label="service time (from the send)",
            )
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("requests")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        _plain_log(axes.xaxis)

    return _svg(draw)


def _time_axis(axes: Any, plan: LoadTest) -> None:
    axes.set_xlabel("seconds from the start of the measured time")
    axes.set_xlim(-plan.warmup, plan.duration)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(9, integer=True, steps=[1, 2, 5, 10]))
    if plan.warmup:
        axes.axvspan(-plan.warmup, 0, color=_COLOURS["shade"], alpha=0.07, lw=0)
        axes.annotate(
            "warm-up",
            (-plan.warmup, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            color=_COLOURS["muted"],
        )


def _plain_log(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers at 1, 2 and 5 of each decade."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def _svg(draw: Callable[[Any], None]) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 3.1), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=4, labelcolor=_COLOURS["muted"], borderaxespad=0.2)
        file = io.StringIO()
        # Without a date, so that two reports of the same samples are equal.
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # HTML needs no namespaces, and the page sets the size.
    svg = (
        re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", svg[: svg.index(">")])
        + svg[svg.index(">") :]
    )
    # Without a font, so that text has the page's font.
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    for name, stand_in in _COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg
