# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from tidegate_training.evaluation.paired import compare_labels, compare_values

TARGET = np.zeros(40, np.int64)


def labels(correct: range) -> np.ndarray:
    return np.array([0 if row in correct else 1 for row in range(len(TARGET))])


@pytest.mark.parametrize(
    ("challenger", "champion", "verdict", "p_value"),
    [
        # Two-sided: 2 * (1/2)^6, and 2 * (1/2)^5.
        (range(40), range(6, 40), "better", "0.03125"),
        (range(40), range(5, 40), "undecided", "0.0625"),
        (range(6, 40), range(40), "worse", "0.03125"),
        (range(20), range(20), "undecided", "1"),
        (range(20), range(20, 40), "undecided", "1"),
    ],
)
def test_compare_labels_is_the_exact_mcnemar_test(challenger, champion, verdict, p_value) -> None:
    result = compare_labels(TARGET, labels(challenger), labels(champion))
    assert result.verdict == verdict
    assert result.evidence.startswith(f"exact McNemar test, p = {p_value}: ")
    assert (result.challenger, result.champion) == (len(challenger) / 40, len(champion) / 40)


@pytest.mark.parametrize(
    ("error", "champion_error", "verdict"),
    [(0.5, 1.0, "better"), (1.0, 0.5, "worse"), (1.0, 1.0, "undecided"), (1.0, -1.0, "undecided")],
)
def test_compare_values_decides_by_the_interval(error, champion_error, verdict) -> None:
    target = np.random.default_rng(0).normal(size=100)
    noise = np.random.default_rng(1).normal(size=100)
    result = compare_values(target, target + error * noise, target + champion_error * noise)
    assert result.verdict == verdict
    assert result.challenger == pytest.approx(abs(error) * np.sqrt((noise**2).mean()))


def test_compare_values_pairs_the_rows() -> None:
    """Errors that vary much more between rows than between models hide no difference."""
    target = np.zeros(100)
    noise = np.random.default_rng(1).normal(size=100) * np.logspace(0, 3, 100)
    assert compare_values(target, noise * 0.999, noise).verdict == "better"


def test_compare_values_depends_on_rows_and_seed_alone() -> None:
    target = np.random.default_rng(0).normal(size=50)
    results = {compare_values(target, target * 0.9, target * 0.8, seed=seed).evidence for seed in (0, 0, 1)}
    assert len(results) == 2


@pytest.mark.parametrize(
    ("n_rows", "wrong", "verdict"), [(8, 1, "worse"), (8, 0, "better"), (5, 1, "undecided")]
)
def test_compare_labels_wrong_on_every_weighted_row(n_rows: int, wrong: int, verdict: str) -> None:
    """Every resample has the same difference, so that there is no interval."""
    target = np.zeros(n_rows, np.int64)
    result = compare_labels(target, target + wrong, target + 1 - wrong, weights=np.arange(1.0, n_rows + 1))
    assert result.verdict == verdict
    assert f"in every resample, sign test p = {2 * 0.5**n_rows:.4g}" in result.evidence


def test_compare_labels_of_units_counts_each_unit_once() -> None:
    """Forty rows are significant, and two units with twenty equal rows each are not."""
    champion = labels(range(20))
    assert compare_labels(TARGET, TARGET, champion).verdict == "better"
    repeated = compare_labels(TARGET, TARGET, champion, units=np.arange(40) // 20)
    assert (repeated.verdict, repeated.challenger, repeated.champion) == ("undecided", 1, 0.5)
    assert repeated.evidence.startswith(
        "difference of the error rate -0.5, bootstrap interval of 95% -1 to 0"
    )
    assert compare_labels(TARGET, TARGET, champion, units=np.arange(40)).verdict == "better"


@pytest.mark.parametrize("compare", [compare_labels, compare_values])
def test_compare_weighted_rows_weighs_metric_and_test(compare) -> None:
    """The new model is right in 30 rows, and the champion in 10 that count twenty times."""
    challenger, champion = labels(range(30)), labels(range(30, 40))
    assert compare(TARGET, challenger, champion).verdict == "better"
    weights = np.where(np.arange(40) < 30, 1.0, 20.0)
    weighted = compare(TARGET, challenger, champion, weights=weights)
    assert weighted.verdict == "worse"
    assert weighted.evidence.startswith("difference of the weighted ")
    expected = {"accuracy": 30 / 230, "rmse": np.sqrt(200 / 230)}[weighted.metric]
    assert weighted.challenger == pytest.approx(expected)


@pytest.mark.parametrize("compare", [compare_labels, compare_values])
def test_compare_equal_models_of_units_is_undecided(compare) -> None:
    result = compare(TARGET, TARGET + 1, TARGET + 1, units=np.arange(40) // 4)
    assert (result.verdict, result.challenger) == ("undecided", result.champion)
