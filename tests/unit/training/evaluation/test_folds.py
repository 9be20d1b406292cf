# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from tidegate.errors import DataError
from tidegate_training.evaluation.folds import make_folds, summarize_folds

ROWS = np.arange(10, 70)
LABELS = np.where(np.arange(80) % 4 == 0, "rare", "often")
GROUPS = np.arange(80) // 5


def test_make_folds_holds_each_row_out_once() -> None:
    for labels in (None, LABELS):
        folds = make_folds(ROWS, 3, 0, labels=labels)
        assert np.sort(np.concatenate([held_out for _, held_out in folds])).tolist() == ROWS.tolist()
        assert all(len(np.intersect1d(train, held_out)) == 0 for train, held_out in folds)


def test_make_folds_of_classes_have_the_same_proportions() -> None:
    counts = [(LABELS[held_out] == "rare").sum() for _, held_out in make_folds(ROWS, 3, 0, labels=LABELS)]
    assert counts == [5, 5, 5]


def test_make_folds_of_groups_keeps_groups_together() -> None:
    for train, held_out in make_folds(ROWS, 4, 0, groups=GROUPS):
        assert len(np.intersect1d(GROUPS[train], GROUPS[held_out])) == 0


def test_make_folds_by_time_predicts_the_future() -> None:
    times = np.random.default_rng(0).permutation(80) // 2
    folds = make_folds(ROWS, 4, 0, times=times)
    assert len(folds) == 4
    for train, held_out in folds:
        assert times[train].max() < times[held_out].min()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"labels": LABELS}, "20 folds need as many rows of the rarest class, and there are 15"),
        ({"groups": GROUPS}, "20 folds need as many groups, and there are 12"),
        ({"times": np.zeros(80)}, "20 folds by time need 21 different times"),
    ],
)
def test_make_folds_of_too_few_rows_is_an_error(options: dict[str, np.ndarray], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        make_folds(ROWS, 20, 0, **options)
    with pytest.raises(DataError, match=r"set fewer folds in diagnosis\.folds"):
        make_folds(ROWS, 20, 0, **options, option="diagnosis.folds")


def test_summarize_folds_corrects_the_variance() -> None:
    folds = [{"f1": 0.8, "roc_auc": None}, {"f1": 0.9, "roc_auc": 0.9}]
    result = summarize_folds(folds, [(80, 20), (80, 20)])
    assert result.metrics == {"f1": pytest.approx(0.85), "roc_auc": None}
    interval = result.intervals["f1"]
    assert interval is not None
    half = 12.7062 * (0.005 * (1 / 2 + 20 / 80)) ** 0.5  # the t distribution with one degree of freedom
    assert interval.high - 0.85 == pytest.approx(half, rel=1e-4)


def test_summarize_folds_leaves_out_what_a_fold_does_not_have() -> None:
    """The winners of a search on two outer folds, one of which predicts quantiles."""
    result = summarize_folds([{"mae": 1.0, "pinball": 0.5}, {"mae": 2.0}], [(80, 20), (80, 20)])
    assert result.metrics == {"mae": 1.5, "pinball": None}
