# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals of metrics: Wilson's for proportions, the bootstrap for every other metric.

The bootstrap resamples rows, or the groups or users that rows belong to, because the rows of one group are
not independent. It sees weights alone and knows no metric.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.stats import percentile
from tidegate_training.bundling.features import Indices

Weights = NDArray[np.float64]
"""How much each row counts, ``[resamples, rows]``."""
Series = NDArray[np.float64]
"""A metric by resample, ``[resamples]``; NaN where it is not defined."""
Statistic = Callable[[Indices, Weights], Mapping[str, Series]]
"""Metrics by name, of the rows at these positions, ``[rows]``, for each weighting."""

LEVEL = 0.95
RESAMPLES = 1000
MAX_RESAMPLED_ROWS = 10_000
"""Largest number of rows to resample, so that the time is bounded; more rows are represented by a sample."""

_CHUNK = 1 << 20
"""Number of weights that are computed at once: 8 MiB."""
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


Method = Literal["wilson", "bootstrap", "folds"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of 95 %."""

    low: float
    high: float
    method: Method

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        low, high = (f"{end:.0f}" if abs(end) >= 1000 else f"{end:.3g}" for end in (self.low, self.high))
        return f"{low} to {high}"


def wilson_interval(successes: float, trials: float) -> Interval | None:
    """Return Wilson's score interval of a proportion; None without trials.

    From Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927). In contrast to
    the bootstrap it has a width for proportions of 0 and 1.

    >>> str(wilson_interval(20, 20))
    '0.839 to 1'
    """
    if not trials:
        return None
    ratio, excess = successes / trials, _Z**2 / trials
    center = (ratio + excess / 2) / (1 + excess)
    half = float(np.sqrt(excess * (ratio * (1 - ratio) + excess / 4))) / (1 + excess)
    return rounded_interval(max(0.0, center - half), min(1.0, center + half), "wilson")


def f1_interval(true_positives: float, errors: float) -> Interval | None:
    """Return the interval of F1 by that of a proportion: true positives among them and all errors.

    F1 is ``2p / (1 + p)`` of this proportion, so the ends of Wilson's interval are transformed in this way.

    Args:
        true_positives: The number of true positives.
        errors: The number of false positives and false negatives.
    """
    interval = wilson_interval(true_positives, true_positives + errors)
    if interval is None:
        return None
    low, high = (2 * end / (1 + end) for end in (interval.low, interval.high))
    return rounded_interval(low, high, "wilson")


def bootstrap_interval(values: Series, estimate: float | None) -> Interval | None:
    """Return the bias-corrected percentile interval; None if the resamples do not differ.

    Half of them have to be defined.

    From Efron, "Nonparametric Standard Errors and Confidence Intervals" (1981). The correction matters for a
    metric such as the calibration error, which a resample makes larger.

    Args:
        values: The metric by resample, ``[resamples]``.
        estimate: The metric on the rows themselves.
    """
    defined = values[np.isfinite(values)]
    if estimate is None or len(defined) <= len(values) / 2:
        return None
    below = float((defined < estimate).mean() + (defined == estimate).mean() / 2)
    margin = 1 / (2 * len(defined))
    shift = NormalDist().inv_cdf(min(max(below, margin), 1 - margin))
    low, high = (percentile(defined, 100 * NormalDist().cdf(2 * shift + end)) for end in (-_Z, _Z))
    assert low is not None
    assert high is not None
    interval = rounded_interval(min(low, estimate), max(high, estimate), "bootstrap")
    return interval if interval.low < interval.high else None


def rounded_interval(low: float, high: float, method: Method) -> Interval:
    """Return an interval whose ends are rounded, so that the last bits of a sum do not show.

    Args:
        low: The lower end.
        high: The upper end.
        method: The method that gave both.
    """
    return Interval(float(f"{low:.6g}"), float(f"{high:.6g}"), method)


def intervals_to_json(intervals: Mapping[str, Interval | None]) -> dict[str, dict[str, Any] | None]:
    """Return intervals by metric as JSON values."""
    return {name: None if interval is None else asdict(interval) for name, interval in intervals.items()}


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Resamples of rows with replacement.

    Of more than 10,000 rows, a sample of units with about 10,000 rows is resampled, and the deviations are
    scaled by the square root of the sampled fraction. From Bickel, Götze and van Zwet, "Resampling Fewer Than
    n Observations" (1997).

    Attributes:
        n_rows: The number of rows.
        seed: The seed of the resamples; the same seed gives the same resamples.
        units: ``[rows]``, the group or user of each row, which are resampled as a whole; None resamples rows.
    """

    n_rows: int
    seed: tuple[int, ...]
    units: NDArray[Any] | None = None

    def resample(self, statistic: Statistic, estimates: Mapping[str, float | None]) -> dict[str, Series]:
        """Compute a statistic on each resample.

        Args:
            statistic: The statistic.
            estimates: Its values on all rows, around which the resamples of a sample of rows are moved.

        Returns:
            By metric, ``[resamples]``.
        """
        generator = np.random.default_rng(self.seed)
        unit_of = np.arange(self.n_rows) if self.units is None else _numbers(self.units)
        n_units = int(unit_of.max()) + 1
        rows = np.arange(self.n_rows)
        scale = 1.0
        if self.n_rows > MAX_RESAMPLED_ROWS:
            n_sampled = max(2, n_units * MAX_RESAMPLED_ROWS // self.n_rows)
            sampled = np.sort(generator.permutation(n_units)[:n_sampled])
            rows = np.flatnonzero(np.isin(unit_of, sampled))
            unit_of = np.searchsorted(sampled, unit_of[rows])
            scale, n_units = float(np.sqrt(n_sampled / n_units)), n_sampled
        parts = [statistic(rows, counts[:, unit_of]) for counts in _unit_counts(generator, n_units)]
        series = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if scale == 1:
            return series
        center = statistic(rows, np.ones((1, len(rows))))
        return {
            name: (np.nan if (estimate := estimates[name]) is None else estimate)
            + (values - center[name]) * scale
            for name, values in series.items()
        }


def _unit_counts(generator: np.random.Generator, n_units: int) -> Iterator[Weights]:
    """Yield how often each unit is drawn, ``[resamples, units]``, in chunks of all resamples."""
    size = max(1, min(RESAMPLES, _CHUNK // n_units))
    for start in range(0, RESAMPLES, size):
        count = min(size, RESAMPLES - start)
        drawn = generator.integers(0, n_units, size=(count, n_units))
        drawn += np.arange(count)[:, np.newaxis] * n_units
        counts = np.bincount(drawn.ravel(), minlength=count * n_units)
        yield counts.reshape(count, n_units).astype(np.float64)


def _numbers(values: NDArray[Any]) -> Indices:
    """Return the number of each value among the sorted ones, ``[rows]``."""
    return np.unique(values, return_inverse=True)[1]
