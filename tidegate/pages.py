# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Pages of the reports: one HTML file each, without scripts and external links.

A page can be mailed, archived and printed. It needs jinja2, which the extras ``training``, ``rollout`` and
``loadtest`` install; no other module of the core imports this one.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_FOLDER = Path(__file__).parent


def render_page(
    template: Path, filters: Mapping[str, Callable[..., Any]], plots: Mapping[str, str], **context: Any
) -> str:
    """Render a page that extends ``page.html.j2``, the frame and the style of every report.

    Args:
        template: The page's template.
        filters: The template's filters by name.
        plots: The inline SVG of each plot by name, with escaped texts. The template has them as ``plots``.
        **context: The template's other variables.
    """
    # Safe without escapes: plots, and a file of the package.
    drawn = {name: Markup(svg) for name, svg in plots.items()}
    style = Markup((_FOLDER / "report.css").read_text("utf-8"))
    return _load_template(template, tuple(filters.items())).render(plots=drawn, style=style, **context)


@cache
def _load_template(template: Path, filters: tuple[tuple[str, Callable[..., Any]], ...]) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _FOLDER / "templates"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(filters)
    return environment.get_template(template.name)
