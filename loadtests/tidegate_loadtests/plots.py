# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report's plots.

Each plot is a pure function of its data. A plot has no script, no link and no font of its own.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tidegate.charts import Colours, Draw, to_png
from tidegate.formatting import format_milliseconds
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.checks import CheckResult
from tidegate_loadtests.histogram import BUCKETS, Histogram
from tidegate_loadtests.scaling_checks import StepFunction, replica_counts
from tidegate_loadtests.time_series import TimeSeries
from tidegate_loadtests.timeline.records import Timeline

_MIN_LATENCY_MS = 1e-3
"""The smallest value on a logarithmic axis, which is the resolution of a sample."""
_PERCENTILE_COLOURS = {50.0: "teal", 95.0: "blue", 99.0: "amber"}
_MINUTES_FROM_SECONDS = 900.0
"""The duration from which the time axis is in minutes."""
_DASHED = (0, (4, 3))
_LETTER_WIDTH = 0.0105
_BADGE_WIDTH = 0.022
"""Widths of a letter of a phase's name and of a check's number, as a ratio of the width of the plot."""
_PANELS = {
    "p50_ms": "latency",
    "p95_ms": "latency",
    "p99_ms": "latency",
    "recovery_seconds": "latency",
    "goodput": "rate",
    "failure_ratio": "failures",
    "termination_failure_ratio": "failures",
}
"""By the name of a check, the panel of its mark; the panel of the replicas for all others."""


def plot_campaign(
    campaign: Campaign,
    series: TimeSeries,
    checks: Sequence[CheckResult],
    timeline: Timeline | None,
) -> Draw:
    """Plot rate, latency, replicas and failures over one time axis, with phases and the marks of checks.

    Args:
        campaign: The load and its thresholds.
        series: The metrics over time.
        checks: The checks, in the order of their numbers in the report.
        timeline: The replicas over time; None leaves out their panel.
    """
    in_minutes = campaign.duration_seconds >= _MINUTES_FROM_SECONDS
    unit = 60.0 if in_minutes else 1.0
    heights = {"rate": 1.0, "latency": 1.25, "replicas": 0.8, "failures": 0.5}
    if timeline is None or not timeline.replicas:
        del heights["replicas"]

    def draw(figure: Figure, colours: Colours) -> None:
        figure.set_size_inches(9.2, 2.35 * sum(heights.values()))
        rows = figure.subplots(len(heights), sharex=True, height_ratios=[*heights.values()], squeeze=False)
        panels = dict(zip(heights, rows[:, 0], strict=True))
        _draw_rate(panels["rate"], colours, unit, campaign, series)
        _draw_latency(panels["latency"], colours, unit, campaign, series)
        if timeline is not None and "replicas" in panels:
            _draw_replicas(panels["replicas"], colours, unit, campaign, timeline)
        _draw_failures(panels["failures"], colours, unit, series)
        for axes in panels.values():
            axes.yaxis.set_label_coords(-0.075, 0.5)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(
                    loc="lower left",
                    bbox_to_anchor=(-0.01, 0.98),
                    ncols=4,
                    labelcolor=colours["muted"],
                    borderaxespad=0.2,
                    fontsize=9,
                    handlelength=1.6,
                )
        _draw_phases([*panels.values()], colours, unit, campaign)
        _draw_marks(panels, colours, unit, checks, campaign.duration_seconds)
        time_axes = panels["failures"]
        time_axes.set_xlim(0, campaign.duration_seconds / unit)
        time_axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(10, steps=[1, 2, 5, 10]))
        time_axes.set_xlabel(f"{'minutes' if in_minutes else 'seconds'} from the start of the campaign")

    return draw


def _draw_rate(axes: Any, colours: Colours, unit: float, campaign: Campaign, series: TimeSeries) -> None:
    edges = series.edges / unit
    axes.stairs(series.goodput, edges, color=colours["blue"], alpha=0.16, lw=0, fill=True)
    axes.stairs(
        series.goodput, edges, color=colours["blue"], lw=1.6, baseline=None, label="successful responses"
    )
    times = np.linspace(0, campaign.duration_seconds, 2000, endpoint=False)
    rates = np.array([campaign.rate_at(float(time)) for time in times], dtype=np.float64)
    if np.isfinite(rates).any():
        axes.plot(times / unit, rates, color=colours["ink"], lw=1, ls=_DASHED, label="intended rate")
    axes.set_ylabel("per second")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, max(np.nan_to_num(rates).max(), series.goodput.max(), 1) * 1.12)


def _draw_latency(axes: Any, colours: Colours, unit: float, campaign: Campaign, series: TimeSeries) -> None:
    limits = [
        (bounds, q, limit)
        for bounds in campaign.bounds()
        for q, limit in bounds.thresholds.max_latency_ms.items()
    ]
    axes.set_yscale("log")
    shown = [*(limit for *_, limit in limits), *np.concatenate([*series.latency_ms.values()])]
    finite = [max(value, _MIN_LATENCY_MS) for value in shown if np.isfinite(value)] or [1.0]
    axes.set_ylim(min(finite) / 1.4, max(finite) * 3)
    for q, name in _PERCENTILE_COLOURS.items():
        values = np.maximum(series.latency_ms[q], _MIN_LATENCY_MS)
        axes.plot(series.middles / unit, values, color=colours[name], lw=1.6, label=f"p{q:g}")
    for bounds, q, limit in limits:
        colour = colours[_PERCENTILE_COLOURS[q]]
        axes.hlines(limit, bounds.start / unit, bounds.end / unit, color=colour, lw=1.2, ls=_DASHED)
        axes.annotate(
            f"p{q:g} threshold {format_milliseconds(limit)}",
            (bounds.end / unit, limit),
            xytext=(-4, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8.5,
            color=colours["muted"],
            bbox={"boxstyle": "square,pad=0.1", "facecolor": colours["card"], "lw": 0, "alpha": 0.8},
            zorder=5,
        )
    axes.set_ylabel("latency, ms")
    _plain_log(axes.yaxis)


def _draw_replicas(axes: Any, colours: Colours, unit: float, campaign: Campaign, timeline: Timeline) -> None:
    end = campaign.duration_seconds
    ready, desired = replica_counts(timeline, "ready"), replica_counts(timeline, "desired")
    values, edges = _stairs(ready, end)
    axes.stairs(values, edges / unit, color=colours["teal"], alpha=0.2, lw=0, fill=True)
    axes.stairs(values, edges / unit, color=colours["teal"], lw=1.6, baseline=None, label="ready replicas")
    values, edges = _stairs(desired, end)
    axes.stairs(
        values,
        edges / unit,
        color=colours["ink"],
        lw=1.2,
        ls=_DASHED,
        baseline=None,
        label="desired replicas",
    )
    for index, gap in enumerate(timeline.gaps):
        axes.axvspan(
            gap.start / unit,
            gap.end / unit,
            facecolor="none",
            edgecolor=colours["amber"],
            hatch="////",
            lw=0,
            label="gap in the timeline" if index == 0 else None,
        )
    axes.set_ylabel("replicas")
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
    axes.set_ylim(0, max(*ready.values, *desired.values, 1) * 1.15)


def _stairs(counts: StepFunction, end: float) -> tuple[list[int], Any]:
    times, values = zip(*counts.within(0.0, end), strict=True)
    return list(values), np.array([*times, end])


def _draw_failures(axes: Any, colours: Colours, unit: float, series: TimeSeries) -> None:
    rates = series.failures / series.widths
    axes.stairs(rates, series.edges / unit, color=colours["red"], fill=True, lw=0.8)
    axes.set_ylabel("failures/s")
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, max(rates.max() * 1.2, 1))
    if not rates.any():
        axes.annotate(
            "no failures",
            (0.5, 0.5),
            xycoords="axes fraction",
            ha="center",
            va="center",
            color=colours["muted"],
        )


def _draw_phases(rows: Sequence[Any], colours: Colours, unit: float, campaign: Campaign) -> None:
    """Shade the phases that are not judged, separate all phases, and write their names above the plot."""
    free_from = [0.0, 0.0]
    for bounds in campaign.bounds():
        for axes in rows:
            if not bounds.judged:
                axes.axvspan(bounds.start / unit, bounds.end / unit, color=colours["shade"], alpha=0.09, lw=0)
            if bounds.start:
                axes.axvline(bounds.start / unit, color=colours["muted"], lw=0.8, alpha=0.5)
        name = bounds.name if bounds.judged else f"{bounds.name} (not judged)"
        level = 0 if free_from[0] <= bounds.start else 1  # short phases: one name above the other
        free_from[level] = bounds.start + len(name) * campaign.duration_seconds * _LETTER_WIDTH
        rows[0].annotate(
            name,
            (bounds.start / unit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, 24 + 13 * level),
            textcoords="offset points",
            fontsize=9.5,
            fontweight="bold" if bounds.judged else "normal",
            color=colours["ink" if bounds.judged else "muted"],
        )


def _draw_marks(
    panels: Mapping[str, Any], colours: Colours, unit: float, checks: Sequence[CheckResult], duration: float
) -> None:
    """Draw a line at the time of each check, red if it failed, with the number of the check above it."""
    drawn: list[tuple[str, float]] = []
    for number, check in enumerate(checks, start=1):
        time = check.mark_seconds
        if time is None:
            continue
        panel = next(name for name in (_PANELS.get(check.name, "replicas"), "rate") if name in panels)
        colour = colours["red" if check.outcome == "fail" else "muted"]
        panels[panel].axvline(time / unit, color=colour, lw=1.3, ls=(0, (1, 1.5)), zorder=4)
        # The numbers of neighbours stand one below the other.
        level = sum(
            1 for other, before in drawn if other == panel and abs(before - time) < duration * _BADGE_WIDTH
        )
        drawn.append((panel, time))
        panels[panel].annotate(
            str(number),
            (time / unit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -6 - 17 * level),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            fontweight="bold",
            color=colours["card"],
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": colour, "edgecolor": colours["card"], "lw": 1},
            zorder=6,
            annotation_clip=False,
        )


def plot_distribution(latency: Histogram, service_time: Histogram) -> Draw:
    """Plot the distributions of latency and of service time, on a logarithmic scale."""

    def draw(figure: Figure, colours: Colours) -> None:
        figure.set_size_inches(9.2, 2.9)
        axes = figure.subplots()
        used = np.flatnonzero(latency.counts + service_time.counts)
        if len(used):
            width = max(1, (used[-1] - used[0]) // 60)
            starts = np.arange(used[0], min(used[-1] + width, BUCKETS.count), width)
            edges = np.append(BUCKETS.edges[starts], BUCKETS.edges[min(starts[-1] + width, BUCKETS.count)])
            axes.stairs(
                np.add.reduceat(latency.counts, starts),
                edges,
                color=colours["blue"],
                alpha=0.45,
                fill=True,
                lw=0,
                label="latency (from the intended start)",
            )
            axes.stairs(
                np.add.reduceat(service_time.counts, starts),
                edges,
                color=colours["amber"],
                lw=1.5,
                baseline=None,
                label="service time (from the send)",
            )
            axes.legend(
                loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, labelcolor=colours["muted"], fontsize=9
            )
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("requests")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        _plain_log(axes.xaxis)

    return draw


def _plain_log(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, at 1, 2 and 5 of each of a few decades."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = (1, 2, 5) if decades <= 2.2 else (1,)
    axis.set_major_locator(mpl.ticker.LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def to_captioned_png(draw: Draw, captions: Sequence[str]) -> bytes:
    """Return a plot as PNG in light colours, below its captions, of which the first is the title."""

    def draw_with_captions(figure: Figure, colours: Colours) -> None:
        draw(figure, colours)
        title, *others = (textwrap.fill(caption, 120) for caption in captions)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        if others:
            figure.supxlabel("\n".join(others), x=0.01, ha="left", fontsize=9, color=colours["ink"])

    return to_png(draw_with_captions, dpi=144)
