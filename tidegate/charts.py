# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of the reports: as inline SVG, whose colours follow the page's theme, and as PNG in light colours.

The same drawing gives the same bytes in every process and under any style of the user. It needs matplotlib,
which the extras ``training`` and ``loadtest`` install; no other module of the core imports this one.
"""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

Colours = Mapping[str, str]
Draw = Callable[[Figure, Colours], None]

# Placeholders that matplotlib accepts as colours; each is replaced by the CSS variable of its name.
_PLACEHOLDERS: Colours = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "blue": "#040404",
    "teal": "#050505",
    "amber": "#060606",
    "red": "#070707",
    "shade": "#080808",
    "card": "#090909",
}
LIGHT: Colours = {
    "ink": "#1a1d21",
    "muted": "#626a73",
    "grid": "#e4e6e9",
    "blue": "#2463c4",
    "teal": "#0f8a7a",
    "amber": "#c77700",
    "red": "#c8322b",
    "shade": "#626a73",
    "card": "#ffffff",
}
"""The colours of the page in its light theme, and of PNG files."""


def to_svg(draw: Draw) -> str:
    """Return a plot as inline SVG, whose colours are the variables of the page."""
    return inline_svg(render_svg(draw))


def render_svg(draw: Draw) -> str:
    """Return a plot as SVG with placeholders as colours, for :func:`inline_svg` or :func:`standalone_svg`."""
    file = io.StringIO()
    # Without a date, so that two reports of the same samples are equal.
    metadata = {"Date": None, "Creator": None}
    _save(draw, _PLACEHOLDERS, file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def inline_svg(svg: str) -> str:
    """Return rendered SVG as part of a page, which decides colours, font and size."""
    # HTML needs no namespaces, and the page sets the size.
    svg = (
        re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", svg[: svg.index(">")])
        + svg[svg.index(">") :]
    )
    # Without a font, so that text has the page's font.
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    svg = re.sub(r"(font: (?:\w+ )*[\d.]+px) [^;\"]*", r"\1 var(--sans)", svg)
    for name, stand_in in _PLACEHOLDERS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg


def standalone_svg(svg: str) -> str:
    """Return rendered SVG as a file of its own, in light colours."""
    for name, stand_in in _PLACEHOLDERS.items():
        svg = svg.replace(stand_in, LIGHT[name])
    background = f'<rect width="100%" height="100%" fill="{LIGHT["card"]}"/>'
    return svg.replace(">", f">{background}", 1)


def to_png(draw: Draw, dpi: int) -> bytes:
    """Return a plot as PNG in light colours.

    Args:
        draw: The drawing.
        dpi: Pixels per inch.
    """
    file = io.BytesIO()
    _save(draw, LIGHT, file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def _save(draw: Draw, colours: Colours, file: Any, **options: Any) -> None:
    # The user's matplotlibrc must not change a report. Setting a backend would open windows.
    defaults = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    with mpl.rc_context(defaults | _style(colours)):
        figure = Figure(layout="constrained", facecolor=colours["card"])
        draw(figure, colours)
        figure.savefig(file, **options)


def _style(colours: Colours) -> dict[str, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "tidegate",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.edgecolor": colours["muted"],
        "axes.labelcolor": colours["muted"],
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": colours["grid"],
        "grid.linewidth": 0.8,
        "hatch.linewidth": 0.6,
        "xtick.color": colours["muted"],
        "ytick.color": colours["muted"],
        "ytick.major.size": 0,
        "text.color": colours["ink"],
        "legend.frameon": False,
    }
