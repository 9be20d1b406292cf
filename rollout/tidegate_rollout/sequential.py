# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Sequential tests that may be read after every block: their error rates hold at any stopping time.

The module compares two tracks by events, such as errors or slow requests, without a model of the traffic.
Each statistic is an e-process: a non-negative process whose expectation is at most 1 under its null
hypothesis, at every stopping time. By Ville's inequality it exceeds 1/alpha with a probability of at most
alpha, however often it is read.

- :class:`OddsRatios`: E-variables for tables of two groups, as in Turner, Ly and Grünwald, *Generic
  E-variables for exact sequential k-sample tests that allow for optional stopping* (J. Stat. Plan. Inference
  230, 2024, arXiv 2106.02693), with Fisher's conditional law, so that the common rate of the block cancels.
- :func:`log_e_above` and :func:`log_e_below`: bets on one track's events against a fixed limit.
- Several checks: alpha/m each. Bonferroni's bound needs no independence.
"""

from math import ceil, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NEAREST, _WIDEST, _POINTS = 1.1, 50.0, 40
"""The alternatives: odds ratios between these multiples of the null's."""
_BETS = np.geomspace(_NEAREST, _WIDEST, _POINTS)
_BISECTIONS = 24
_BELOW = np.array([True, False])


class OddsRatios:
    """The odds ratios of a test: two nulls, and a grid of alternatives for each.

    Args:
        equal: The largest odds ratio at which the canary counts as equal.
        unacceptable: The smallest odds ratio at which it must not pass.
    """

    def __init__(self, equal: float, unacceptable: float) -> None:
        self.values: Floats = np.concatenate([[equal, unacceptable], equal * _BETS, unacceptable / _BETS])
        """The nulls, the alternatives above the first, and those below the second, ``[odds_ratios]``."""
        self._logs = np.log(self.values)

    def log_likelihood(self, canary: tuple[int, int], stable: tuple[int, int]) -> Floats:
        """Return the log-probability of a block's events, given their sum, by odds ratio: ``[odds_ratios]``.

        From Fisher's noncentral hypergeometric distribution (Fog, *Sampling methods for Wallenius' and
        Fisher's noncentral hypergeometric distributions*, Commun. Stat. Simul. Comput. 37, 2008). A constant
        that is the same for all odds ratios is left out.

        The distribution is that of a sum of independent Bernoulli variables, because its generating
        polynomial has only real roots. By Hoeffding's inequality, less than 1e-30 is outside six square roots
        of their number around the mode, so a wide support is summed there only.

        Args:
            canary: The canary's requests, and the events among them.
            stable: The stable track's.
        """
        (n_canary, k), (n_stable, k_stable) = canary, stable
        total = k + k_stable
        low, high = max(0, total - n_stable), min(total, n_canary)
        if low == high:
            return np.zeros(len(self.values))
        x = np.arange(low, high, dtype=np.float64)
        steps = np.log((n_canary - x) * (total - x) / ((x + 1) * (n_stable - total + x + 1)))
        weights = np.concatenate([[0.0], np.cumsum(steps)])  # of low … high at odds ratio 1
        size = high - low
        half = ceil(6 * sqrt(size)) + 1
        width = min(size, 2 * half)
        modes = np.searchsorted(-steps, self._logs)  # steps fall, so weights rise up to the mode
        index = np.clip(modes - half, 0, size - width)[:, None] + np.arange(width + 1)
        terms = weights[index] + self._logs[:, None] * index
        largest = terms.max(axis=1)
        normalizer = largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))
        result: Floats = weights[k - low] + self._logs * (k - low) - normalizer
        return result

    def log_e_worse(self, likelihood: Floats) -> float:
        """Return the log of the e-process against "the odds ratio is at most ``equal``".

        Args:
            likelihood: The sum over the blocks, ``[odds_ratios]``.
        """
        return float(_log_mean_exp(likelihood[2 : 2 + _POINTS]) - likelihood[0])

    def log_e_acceptable(self, likelihood: Floats) -> float:
        """Return the log of the e-process against "the odds ratio is at least ``unacceptable``".

        Args:
            likelihood: The sum over the blocks, ``[odds_ratios]``.
        """
        return float(_log_mean_exp(likelihood[2 + _POINTS :]) - likelihood[1])

    def estimate(self, likelihood: Floats, alpha: float) -> tuple[float, float, float]:
        """Return the most likely odds ratio of the grid, and its interval, which is valid at any time.

        The interval has the odds ratios that the mixture over the whole grid does not reject.

        Args:
            likelihood: The sum over the blocks, ``[odds_ratios]``.
            alpha: The probability that the interval ever misses the odds ratio.
        """
        kept = self.values[_log_mean_exp(likelihood) - likelihood < log(1 / alpha)]
        low, high = float(kept.min()), float(kept.max())
        smallest, largest = float(self.values.min()), float(self.values.max())
        return (
            float(self.values[likelihood.argmax()]),
            0.0 if low == smallest else low,
            inf if high == largest else high,
        )


def log_e_above(events: Floats | int, trials: int, limit: Floats | float) -> Floats:
    """Return the log of the e-process against "each trial is an event with at most this probability".

    From Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting* (J. R. Stat. Soc.
    B 86, 2024): the mean over bets with the odds ratios g > 1, each of which multiplies the wealth by g / (1
    + (g - 1) · limit) at an event and by 1 / (1 + (g - 1) · limit) otherwise. The probability may change from
    trial to trial.

    >>> round(float(log_e_above(30, 100, 0.1)), 1)
    13.4

    Args:
        events: The events; with several limits or events the result has their shape, ``[limits]``.
        trials: All trials.
        limit: The largest probability under the null, ``[limits]``.
    """
    return _log_bets(_BETS, events, trials, limit)


def log_e_below(events: Floats | int, trials: int, limit: Floats | float) -> Floats:
    """Return the log of the e-process against "each trial is an event with at least this probability".

    The bets of :func:`log_e_above` with the odds ratios 1/g.

    >>> round(float(log_e_below(0, 500, 0.01)), 1)
    4.3

    Args:
        events: The events; with several limits or events the result has their shape, ``[limits]``.
        trials: All trials.
        limit: The smallest probability under the null, ``[limits]``.
    """
    return _log_bets(1 / _BETS, events, trials, limit)


def ratio_interval(events: Floats | int, trials: int, alpha: float) -> tuple[Floats, Floats]:
    """Return the interval of an event's probability that is valid at any time, by bisection.

    Args:
        events: The events, ``[figures]``.
        trials: All trials.
        alpha: The probability that the interval ever misses the probability.
    """
    events = np.asarray(events, np.float64)
    # At the lower bound the bets on more events are worth 2/alpha, at the upper bound those on fewer.
    least, most = np.zeros((2, *events.shape)), np.ones((2, *events.shape))
    for _ in range(_BISECTIONS):
        limits = (least + most) / 2
        rejected = np.stack([log_e_above(events, trials, limits[0]), log_e_below(events, trials, limits[1])])
        upwards = (rejected >= log(2 / alpha)) == _BELOW.reshape(2, *[1] * events.ndim)
        least, most = np.where(upwards, limits, least), np.where(upwards, most, limits)
    return np.where(events > 0, least[0], 0.0), np.where(events < trials, most[1], 1.0)


def _log_bets(bets: Floats, events: Floats | int, trials: int, limit: Floats | float) -> Floats:
    events, limit = np.asarray(events, np.float64)[..., None], np.asarray(limit, np.float64)[..., None]
    return _log_mean_exp(events * np.log(bets) - trials * np.log1p((bets - 1) * limit))


def _log_mean_exp(logs: Floats) -> Floats:
    largest = logs.max(axis=-1)
    result: Floats = largest + np.log(np.exp(logs - largest[..., None]).sum(axis=-1)) - log(logs.shape[-1])
    return result
