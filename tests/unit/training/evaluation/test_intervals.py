# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.stats import binomtest

from tidegate_training.bundling.features import Indices
from tidegate_training.evaluation import intervals
from tidegate_training.evaluation.intervals import (
    Bootstrap,
    Interval,
    Series,
    Weights,
    bootstrap_interval,
    f1_interval,
    wilson_interval,
)


def mean(values: np.ndarray) -> intervals.Statistic:
    def statistic(rows: Indices, weights: Weights) -> dict[str, Series]:
        return {"mean": weights @ values[rows] / weights.sum(axis=1)}

    return statistic


@pytest.mark.parametrize(("successes", "trials"), [(0, 8), (3, 8), (20, 20)])
def test_wilson_interval_equals_scipy_s(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    interval = wilson_interval(successes, trials)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_interval_of_large_numbers_has_no_exponent() -> None:
    assert str(Interval(1234.5, 23456.0, "bootstrap")) == "1234 to 23456"
    assert str(Interval(-0.01234, 12.0, "bootstrap")) == "-0.0123 to 12"


def test_wilson_interval_without_trials_is_undefined() -> None:
    assert wilson_interval(0, 0) is None
    assert f1_interval(0, 0) is None


def test_f1_interval_contains_f1_and_has_a_width_at_one() -> None:
    interval = f1_interval(20, 10)
    assert interval is not None
    assert 2 * 20 / (2 * 20 + 10) in interval
    perfect = f1_interval(20, 0)
    assert perfect is not None
    assert perfect.low < 0.95 < perfect.high == 1


def test_bootstrap_interval_covers_the_mean_in_95_percent() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        values = generator.exponential(size=60)
        series = Bootstrap(60, (seed,)).resample(mean(values), {})["mean"]
        interval = bootstrap_interval(series, float(values.mean()))
        assert interval is not None
        covered += 1.0 in interval
    assert 88 <= covered <= 99


def test_bootstrap_interval_of_equal_resamples_is_undefined() -> None:
    assert bootstrap_interval(np.ones(10), 1.0) is None
    assert bootstrap_interval(np.array([1.0, 1 - 1e-16] * 50), 1.0) is None
    assert bootstrap_interval(np.append(np.full(6, np.nan), [1, 2, 3, 4]), 2.0) is None
    assert bootstrap_interval(np.arange(10.0), None) is None


def test_bootstrap_interval_corrects_a_biased_metric() -> None:
    values = np.random.default_rng(0).normal(0.06, 0.01, size=1000)
    interval = bootstrap_interval(values, 0.05)  # a resample makes this metric larger
    assert interval is not None
    assert interval.high < np.quantile(values, 0.975)


def test_bootstrap_resamples_units_as_a_whole() -> None:
    values = np.repeat([0.0, 1.0], 50)
    series = Bootstrap(100, (0,), np.repeat(["a", "b"], 50)).resample(mean(values), {})["mean"]
    assert set(series) == {0.0, 0.5, 1.0}


def test_bootstrap_with_the_same_seed_gives_the_same_resamples() -> None:
    values = np.random.default_rng(0).normal(size=30)
    first, second, other = (Bootstrap(30, (seed,)).resample(mean(values), {})["mean"] for seed in (1, 1, 2))
    assert first.tolist() == second.tolist() != other.tolist()


def test_bootstrap_of_many_rows_samples_and_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=4000)
    estimates = {"mean": float(values.mean())}
    full = Bootstrap(4000, (0,)).resample(mean(values), estimates)["mean"]
    monkeypatch.setattr(intervals, "MAX_RESAMPLED_ROWS", 1000)
    sampled = Bootstrap(4000, (0,)).resample(mean(values), estimates)["mean"]
    assert sampled.std() == pytest.approx(full.std(), rel=0.15)
    assert sampled.mean() == pytest.approx(values.mean(), abs=0.003)
