# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The diagnosis of a model: learning curve, regularization, simpler models, and the findings in words.

Each finding names the curve that supports it. Nothing is fitted here: :mod:`tidegate_training.curves`
computes the curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tidegate_training.evaluation.folds import mean_interval
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.overfitting import METRIC_NAMES

Evidence = Literal["learning_curve", "regularization", "simpler_models"]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The metric of one setting, fold by fold.

    Attributes:
        label: The setting: a number of rows, the value of a parameter, or the name of a model.
        train: The metric on the rows that the folds were fitted on.
        held_out: The metric on the rows that the folds held out.
    """

    label: Any
    train: tuple[float, ...]
    held_out: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the held-out metric."""
        return float(np.mean(self.held_out))

    @property
    def standard_error(self) -> float:
        """The standard error of the mean of the held-out metric."""
        return float(np.std(self.held_out, ddof=1) / np.sqrt(len(self.held_out)))


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the plot that supports it."""

    text: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The curves of a model.

    Attributes:
        metric: ``f1`` or ``r2``.
        ratio: Held-out rows per row to fit on, for the intervals of means over folds.
        learning: The points of growing numbers of rows.
        parameter: The parameter of the regularization; None without one.
        configured: The parameter's value in the configuration, or the estimator's default.
        regularization: By penalty, the points from the strongest regularization to the weakest.
        models: The points of the simplest model first; the configured model is the last.
    """

    metric: str
    ratio: float
    learning: tuple[CurvePoint, ...]
    parameter: str | None
    configured: Any
    regularization: dict[str, tuple[CurvePoint, ...]]
    models: tuple[CurvePoint, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The sentences that the curves support."""
        found = [self._more_rows()] if len(self.learning) > 1 else []
        found.append(self._gap())
        if self.regularization:
            found.append(self._strength())
        return (*found, self._simplest_model())

    def to_json(self) -> dict[str, Any]:
        """Return the curves and the findings as JSON values."""
        return {
            "metric": self.metric,
            "learning_curve": [_to_json(point) for point in self.learning],
            "parameter": self.parameter,
            "regularization": {
                name: [_to_json(point) for point in points] for name, points in self.regularization.items()
            },
            "models": [_to_json(point) for point in self.models],
            "findings": [{"text": found.text, "evidence": found.evidence} for found in self.findings],
        }

    def _interval(self, values: Sequence[float]) -> Interval | None:
        return mean_interval(values, self.ratio)

    def _more_rows(self) -> Finding:
        before, last = self.learning[-2:]
        gains = np.subtract(last.held_out, before.held_out).tolist()
        interval, name = self._interval(gains), METRIC_NAMES[self.metric]
        measured = (
            f"from {before.label:,} to {last.label:,} rows, {name} of held-out rows changes by "
            f"{np.mean(gains):.3f}{_in_words(interval)}"
        )
        if interval is not None and interval.low > 0:
            return Finding(f"More data would help: {measured}.", "learning_curve")
        return Finding(f"It is not shown that more data would help: {measured}.", "learning_curve")

    def _gap(self) -> Finding:
        last, name = self.learning[-1], METRIC_NAMES[self.metric]
        gaps = np.subtract(last.train, last.held_out).tolist()
        text = (
            f"{name} of the rows that a fold is fitted on exceeds that of held-out rows by "
            f"{np.mean(gaps):.3f}"
            f"{_in_words(self._interval(gaps))}."
        )
        return Finding(text, "learning_curve")

    def _strength(self) -> Finding:
        points = [(name, point) for name, curve in self.regularization.items() for point in curve]
        best_name, best = max(points, key=lambda pair: pair[1].mean)
        # The points are in the order of their strength, so the first one that is close enough is simplest.
        curve = self.regularization[best_name]
        simplest = next(point for point in curve if point.mean >= best.mean - best.standard_error)
        title = METRIC_NAMES[self.metric]
        text = (
            f"Of the regularizations that were tried, {best_name} with {self.parameter}={best.label} has "
            f"the highest {title} of held-out rows, {best.mean:.3f}"
        )
        if simplest.label != best.label:
            text += (
                f"; {self.parameter}={simplest.label} is stronger and within one standard error, with "
                f"{simplest.mean:.3f}"
            )
        return Finding(f"{text}. The configuration has {self.parameter}={self.configured}.", "regularization")

    def _simplest_model(self) -> Finding:
        best = max(self.models, key=lambda point: point.mean)
        limit, title = best.mean - best.standard_error, METRIC_NAMES[self.metric]
        simplest = next(point for point in self.models if point.mean >= limit)
        configured = self.models[-1]
        others = ", ".join(f"{point.label} {point.mean:.3f}" for point in self.models[:-1])
        if simplest is configured:
            text = (
                f"No simpler model is within one standard error of {configured.label}: {title} of held-out "
                f"rows is {configured.mean:.3f}, next to {others}."
            )
        else:
            text = (
                f"By the one-standard-error rule a simpler model is enough: {simplest.label} has {title} "
                f"{simplest.mean:.3f} on held-out rows, and {configured.label} has {configured.mean:.3f} "
                f"(standard error {configured.standard_error:.3f})."
            )
        return Finding(text, "simpler_models")


def _in_words(interval: Interval | None) -> str:
    return "" if interval is None else f" (95 % interval {interval.low:.3f} to {interval.high:.3f})"


def _to_json(point: CurvePoint) -> dict[str, Any]:
    return {"label": point.label, "train": list(point.train), "held_out": list(point.held_out)}
