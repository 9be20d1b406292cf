# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plot of the evidence over time, as inline SVG whose colours are the page's variables.

Two panels have one time axis: the evidence for a fail over the whole rollout, and the evidence for a pass,
which begins anew at each step. A line that reaches its threshold decides its check.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from tidegate_rollout.evidence import Point

WIDTH, HEIGHT = 920, 430
_LEFT, _RIGHT, _TOP, _PANEL, _GAP = 52, 190, 26, 150, 48
_LOWEST, _HIGHEST = -1.0, 1.3
"""The range of the progress; a line beyond it continues at the edge."""
_COLOURS = ("blue", "teal", "amber", "red", "green")
_DASHES = ("", "5 3", "1 3")
_LINE = 15.0
"""The height of a label."""


def plot_evidence(history: Sequence[Point], steps: Sequence[str], labels: Mapping[str, str]) -> str:
    """Draw the evidence.

    Args:
        history: The progress of the checks over time.
        steps: The name of each step of the policy.
        labels: The text of each check.
    """
    if not history:
        return ""
    names = list(dict.fromkeys(name for point in history for name in point.progress))
    end = max(history[-1].seconds, 1.0)
    content = [
        *_draw_steps(history, steps, end),
        *_draw_panel(history, names, labels, end, side=0),
        *_draw_panel(history, names, labels, end, side=1),
        *_draw_axis(end),
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" fill="var(--muted)" stroke-linejoin="round" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(content)}</svg>'
    )


def _draw_steps(history: Sequence[Point], steps: Sequence[str], end: float) -> Iterator[str]:
    """Draw the steps as shaded columns."""
    ends = {point.step: point.seconds for point in history}
    bottom = _TOP + 2 * _PANEL + _GAP
    previous = 0.0
    for number, (step, last) in enumerate(ends.items()):
        left, right = _x(previous, end), _x(last, end)
        if number % 2:
            yield (
                f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{bottom - _TOP}" '
                'fill="var(--shade)" opacity="0.08"/>'
            )
        if right - left > 7 * len(steps[step]):
            yield f'<text x="{left + 5:.1f}" y="{_TOP - 8}">{escape(steps[step])}</text>'
        previous = last


def _draw_panel(
    history: Sequence[Point], names: Sequence[str], labels: Mapping[str, str], end: float, side: int
) -> Iterator[str]:
    """Draw one panel.

    Args:
        history: The points.
        names: The checks.
        labels: Their texts.
        end: The last time.
        side: 0 for the evidence for a fail, 1 for that for a pass.
    """
    top = _TOP + side * (_PANEL + _GAP)
    colour = ("red", "green")[side]
    title = ("evidence for a fail, whole rollout", "evidence for a pass, of each step")[side]
    limit, zero = _y(1.0, top), _y(0.0, top)
    right = WIDTH - _RIGHT
    yield f'<text x="{_LEFT}" y="{top + _PANEL + 15}" fill="var(--ink)">{title}</text>'
    yield f'<line x1="{_LEFT}" x2="{right}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="var(--grid)"/>'
    yield (
        f'<line x1="{_LEFT}" x2="{right}" y1="{limit:.1f}" y2="{limit:.1f}" stroke="var(--{colour})" '
        'stroke-dasharray="4 3"/>'
    )
    yield f'<text x="{_LEFT - 8}" y="{zero + 4:.1f}" text-anchor="end">none</text>'
    yield f'<text x="{_LEFT - 8}" y="{limit + 4:.1f}" text-anchor="end">{("fail", "pass")[side]}</text>'
    ends = []
    for index, name in enumerate(names):
        points = [
            (point.seconds, point.step, point.progress[name][side])
            for point in history
            if name in point.progress
        ]
        stroke = f'stroke="var(--{_COLOURS[index % len(_COLOURS)]})"'
        dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        for segment in _segments(points, restart=side == 1):
            path = " ".join(f"{_x(seconds, end):.1f},{_y(value, top):.1f}" for seconds, value in segment)
            yield f'<polyline points="{path}" fill="none" stroke-width="1.8" {stroke}{dash}/>'
        ends.append((_y(points[-1][2], top), index, labels[name]))
    for y, index, label in _spread(ends, top):
        yield (
            f'<text x="{right + 8}" y="{y + 4:.1f}" fill="var(--{_COLOURS[index % len(_COLOURS)]})">'
            f"{escape(label)}</text>"
        )


def _segments(
    points: Sequence[tuple[float, int, float]], *, restart: bool
) -> Iterator[list[tuple[float, float]]]:
    """Yield one line for all steps, or one per step that begins without evidence."""
    segment: list[tuple[float, float]] = [(0.0, 0.0)]
    previous_step, previous_time = points[0][1], 0.0
    for seconds, step, value in points:
        if restart and step != previous_step:
            yield segment
            segment, previous_step = [(previous_time, 0.0)], step
        segment.append((seconds, value))
        previous_time = seconds
    yield segment


def _spread(ends: Sequence[tuple[float, int, str]], top: float) -> list[tuple[float, int, str]]:
    """Move labels apart that would cover each other."""
    spread: list[tuple[float, int, str]] = []
    for y, index, label in sorted(ends):
        spread.append((max(y, spread[-1][0] + _LINE) if spread else y, index, label))
    excess = max(0.0, spread[-1][0] - (top + _PANEL + _LINE)) if spread else 0.0
    return [(y - excess, index, label) for y, index, label in spread]


def _draw_axis(end: float) -> Iterator[str]:
    unit, name = (60.0, "minutes") if end >= 300 else (1.0, "seconds")
    step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 240, 480, 1440, 10**6) if end / unit / s <= 8)
    y = HEIGHT - 8
    for tick in range(0, int(end / unit) + 1, step):
        yield f'<text x="{_x(tick * unit, end):.1f}" y="{y}" text-anchor="middle">{tick}</text>'
    yield f'<text x="{WIDTH - _RIGHT + 8}" y="{y}">{name} of counted time</text>'


def _x(seconds: float, end: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * seconds / end


def _y(progress: float, top: float) -> float:
    clipped = min(_HIGHEST, max(_LOWEST, progress))
    return top + _PANEL * (_HIGHEST - clipped) / (_HIGHEST - _LOWEST)
