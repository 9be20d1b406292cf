# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a search: its trials from the best to the worst, and an estimate of the whole search.

The score of the best trial is optimistic, because the search selected the trial by it. The outer folds are
not: each of them evaluates the winner of a search that did not see the held-out rows (Cawley and Talbot, "On
Over-fitting in Model Selection", 2010). :mod:`tidegate_training.search` runs the trials.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import JsonValue

from tidegate_training.evaluation.folds import CrossValidation, mean_interval
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.gates import ERROR_METRICS

State = Literal["complete", "pruned", "failed"]
SHOWN_TRIALS = 20
"""The largest number of trials in the tables of card and report; ``metrics.json`` has all of them."""

_ORDER: tuple[State, ...] = ("complete", "pruned", "failed")


@dataclass(frozen=True, slots=True)
class Trial:
    """An algorithm with parameters, and its scores.

    Attributes:
        number: The number of the trial in its search, from 0, which is the configured algorithm.
        algorithm: The algorithm.
        parameters: All parameters that are set.
        preprocessing: The options of ``preprocessing`` that the search chose, by name.
        scores: The metric of the held-out rows of each inner fold that was fitted.
        state: Whether all folds were fitted, or the trial was pruned after some, or failed.
        seconds: The time of the trial.
        reason: The reason of a failed trial.
    """

    number: int
    algorithm: str
    parameters: dict[str, JsonValue]
    preprocessing: dict[str, JsonValue]
    scores: tuple[float, ...]
    state: State
    seconds: float = 0.0
    reason: str = ""

    @property
    def mean(self) -> float | None:
        """The mean of the scores; None without scores."""
        return float(np.mean(self.scores)) if self.scores else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the scores; None of fewer than two."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None

    def __str__(self) -> str:
        settings = {**self.parameters, **self.preprocessing}
        return f"{self.algorithm}({', '.join(f'{name}={_text(value)}' for name, value in settings.items())})"


def best_trial(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Return the complete trial with the best mean score, the first of equal ones; None without one."""
    return next((trial for trial in rank_trials(trials, metric) if trial.state == "complete"), None)


def rank_trials(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Return the trials from the best to the worst: complete ones, then pruned and failed ones."""
    sign = 1 if metric in ERROR_METRICS else -1
    return sorted(
        trials,
        key=lambda trial: (
            _ORDER.index(trial.state),
            float("inf") if trial.mean is None else sign * trial.mean,
            trial.number,
        ),
    )


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search.

    Attributes:
        metric: The metric that was optimized.
        trials: The trials of the search on all training rows.
        ratio: Held-out rows per row to fit on in the inner folds.
        outer: The metrics of the winners of the outer folds' searches, on rows that these did not see.
        winners: The winner of each outer fold's search.
        fits: The number of pipelines that were fitted.
    """

    metric: str
    trials: tuple[Trial, ...]
    ratio: float
    outer: CrossValidation
    winners: tuple[Trial, ...]
    fits: int

    @property
    def leaderboard(self) -> list[Trial]:
        """The trials from the best to the worst."""
        return rank_trials(self.trials, self.metric)

    @property
    def winner(self) -> Trial:
        """The trial whose algorithm the model has."""
        return self.leaderboard[0]

    @property
    def winner_interval(self) -> Interval | None:
        """The interval of the winner's mean score."""
        return mean_interval(self.winner.scores, self.ratio)

    @property
    def estimate(self) -> float | None:
        """The mean of the metric over the outer folds: the honest figure."""
        return self.outer.metrics[self.metric]

    @property
    def findings(self) -> tuple[str, ...]:
        """The result in sentences."""
        winner, counts = self.winner, Counter(trial.state for trial in self.trials)
        states = ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
        chosen = Counter(trial.algorithm for trial in self.winners).most_common()
        found = [
            f"The search ran {len(self.trials)} trials ({states}) and chose {winner}: {self.metric} is "
            f"{_estimate(winner.mean, self.winner_interval)} on the inner folds. This value is optimistic, "
            "because the trial was selected by it.",
            f"The estimate of the whole search is {self.metric} "
            f"{_estimate(self.estimate, self.outer.intervals[self.metric])}, the mean over "
            f"{len(self.winners)} outer folds. The rows of each were predicted by the winner of a search "
            "that did not see them.",
            "The searches of the outer folds chose "
            f"{', '.join(f'{name} ({count})' for name, count in chosen)}. All searches fitted {self.fits:,} "
            "pipelines.",
        ]
        configured = next(trial for trial in self.trials if trial.number == 0)
        if configured.mean is not None and configured != winner:
            found.append(
                f"The configured algorithm, {configured}, has {self.metric} {configured.mean:.4g} on the "
                "inner folds."
            )
        return tuple(found)

    def to_json(self, *, seconds: bool = False) -> dict[str, Any]:
        """Return the result as JSON values, the best trial first.

        Args:
            seconds: Whether to include the times of the trials, which differ from run to run.
        """
        return {
            "metric": self.metric,
            "trials": [_to_json(trial, seconds) for trial in self.leaderboard],
            "ratio": self.ratio,
            "outer": asdict(self.outer),
            "winners": [_to_json(trial, seconds) for trial in self.winners],
            "fits": self.fits,
        }


def _to_json(trial: Trial, seconds: bool) -> dict[str, Any]:
    fields = asdict(trial)
    if not seconds:
        del fields["seconds"]
    return {**fields, "mean": trial.mean, "spread": trial.spread}


def _text(value: JsonValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def _estimate(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.4g}" + ("" if interval is None else f" (95 % interval {interval})")
