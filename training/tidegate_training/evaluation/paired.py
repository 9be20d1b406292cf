# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Paired comparisons of two models on the same rows: which is better, and whether chance explains it.

Two models err on many of the same rows, so their own intervals overlap although one is better. Paired tests
look at the rows on which the models differ. They decide at the 5 % level, and know no bundle.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate_training.bundling.features import Indices
from tidegate_training.evaluation.intervals import LEVEL, Bootstrap, Series, Weights, bootstrap_interval

Array = NDArray[Any]
Verdict = Literal["better", "worse", "undecided"]

SIGNIFICANCE = 1 - LEVEL


@dataclass(frozen=True, slots=True)
class PairedResult:
    """A challenger next to a champion, on the same rows.

    Attributes:
        metric: The metric: accuracy of labels, root mean squared error of values.
        n_rows: The number of rows.
        challenger: The challenger's metric.
        champion: The champion's metric.
        verdict: What the test says of the challenger, at the 5 % level.
        evidence: The test and its figures.
    """

    metric: Literal["accuracy", "rmse"]
    n_rows: int
    challenger: float
    champion: float
    verdict: Verdict
    evidence: str

    def __str__(self) -> str:
        rows = "row" if self.n_rows == 1 else "rows"
        return (
            f"{self.metric} {self.challenger:.4g} on {self.n_rows} test {rows}, the champion "
            f"{self.champion:.4g} ({self.evidence})"
        )


def compare_labels(
    target: Array,
    challenger: Array,
    champion: Array,
    *,
    units: Array | None = None,
    weights: Array | None = None,
    seed: int = 0,
) -> PairedResult:
    """Compare labels by the exact McNemar test, two-sided, or by a bootstrap of units or of weighted rows.

    From McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions" (1947). It
    looks at the rows that one model alone labels correctly, and needs rows that are independent and count
    alike.

    >>> target = np.array(["a"] * 20)
    >>> champion = np.array(["b"] * 8 + ["a"] * 12)
    >>> compare_labels(target, target, champion).evidence
    'exact McNemar test, p = 0.007812: the new model alone labels 8 correctly, the champion alone 0'

    Args:
        target: ``[rows]``, the true classes.
        challenger: ``[rows]``, the labels of the challenger.
        champion: ``[rows]``, the labels of the champion.
        units: ``[rows]``, the unit of each row, whose rows are not independent; by default each row is one.
        weights: ``[rows]``, the weight of each row, above 0; by default rows count alike.
        seed: The seed of the resamples.
    """
    from scipy.stats import binomtest

    wrong = np.stack([challenger != target, champion != target], axis=1)
    accuracy, champion_accuracy = map(float, 1 - np.average(wrong, axis=0, weights=weights))
    if units is not None or weights is not None:
        verdict, evidence = _resample(wrong.astype(np.float64), "error rate", units, weights, seed)
        return PairedResult("accuracy", len(target), accuracy, champion_accuracy, verdict, evidence)
    gained, lost = int((wrong[:, 1] & ~wrong[:, 0]).sum()), int((wrong[:, 0] & ~wrong[:, 1]).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return PairedResult(
        "accuracy",
        len(target),
        accuracy,
        champion_accuracy,
        _verdict(p_value <= SIGNIFICANCE, gained > lost),
        f"exact McNemar test, p = {p_value:.4g}: the new model alone labels {gained} correctly, the champion "
        f"alone {lost}",
    )


def compare_values(
    target: Array,
    challenger: Array,
    champion: Array,
    *,
    units: Array | None = None,
    weights: Array | None = None,
    seed: int = 0,
) -> PairedResult:
    """Compare predicted values by a bootstrap of the difference of their root mean squared errors.

    Args:
        target: ``[rows]``, the true values.
        challenger: ``[rows]``, the values of the challenger.
        champion: ``[rows]``, the values of the champion.
        units: ``[rows]``, the unit of each row, whose rows are not independent; by default each row is one.
        weights: ``[rows]``, the weight of each row, above 0; by default rows count alike.
        seed: The seed of the resamples.
    """
    squares = np.stack([(challenger - target) ** 2, (champion - target) ** 2], axis=1)
    error, champion_error = map(float, np.sqrt(np.average(squares, axis=0, weights=weights)))
    verdict, evidence = _resample(squares, "rmse", units, weights, seed)
    return PairedResult("rmse", len(target), error, champion_error, verdict, evidence)


def _resample(
    losses: Array,
    name: Literal["error rate", "rmse"],
    units: Array | None,
    row_weights: Array | None,
    seed: int,
) -> tuple[Verdict, str]:
    """Return the verdict by the interval of the difference of two losses, and the interval.

    Each resample has the same rows for both models.

    Args:
        losses: ``[rows, 2]``, the loss of each row, of the challenger and of the champion.
        name: The name of the difference: of mean losses, or of their roots.
        units: ``[rows]``, the unit of each row; None resamples rows.
        row_weights: ``[rows]``, the weight of each row; None if rows count alike.
        seed: The seed.
    """

    def difference(rows: Indices, weights: Weights) -> dict[str, Series]:
        if row_weights is not None:
            weights = weights * row_weights[rows]
        means = weights @ losses[rows] / weights.sum(axis=1, keepdims=True)
        means = np.sqrt(means) if name == "rmse" else means
        return {name: means[:, 0] - means[:, 1]}

    described = name if row_weights is None else f"weighted {name}"
    rows = np.arange(len(losses))
    estimate = float(difference(rows, np.ones((1, len(losses))))[name][0])
    values = Bootstrap(len(losses), (seed,), units).resample(difference, {name: estimate})[name]
    if (interval := bootstrap_interval(values, estimate)) is None:
        # Every unit has the same difference, so the sign test of the units decides.
        n_units = len(losses) if units is None else len(np.unique(units))
        p_value = 1.0 if estimate == 0 else 2 * 0.5**n_units
        return (
            _verdict(p_value <= SIGNIFICANCE, estimate < 0),
            f"the {described} differs by {estimate:.4g} in every resample, sign test p = {p_value:.4g}",
        )
    return (
        _verdict(0 not in interval, interval.high < 0),
        f"difference of the {described} {estimate:.4g}, bootstrap interval of {LEVEL:.0%} {interval}",
    )


def _verdict(is_significant: bool, is_better: bool) -> Verdict:
    if not is_significant:
        return "undecided"
    return "better" if is_better else "worse"
