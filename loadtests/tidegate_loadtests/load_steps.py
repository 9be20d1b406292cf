# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Load steps: the moments at which the intended rate of a campaign rises at once.

A reaction time needs a moment to start from. Ramps and daily curves have no such moment. The rate of a replay
varies from second to second, and the server decides the rate of a closed loop, so neither has steps.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from tidegate_loadtests.campaign import Campaign, PhaseBounds
from tidegate_loadtests.load_models import Replay

_MIN_CHANGE = 0.1
"""The smallest relative change that counts, which is the tolerance of the HorizontalPodAutoscaler."""
_GRID_SECONDS = 1.0
_RESOLUTION_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class LoadStep:
    """A sudden rise of the intended rate in a judged phase."""

    time: float
    """Seconds from the start of the campaign."""
    end: float
    """The next sudden change of the rate in either direction, or the end of the campaign."""
    rate_before: float
    """Requests per second; 0 before the campaign."""
    rate_after: float
    phase: PhaseBounds
    """The phase in which the step lies, or which begins with it."""


def find_load_steps(campaign: Campaign) -> tuple[LoadStep, ...]:
    """Return the load steps of a campaign in their order."""
    end_of_campaign = (campaign.duration_seconds, 0.0, 0.0)
    steps = []
    for (time, before, after), (end, _, _) in pairwise([*_sudden_changes(campaign), end_of_campaign]):
        phase = next(bounds for bounds in reversed(campaign.bounds()) if bounds.start <= time)
        if after > before and phase.judged:
            steps.append(LoadStep(time, end, before, after, phase))
    return tuple(steps)


def _sudden_changes(campaign: Campaign) -> list[tuple[float, float, float]]:
    """Return time, rate before and rate after of each sudden change."""
    grid = [index * _GRID_SECONDS for index in range(-1, ceil(campaign.duration_seconds / _GRID_SECONDS))]
    changes = []
    for begin, end in pairwise(grid):
        if isinstance(campaign.phase_at(end).load, Replay):
            continue
        change = _locate(campaign, begin, end)
        if change is not None:
            changes.append(change)
    return changes


def _locate(campaign: Campaign, begin: float, end: float) -> tuple[float, float, float] | None:
    """Return the sudden change between two times, found by bisection; None if the rate changes smoothly."""
    before, after = campaign.rate_at(begin), campaign.rate_at(end)
    if before is None or after is None or not _differs(before, after):
        return None
    middle_rate = (before + after) / 2
    while end - begin > _RESOLUTION_SECONDS:
        middle = (begin + end) / 2
        rate = campaign.rate_at(middle)
        if rate is None:
            return None
        if (rate < middle_rate) == (before < middle_rate):
            begin, before = middle, rate
        else:
            end, after = middle, rate
    return (round(end, 3), before, after) if _differs(before, after) else None


def _differs(before: float, after: float) -> bool:
    return abs(after - before) > _MIN_CHANGE * before
