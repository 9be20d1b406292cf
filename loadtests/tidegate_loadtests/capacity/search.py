# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The search for the capacity: which rate the next window has, and what the windows prove.

A window is a few seconds of Poisson load at one rate. It passes or fails as a whole, because latencies near
saturation are autocorrelated. The probability that a window passes is a psychometric function of the rate,
and each window updates the posterior of its two parameters (Watson and Pelli, "QUEST", 1983). A window
whose generator was the bottleneck, or whose server had to share its CPUs, is discarded: it proves nothing.

The module is pure: it sends no request and reads no clock. A search that cannot decide is inconclusive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tidegate_loadtests.evidence import keeps_percentile, proves_kept

WindowOutcome = Literal["pass", "fail", "discarded"]

MAX_GENERATOR_UTILIZATION = 0.85
"""CPU use of the generator above which it may be the bottleneck."""
_MAX_SERVER_STARVATION = 0.05
"""Half of the largest difference between repeats that a capacity may have."""
_MIN_SEND_DELAY_SECONDS = 0.001
_MAX_SEND_DELAY_RATIO = 0.1
"""Accepted send delay of the generator, as a ratio of the latency threshold."""

_LAPSE = 0.02
"""Probability that a window's outcome has nothing to do with its rate."""
_SPREADS = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
"""Candidates for the spread of the psychometric function, in units of the rate's logarithm."""
_GRID_POINTS = 240
_QUANTILES = (0.5, 0.1, 0.9)
"""Posterior quantiles that the next rates take in turn.

The outer ones exclude wide spreads: in simulated searches they halve the windows that 0.3 and 0.7 need.
"""
_MIN_WINDOWS = 16
"""Windows before a decision. After 8, medians of simulated repeats deviate 1.2 to 1.6 times as much."""
_MAX_INTERVAL_WIDTH = 0.20
_CONFIRMATION_WINDOWS = 3
_BACK_OFF = 0.95
"""Ratio of the first safe rate to the interval's lower bound, and of each further one to the last."""
_MAX_CONFIRMATIONS = 4
_MAX_HALVINGS = 10

MAX_WINDOWS = 120
"""Windows without a decision after which the search is inconclusive."""
MAX_CONSECUTIVE_DISCARDS = 10
"""Discarded windows in a row after which the search is inconclusive."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """The thresholds of a window."""

    percentile: float
    latency_seconds: float
    max_failure_ratio: float

    @property
    def max_late_ratio(self) -> float:
        """The largest ratio of requests whose latency exceeds the threshold."""
        return 1 - self.percentile / 100

    def in_flight(self, rate: float) -> int:
        """Return the requests in flight at a rate, if their latency is the threshold (Little's law).

        While more of them are in flight, latency exceeds the threshold.
        """
        return math.ceil(rate * self.latency_seconds)


@dataclass(frozen=True, slots=True)
class Window:
    """The counts of one window."""

    rate: float
    requests: int
    late: int
    """Successful responses whose latency exceeds the threshold."""
    failures: int
    send_delay_p99_seconds: float
    generator_utilization: float
    server_starvation: float = 0.0
    """Ratio of the window in which others kept the server from its CPUs; 0 if that is unknown."""
    connections: int = 0
    """Limit of requests in flight."""
    waited: int = 0
    """Requests that waited for a free connection, which lengthens their latency."""

    @property
    def successful(self) -> int:
        """The successful responses."""
        return self.requests - self.failures

    def discard_reason(self, criterion: Criterion) -> str | None:
        """Return the reason why the window proves nothing about the server; None if it does."""
        limit = max(_MIN_SEND_DELAY_SECONDS, _MAX_SEND_DELAY_RATIO * criterion.latency_seconds)
        if self.generator_utilization > MAX_GENERATOR_UTILIZATION:
            return f"the load generator used {self.generator_utilization:.0%} of its CPU"
        if self.send_delay_p99_seconds > limit:
            return f"the load generator sent requests {self.send_delay_p99_seconds * 1e3:.1f} ms late"
        if self.server_starvation > _MAX_SERVER_STARVATION:
            return (
                f"other processes or virtual machines kept the server from its CPUs for "
                f"{self.server_starvation:.0%} of the time"
            )
        if self._failed_by_connections(criterion):
            return f"{self.waited} requests waited for the load generator's {self.connections} connections"
        return None

    def outcome(self, criterion: Criterion) -> WindowOutcome:
        """Return the window's outcome."""
        if self.discard_reason(criterion) is not None:
            return "discarded"
        return "pass" if self._keeps(criterion) else "fail"

    def _keeps(self, criterion: Criterion) -> bool:
        """Return whether the window keeps the thresholds."""
        failed = self.failures > criterion.max_failure_ratio * self.requests
        return not failed and keeps_percentile(self.successful, self.late, criterion.percentile)

    def _failed_by_connections(self, criterion: Criterion) -> bool:
        """Return whether the window fails, and more connections might have let it pass."""
        return (
            self.connections < criterion.in_flight(self.rate)
            and not keeps_percentile(self.requests, self.waited, criterion.percentile)
            and not self._keeps(criterion)
        )


@dataclass(frozen=True, slots=True)
class Posterior:
    """The posterior of the capacity, in requests per second."""

    low: float
    median: float
    high: float
    next_rate: float
    """The quantile at which the next window is most useful."""

    @property
    def safe_rate(self) -> float:
        """A rate below the interval, which the confirmation has to prove.

        It does not depend on the spread, because few windows fail far below the capacity: after a search,
        the spread is known to a factor of two, and a safe rate derived from it differed by 8 % (one standard
        deviation) between simulated repeats.
        """
        return _BACK_OFF * self.low

    @property
    def width(self) -> float:
        """The width of the interval, as a ratio of its lower bound."""
        return self.high / self.low - 1


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The end of a search: a confirmed rate, or the reason why there is none."""

    safe_rate: float | None
    capacity: Posterior | None
    inconclusive_reason: str | None


class _Stage(Enum):
    BRACKET = auto()
    """Double the rate until a window fails, or halve it until one passes."""
    BISECT = auto()
    CONFIRM = auto()


class Search:
    """The state of a search. :attr:`next_rate` is the rate of the next window until there is a result.

    Args:
        start_rate: The rate of the first window.
        criterion: The thresholds of every window.
    """

    def __init__(self, start_rate: float, criterion: Criterion) -> None:
        self.criterion = criterion
        self.result: SearchResult | None = None
        self.next_rate = start_rate
        self._stage = _Stage.BRACKET
        self._bracket: list[tuple[float, bool]] = []
        self._observations: list[tuple[float, bool]] = []
        self._low = self._high = 0.0
        self._posterior: Posterior | None = None
        self._confirmations = 1
        self._confirmed: list[Window] = []
        self._discards = 0

    @property
    def stage(self) -> str:
        """The stage, for progress messages."""
        return self._stage.name.capitalize()

    def record(self, window: Window) -> WindowOutcome:
        """Record a window at :attr:`next_rate`, and decide the next rate or the result."""
        outcome = window.outcome(self.criterion)
        if outcome == "discarded":
            self._discards += 1
            if self._discards == MAX_CONSECUTIVE_DISCARDS:
                self._end(
                    f"{window.discard_reason(self.criterion)} in {self._discards} windows in a row, "
                    f"the last at {window.rate:.4g} requests per second"
                )
            return outcome
        self._discards = 0
        match self._stage:
            case _Stage.BRACKET:
                self._record_bracket(window.rate, outcome == "pass")
            case _Stage.BISECT:
                self._record_bisection(window.rate, outcome == "pass")
            case _Stage.CONFIRM:
                self._record_confirmation(window, outcome == "pass")
        return outcome

    def _record_bracket(self, rate: float, passed: bool) -> None:
        self._bracket.append((rate, passed))
        if len({passed for _, passed in self._bracket}) == 2:
            failing = min(rate for rate, passed in self._bracket if not passed)
            self._low, self._high = failing / 4, failing * 1.5
            self._stage = _Stage.BISECT
            self._update_posterior()
        elif not passed and len(self._bracket) == _MAX_HALVINGS:
            self._end(f"no window passed, the last at {rate:.4g} requests per second")
        else:
            self.next_rate = rate * 2 if passed else rate / 2

    def _record_bisection(self, rate: float, passed: bool) -> None:
        self._observations.append((rate, passed))
        posterior = self._update_posterior()
        windows = len(self._observations)
        if windows >= _MIN_WINDOWS and posterior.width <= _MAX_INTERVAL_WIDTH:
            self._stage, self.next_rate = _Stage.CONFIRM, posterior.safe_rate
        elif windows == MAX_WINDOWS:
            self._end(
                f"the interval of the capacity is {posterior.low:.4g} to {posterior.high:.4g} requests per "
                f"second after {windows} windows: expected a width of at most {_MAX_INTERVAL_WIDTH:.0%}"
                f"{self._describe_drift()}"
            )

    def _describe_drift(self) -> str:
        """Return that the capacity changed during the search, or nothing."""
        half = len(self._observations) // 2
        first, last = (
            estimate(part, self._low, self._high).median
            for part in (self._observations[:half], self._observations[half:])
        )
        if max(first, last) <= (1 + _MAX_INTERVAL_WIDTH) * min(first, last):
            return ""
        return (
            f"; the first {half} windows give {first:.4g}, and the others {last:.4g}: measure again while "
            "the speed of the machine is steady"
        )

    def _record_confirmation(self, window: Window, passed: bool) -> None:
        self._confirmed.append(window)
        if passed and len(self._confirmed) < _CONFIRMATION_WINDOWS:
            return
        successful = sum(window.successful for window in self._confirmed)
        late = sum(window.late for window in self._confirmed)
        if passed and proves_kept(successful, late, self.criterion.percentile):
            self.result = SearchResult(self.next_rate, self._posterior, None)
        elif self._confirmations == _MAX_CONFIRMATIONS:
            self._end(f"{self.next_rate:.4g} requests per second, the lowest safe rate, was not confirmed")
        else:
            self._confirmations += 1
            self._confirmed = []
            self.next_rate *= _BACK_OFF

    def _update_posterior(self) -> Posterior:
        posterior = estimate(self._observations, self._low, self._high)
        # A misleading first window may leave the capacity outside of the grid: then the grid grows.
        edge = (self._high / self._low) ** (2 / _GRID_POINTS)
        while posterior.high > self._high / edge and len(self._observations) >= _MIN_WINDOWS:
            self._high *= 2
            posterior = estimate(self._observations, self._low, self._high)
        while posterior.low < self._low * edge and len(self._observations) >= _MIN_WINDOWS:
            self._low /= 2
            posterior = estimate(self._observations, self._low, self._high)
        self._posterior, self.next_rate = posterior, posterior.next_rate
        return posterior

    def _end(self, reason: str) -> None:
        self.result = SearchResult(None, self._posterior, reason)


def pass_probability(
    log_capacity: NDArray[np.float64], spread: NDArray[np.float64], log_rate: float
) -> NDArray[np.float64]:
    """Return the probability that a window passes, for each pair of parameters.

    Args:
        log_capacity: Logarithm of the rate at which half of the windows pass, ``[capacities, 1]``.
        spread: Spread of the function, ``[1, spreads]``.
        log_rate: Logarithm of the window's rate.

    Returns:
        The probabilities, ``[capacities, spreads]``.
    """
    return _LAPSE + (1 - 2 * _LAPSE) / (1 + np.exp(-(log_capacity - log_rate) / spread))


def estimate(observations: Sequence[tuple[float, bool]], low: float, high: float) -> Posterior:
    """Estimate the capacity from windows, with a flat prior on the logarithm of the rate.

    Args:
        observations: The rate of each window, and whether it passed.
        low: The lowest capacity of the prior.
        high: The highest capacity of the prior.
    """
    grid = np.linspace(math.log(low), math.log(high), _GRID_POINTS)[:, None]
    log_likelihood = np.zeros((_GRID_POINTS, len(_SPREADS)))
    with np.errstate(over="ignore"):  # exp of a large number is infinity, and the probability the lapse
        for rate, passed in observations:
            probability = pass_probability(grid, _SPREADS[None], math.log(rate))
            log_likelihood += np.log(probability if passed else 1 - probability)
    weights = np.exp(log_likelihood - log_likelihood.max())
    weights /= weights.sum()
    cumulative = weights.sum(axis=1).cumsum()

    def quantile(q: float) -> float:
        return math.exp(grid[min(_GRID_POINTS - 1, int(np.searchsorted(cumulative, q))), 0])

    return Posterior(
        low=quantile(0.025),
        median=quantile(0.5),
        high=quantile(0.975),
        next_rate=quantile(_QUANTILES[len(observations) % len(_QUANTILES)]),
    )


def is_warm(medians: Sequence[float]) -> bool:
    """Return whether the last three median latencies differ by at most 10 %. From perf_analyzer."""
    last = medians[-3:]
    return len(last) == 3 and max(last) <= 1.1 * min(last)
