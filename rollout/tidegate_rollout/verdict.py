# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict of a step: fail, pass, continue or insufficient, by fixed rules from policy and evidence.

Each check compares one figure of both tracks. One failed check fails the rollout, and all have to pass for
the next step. The verdict can be read after every block, because every test is an e-process
(:mod:`sequential`):

- A canary that is as good as the stable track fails with a probability of at most ``alpha`` over the whole
  rollout. Each of the m checks fails at ``alpha`` / m.
- A canary that is unacceptable in one check passes all steps with a probability of at most ``beta``, because
  one step alone passes it so rarely.

An incident that hits both tracks decides nothing, because each block compares the tracks with each other.
Client errors and rejections because of load never fail a canary; one that has more of them than the stable
track is held. No other check passes without evidence, and the end of the time is ``insufficient``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log
from typing import Literal

import numpy as np

from tidegate_rollout.evidence import (
    CLIENT_ERRORS,
    ERRORS,
    OVERLOAD,
    SLOW,
    Comparison,
    Evidence,
    limit_of,
    odds_ratios,
)
from tidegate_rollout.pairs import SCORE_EDGES, PairCounts
from tidegate_rollout.policy import PredictionLimits, RolloutPolicy
from tidegate_rollout.sequential import log_e_above, log_e_below, ratio_interval

CheckOutcome = Literal["fail", "pass", "continue"]
Outcome = Literal["fail", "pass", "continue", "insufficient"]

DISAGREEMENT, SCORE_SHIFT, DIFFERING, CHANGE = "disagreement", "score_shift", "differing", "change"
_LABELS = {
    ERRORS: "server errors",
    CLIENT_ERRORS: "client errors",
    OVERLOAD: "rejections by load",
    DISAGREEMENT: "different labels",
    SCORE_SHIFT: "shift of the scores",
    DIFFERING: "different values",
    CHANGE: "expected change",
}
_HELD = frozenset({CLIENT_ERRORS, OVERLOAD})
"""Comparisons that cannot fail a canary, because its clients or its replicas may be the cause."""


@dataclass(frozen=True, slots=True)
class Check:
    """A figure of both tracks, its interval and threshold, and the outcome."""

    name: str
    figure: float | None
    """An odds ratio, a ratio of pairs, or a distance; None if there is nothing to compare."""
    interval: tuple[float, float]
    """The values that the evidence does not exclude, valid at any time."""
    expected: str
    """The condition, with its threshold."""
    outcome: CheckOutcome
    progress: tuple[float, float]
    """The evidence for a fail and for a pass, on a scale on which each decides at 1."""
    detail: str
    """The counts behind the figure."""

    @property
    def label(self) -> str:
        """The name as text."""
        return label(self.name)

    def __str__(self) -> str:
        figure = "nothing" if self.figure is None else f"{self.figure:.3g}"
        low, high = self.interval
        return (
            f"{self.label}: expected {self.expected}, received {figure} (between {low:.3g} and {high:.3g}): "
            f"{self.detail}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a step with its checks."""

    outcome: Outcome
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    """Each failed check; without one, each condition that is not met yet."""

    @property
    def progress(self) -> Mapping[str, tuple[float, float]]:
        """The progress of the checks, for :meth:`Evidence.record`."""
        return {check.name: check.progress for check in self.checks}


def assess(policy: RolloutPolicy, evidence: Evidence) -> Verdict:
    """Decide the outcome of the current step."""
    # Bonferroni: the number of checks depends on the policy alone, never on the data.
    predicted = 0 if policy.predictions is None else 2
    alpha = policy.alpha / (len(evidence.comparisons) - len(_HELD) + predicted)
    checks = [_compare(name, one, policy, alpha) for name, one in evidence.comparisons.items()]
    if policy.predictions is not None:
        checks += _check_pairs(evidence.pairs, policy.predictions, policy, alpha)
    failed = tuple(str(check) for check in checks if check.outcome == "fail")
    if failed:
        return Verdict("fail", tuple(checks), failed)
    pending = (
        *_pending_minimums(policy, evidence),
        *(str(check) for check in checks if check.outcome != "pass"),
    )
    if not pending:
        return Verdict("pass", tuple(checks), ())
    outcome: Outcome = "continue" if evidence.seconds < policy.max_seconds else "insufficient"
    return Verdict(outcome, tuple(checks), pending)


def _pending_minimums(policy: RolloutPolicy, evidence: Evidence) -> Iterator[str]:
    if evidence.seconds < policy.min_seconds:
        yield f"expected at least {policy.min_seconds:g} s, received {evidence.seconds:g} s"
    requests = evidence.comparisons[ERRORS].events.canary
    if requests < policy.min_requests:
        yield f"expected at least {policy.min_requests:,} requests of the canary, received {requests:,}"


def _compare(name: str, comparison: Comparison, policy: RolloutPolicy, alpha: float) -> Check:
    """Compare the events of both tracks.

    A pass needs evidence against "unacceptable odds ratio, and more events than the budget". The mean of two
    e-processes, one against each part, is an e-process against both.
    """
    limit = limit_of(name, policy)
    test, budget = odds_ratios(limit), limit.max_ratio
    events, rollout, step = comparison.events, np.array(comparison.rollout), np.array(comparison.step)
    within = -inf
    if events.canary_events < budget * events.canary:
        within = float(log_e_below(events.canary_events, events.canary, budget))
    for_fail = test.log_e_worse(rollout) / log(1 / alpha)
    for_pass = float(np.logaddexp(test.log_e_acceptable(step), within) - log(2)) / log(1 / policy.beta)
    figure, *ends = test.estimate(rollout, alpha) if rollout.any() else (None, 0.0, inf)
    outcome: CheckOutcome = "fail" if for_fail >= 1 else "pass" if for_pass >= 1 else "continue"
    expected = f"an odds ratio of at most {limit.equal_odds_ratio:g}"
    if name in _HELD:
        outcome, for_pass = ("continue", 0.0) if for_fail >= 1 else ("pass", 1.0)
    elif for_fail < 1:
        expected = f"an odds ratio below {limit.unacceptable_odds_ratio:g}, or a ratio below {budget:.3g}"
    return Check(
        name,
        figure,
        (ends[0], ends[1]),
        expected,
        outcome,
        (for_fail, for_pass),
        f"in this step {events.canary_events:,} of {events.canary:,} requests on the canary, "
        f"{events.stable_events:,} of {events.stable:,} on the stable track",
    )


def _check_pairs(
    pairs: PairCounts, limits: PredictionLimits, policy: RolloutPolicy, alpha: float
) -> Iterator[Check]:
    """Check the predictions, or that they changed if the policy expects it."""
    if policy.expect == "changed":
        differing = pairs.disagreements + pairs.differing
        total = pairs.labelled + pairs.valued
        seen = differing > 0
        yield Check(
            CHANGE,
            differing / total if total else None,
            _interval(differing, total, alpha),
            "more than 0",
            "pass" if seen else "continue",
            (0.0, float(seen)),
            f"{differing:,} of {total:,} pairs differ, and a change is expected",
        )
        return
    if pairs.valued:
        yield _check_ratio(
            DIFFERING,
            (pairs.differing, pairs.valued),
            limits.max_differing,
            policy,
            alpha,
            f"{pairs.differing:,} of {pairs.valued:,} pairs of values differ; the mean difference is "
            f"{pairs.total_difference / pairs.valued:.3g}, the largest {pairs.largest_difference:.3g}",
        )
    if pairs.labelled or not pairs.valued:
        yield _check_ratio(
            DISAGREEMENT,
            (pairs.disagreements, pairs.labelled),
            limits.max_disagreement,
            policy,
            alpha,
            f"{pairs.disagreements:,} of {pairs.labelled:,} pairs have different labels",
        )
    if pairs.scored:
        yield _check_score_shift(pairs, limits.max_score_shift, policy, alpha)


def _check_ratio(
    name: str, counts: tuple[int, int], limit: float, policy: RolloutPolicy, alpha: float, detail: str
) -> Check:
    """Check that the ratio of events keeps a limit.

    Args:
        name: The check's name.
        counts: The events, and all trials.
        limit: The largest accepted ratio.
        policy: The policy with β.
        alpha: The probability at which a ratio within the limit fails.
        detail: The counts in words.
    """
    events, trials = counts
    for_fail = float(log_e_above(events, trials, limit)) / log(1 / alpha)
    for_pass = float(log_e_below(events, trials, limit)) / log(1 / policy.beta)
    outcome: CheckOutcome = "fail" if for_fail >= 1 else "pass" if for_pass >= 1 else "continue"
    figure = events / trials if trials else None
    return Check(
        name,
        figure,
        _interval(events, trials, alpha),
        f"at most {limit:g}",
        outcome,
        (for_fail, for_pass),
        detail,
    )


@lru_cache(maxsize=64)
def _interval(events: int, trials: int, alpha: float) -> tuple[float, float]:
    """Return the interval of a ratio. The pairs stay the same after the mirror step."""
    low, high = ratio_interval(events, trials, alpha)
    return float(low), float(high)


def _check_score_shift(pairs: PairCounts, limit: float, policy: RolloutPolicy, alpha: float) -> Check:
    """Check the distance of the distributions of the scores.

    At an edge, it is the ratio of the pairs that rose across the edge minus that of those that fell. Each
    ratio has an interval, and Bonferroni's bound covers all of them. Pairs decide with fewer requests than
    two samples.
    """
    crossings = np.array([pairs.risen, pairs.fallen])
    shifts = abs(crossings[0] - crossings[1]) / pairs.scored

    def bounds(error: float) -> tuple[float, float]:
        low, high = ratio_interval(crossings, pairs.scored, error / crossings.size)
        least = np.maximum(low[0] - high[1], low[1] - high[0]).max(initial=0.0)
        return float(least), float(np.maximum(high[0] - low[1], high[1] - low[0]).max())

    low, high = bounds(alpha)
    largest = bounds(policy.beta)[1]
    edge = SCORE_EDGES[int(shifts.argmax())]
    return Check(
        SCORE_SHIFT,
        float(shifts.max()),
        (low, high),
        f"at most {limit:g}",
        "fail" if low > limit else "pass" if largest <= limit else "continue",
        (min(1.0, low / limit), min(1.0, limit / largest)),
        f"largest at the score {edge:g}, of {pairs.scored:,} pairs",
    )


def label(name: str) -> str:
    """Return the text of a check's name.

    >>> label("errors"), label("slow_250ms")
    ('server errors', 'slower than 250 ms')
    """
    if name.startswith(f"{SLOW}_"):
        return f"slower than {name.removeprefix(f'{SLOW}_').removesuffix('ms')} ms"
    return _LABELS[name]
