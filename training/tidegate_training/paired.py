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

Array = NDArray[Any]
Verdict = Literal["better", "worse", "undecided"]

LEVEL = 0.05
RESAMPLES = 2000
_CHUNK = 1 << 22
"""The number of drawn rows that are in memory at once."""


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


def compare_labels(target: Array, challenger: Array, champion: Array) -> PairedResult:
    """Compare labels by the exact McNemar test, two-sided.

    From McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions" (1947). It
    looks at the rows that one model alone labels correctly.

    >>> target = np.array(["a"] * 20)
    >>> champion = np.array(["b"] * 8 + ["a"] * 12)
    >>> compare_labels(target, target, champion).evidence
    'exact McNemar test, p = 0.007812: the new model alone labels 8 correctly, the champion alone 0'

    Args:
        target: ``[rows]``, the true classes.
        challenger: ``[rows]``, the labels of the challenger.
        champion: ``[rows]``, the labels of the champion.
    """
    from scipy.stats import binomtest

    correct, champion_correct = challenger == target, champion == target
    gained = int((correct & ~champion_correct).sum())
    lost = int((~correct & champion_correct).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return PairedResult(
        "accuracy",
        len(target),
        float(correct.mean()),
        float(champion_correct.mean()),
        _verdict(p_value <= LEVEL, gained > lost),
        f"exact McNemar test, p = {p_value:.4g}: the new model alone labels {gained} correctly, the champion "
        f"alone {lost}",
    )


def compare_values(target: Array, challenger: Array, champion: Array, seed: int) -> PairedResult:
    """Compare predicted values by a bootstrap of the difference of their root mean squared errors.

    Each resample has the same rows for both models. From Efron, "Bootstrap Methods: Another Look at the
    Jackknife" (1979), with percentile intervals.

    Args:
        target: ``[rows]``, the true values.
        challenger: ``[rows]``, the values of the challenger.
        champion: ``[rows]``, the values of the champion.
        seed: The seed of the resamples.
    """
    squares = np.stack([(challenger - target) ** 2, (champion - target) ** 2], axis=1)
    generator, n_rows = np.random.default_rng(seed), len(target)
    size = max(1, _CHUNK // n_rows)
    differences = np.concatenate(
        [
            np.sqrt(squares[drawn].mean(axis=1)) @ np.array([1.0, -1.0])
            for start in range(0, RESAMPLES, size)
            for drawn in [generator.integers(0, n_rows, size=(min(size, RESAMPLES - start), n_rows))]
        ]
    )
    low, high = np.quantile(differences, [LEVEL / 2, 1 - LEVEL / 2])
    errors = np.sqrt(squares.mean(axis=0))
    return PairedResult(
        "rmse",
        n_rows,
        float(errors[0]),
        float(errors[1]),
        _verdict(low > 0 or high < 0, bool(high < 0)),
        f"bootstrap of the difference: {low:.4g} to {high:.4g}, 95 % of {RESAMPLES:,} resamples",
    )


def _verdict(is_significant: bool, is_better: bool) -> Verdict:
    if not is_significant:
        return "undecided"
    return "better" if is_better else "worse"
