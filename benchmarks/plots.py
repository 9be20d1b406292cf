# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of the page, as SVG: responses per second and latency, one bar per server."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.servers import SERVERS

_OURS, _PEER, _CEILING = "#1f6fb2", "#9aa5b1", "#d9b36c"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tidegate",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "ytick.major.size": 0,
}
_TITLES = {"lr": "logistic regression", "rf": "forest of 100 trees"}

Row = Mapping[str, Any]


def draw(rows: Sequence[Row]) -> dict[str, str]:
    """Draw the plots; return the SVG of each by its name."""
    return {
        "throughput": _bars(rows, 64, "rps", "responses per second, 64 connections"),
        "latency": _bars(rows, 16, "p99_ms", "99th percentile of latency in ms, 16 connections"),
    }


def _bars(rows: Sequence[Row], connections: int, figure: str, label: str) -> str:
    """Draw one panel per model, on a logarithmic axis because the servers are orders of magnitude apart."""
    panels = {model: _select(rows, model, connections, figure) for model in _TITLES}
    heights = [max(len(selected), 1) for selected in panels.values()]
    with mpl.rc_context(_STYLE):
        drawing = Figure(figsize=(8.4, 0.3 * sum(heights) + 1.6), layout="constrained")
        all_axes = drawing.subplots(len(panels), 1, sharex=True, height_ratios=heights)
        for axes, (model, selected) in zip(all_axes, panels.items(), strict=True):
            for place, row in enumerate(reversed(selected)):
                value, (low, high) = row["median"][figure], row["spread"][figure]
                axes.barh(place, value, height=0.7, color=_colour(row["server"]))
                axes.plot([low, high], [place, place], color="black", lw=1)
                axes.annotate(
                    f"{value:,.0f}" if value >= 100 else f"{value:.2g}",
                    (high, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                )
            axes.set_yticks(range(len(selected)), [_name(row) for row in reversed(selected)])
            axes.set_xscale("log")
            axes.set_title(_TITLES[model], loc="left", fontsize=10)
            axes.margins(x=0.12)
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.grid(axis="x", lw=0.5, alpha=0.5)
        all_axes[-1].set_xlabel(label)
        file = io.StringIO()
        # Without a date, two renderings of one result are equal.
        drawing.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    return re.sub(r"[ \t]+$", "", svg[svg.index("<svg") :], flags=re.MULTILINE)


def _select(rows: Sequence[Row], model: str, connections: int, figure: str) -> list[Row]:
    return [
        row
        for row in rows
        if (row["model"], row["rows"], row["connections"]) == (model, 1, connections)
        and row["protocol"] != "grpc"
        and SERVERS[row["server"]].comparable
        and figure in row["median"]
    ]


def _colour(server: str) -> str:
    if not SERVERS[server].predicts:
        return _CEILING
    return _OURS if server.startswith("tidegate") else _PEER


def _name(row: Row) -> str:
    server = SERVERS[row["server"]]
    return (
        f"{server.title}, {row['protocol'].upper()}"
        if server.predicts and row["protocol"] != "bentoml"
        else server.title
    )
