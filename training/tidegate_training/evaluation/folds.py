# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Folds of a cross-validation, and the metrics over folds.

Folds follow the kind of the split: rows of one group are in one fold, and with a time each fold is later than
the rows that it is predicted from. No fold has a test row of the split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate_training.bundling.features import Indices
from tidegate_training.evaluation.intervals import LEVEL, Interval, rounded_interval
from tidegate_training.evaluation.metrics import Metrics

Array = NDArray[Any]
Fold = tuple[Indices, Indices]
"""The numbers of the rows to fit on, and of the rows to evaluate."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The metrics of a cross-validation.

    Attributes:
        folds: The metrics of each fold.
        metrics: Means over the folds; None for a metric that a fold does not define.
        intervals: The intervals of the means.
    """

    folds: tuple[Metrics, ...]
    metrics: Metrics
    intervals: dict[str, Interval | None]


def make_folds(
    rows: Indices,
    n_folds: int,
    seed: int,
    *,
    labels: Array | None = None,
    groups: Array | None = None,
    times: Array | None = None,
    option: str = "evaluation.cross_validation",
) -> list[Fold]:
    """Divide rows into folds.

    Args:
        rows: The numbers of the rows, ``[rows]``.
        n_folds: The number of folds.
        seed: The seed of the shuffle; folds by time do not use it.
        labels: ``[data_rows]``, the class of each row of the data. If given, each fold has the same
            proportions of classes.
        groups: ``[data_rows]``, the group of each row. If given, each group is in one fold.
        times: ``[data_rows]``, the time of each row. If given, the rows are cut into one part more than
            folds, and each part after the first is predicted from the parts before it.
        option: The field with the number of folds, for errors.

    Raises:
        DataError: If the rows are too few.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    if times is not None:
        return _folds_by_time(rows, n_folds, times[rows], option)
    of_fold, what = len(rows), "rows"
    if groups is not None:
        of_fold, what = len(np.unique(groups[rows])), "groups"
    elif labels is not None:
        of_fold, what = int(np.unique(labels[rows], return_counts=True)[1].min()), "rows of the rarest class"
    if of_fold < n_folds:
        raise DataError(
            f"{n_folds} folds need as many {what}, and there are {of_fold}: set fewer folds in {option}, or "
            "give more data."
        )
    if groups is not None:
        cut = GroupKFold(n_folds, shuffle=True, random_state=seed).split(rows, groups=groups[rows])
    elif labels is not None:
        cut = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rows, labels[rows])
    else:
        cut = KFold(n_folds, shuffle=True, random_state=seed).split(rows)
    return [(rows[train], rows[held_out]) for train, held_out in cut]


def summarize_folds(folds: Sequence[Metrics], sizes: Sequence[tuple[int, int]]) -> CrossValidation:
    """Return the means over the folds, with intervals.

    Args:
        folds: The metrics of each fold.
        sizes: By fold, the number of rows to fit on and of rows to evaluate.
    """
    ratio = float(np.mean([held_out / train for train, held_out in sizes]))
    metrics: Metrics = {}
    intervals: dict[str, Interval | None] = {}
    for name in folds[0]:
        # The winners of a search may have other metrics, as those of quantiles.
        values = [value for fold in folds if (value := fold.get(name)) is not None]
        if len(values) < len(folds):
            metrics[name], intervals[name] = None, None
            continue
        metrics[name], intervals[name] = float(np.mean(values)), mean_interval(values, ratio)
    return CrossValidation(tuple(folds), metrics, intervals)


def mean_interval(values: Sequence[float], ratio: float) -> Interval | None:
    """Return the interval of a mean over folds; None if the folds do not differ.

    From Nadeau and Bengio, "Inference for the Generalization Error" (2003): the folds share rows to fit on,
    so their variance is increased by the ratio of held-out rows.

    Args:
        values: The value of each fold.
        ratio: Held-out rows per row to fit on.
    """
    from scipy.stats import t

    quantile = float(t.ppf((1 + LEVEL) / 2, len(values) - 1))
    half = quantile * float(np.sqrt(np.var(values, ddof=1) * (1 / len(values) + ratio)))
    mean = float(np.mean(values))
    return rounded_interval(mean - half, mean + half, "folds") if half else None


def _folds_by_time(rows: Indices, n_folds: int, times: Array, option: str) -> list[Fold]:
    ordered = np.sort(times)
    # Rows with equal times stay together, because neither row is in the other's future.
    starts = [ordered[round(part * len(rows) / (n_folds + 1))] for part in range(1, n_folds + 1)]
    part_of = np.searchsorted(np.array(starts), times, side="right")
    if len(np.unique(part_of)) <= n_folds:
        raise DataError(
            f"{n_folds} folds by time need {n_folds + 1} different times, and many rows have equal ones: set "
            f"fewer folds in {option}."
        )
    return [(rows[part_of < part], rows[part_of == part]) for part in range(1, n_folds + 1)]
