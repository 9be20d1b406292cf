# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from math import comb, exp, inf, log

import numpy as np
import pytest

from tidegate_rollout.sequential import OddsRatios, log_e_above, log_e_below, ratio_interval

TEST = OddsRatios(1.0, 2.0)


def exact_probabilities(n_canary: int, n_stable: int, total: int, odds_ratio: float) -> dict[int, float]:
    """Return Fisher's noncentral hypergeometric law by its definition."""
    support = range(max(0, total - n_stable), min(total, n_canary) + 1)
    weights = {k: comb(n_canary, k) * comb(n_stable, total - k) * odds_ratio**k for k in support}
    return {k: weight / sum(weights.values()) for k, weight in weights.items()}


@pytest.mark.parametrize(
    ("n_canary", "n_stable", "total"), [(3, 5, 4), (1, 40, 7), (60, 30, 50), (300, 2000, 120), (20, 10, 30)]
)
def test_log_likelihood_is_exact(n_canary: int, n_stable: int, total: int) -> None:
    expected = {value: exact_probabilities(n_canary, n_stable, total, value) for value in TEST.values}
    for k in expected[1.0]:
        likelihood = TEST.log_likelihood((n_canary, k), (n_stable, total - k))
        received = likelihood - likelihood[0] + log(expected[1.0][k])
        np.testing.assert_allclose(
            np.exp(received), [expected[value][k] for value in TEST.values], rtol=1e-9, atol=1e-300
        )


def test_log_likelihood_of_wide_support_is_exact() -> None:
    # The support has 5,001 values, so only a window around each mode is summed.
    likelihood = TEST.log_likelihood((9000, 3000), (4000, 2000))
    for index in (0, 1, 5, 41, 60, 81):
        logs = [_log_weight(k, 9000, 4000, 5000, float(TEST.values[index])) for k in range(1000, 5001)]
        base = [_log_weight(k, 9000, 4000, 5000, 1.0) for k in range(1000, 5001)]
        expected = (logs[2000] - np.logaddexp.reduce(logs)) - (base[2000] - np.logaddexp.reduce(base))
        assert likelihood[index] - likelihood[0] == pytest.approx(expected, rel=1e-9)


def _log_weight(k: int, n_canary: int, n_stable: int, total: int, odds_ratio: float) -> float:
    from math import lgamma

    def log_comb(n: int, r: int) -> float:
        return lgamma(n + 1) - lgamma(r + 1) - lgamma(n - r + 1)

    return log_comb(n_canary, k) + log_comb(n_stable, total - k) + k * log(odds_ratio)


def test_block_without_events_or_requests_is_no_evidence() -> None:
    for canary, stable in (((50, 0), (900, 0)), ((0, 0), (900, 30)), ((50, 3), (0, 0)), ((5, 5), (7, 7))):
        assert not TEST.log_likelihood(canary, stable).any()


@pytest.mark.parametrize(("odds_ratio", "expectation"), [(0.5, "at most"), (1.0, "exactly"), (1.5, "more")])
def test_e_worse_has_expectation_1_at_the_null(odds_ratio: float, expectation: str) -> None:
    law = exact_probabilities(20, 80, 9, odds_ratio)
    mean = sum(p * exp(TEST.log_e_worse(TEST.log_likelihood((20, k), (80, 9 - k)))) for k, p in law.items())
    assert {"at most": mean < 1, "exactly": mean == pytest.approx(1), "more": mean > 1}[expectation]


@pytest.mark.parametrize(("odds_ratio", "expectation"), [(1.2, "more"), (2.0, "exactly"), (4.0, "at most")])
def test_e_acceptable_has_expectation_1_at_the_null(odds_ratio: float, expectation: str) -> None:
    law = exact_probabilities(20, 80, 9, odds_ratio)
    mean = sum(
        p * exp(TEST.log_e_acceptable(TEST.log_likelihood((20, k), (80, 9 - k)))) for k, p in law.items()
    )
    assert {"at most": mean < 1, "exactly": mean == pytest.approx(1), "more": mean > 1}[expectation]


def test_estimate_finds_the_odds_ratio_within_its_interval() -> None:
    likelihood = sum(
        (TEST.log_likelihood((1000, 30), (9000, 90)) for _ in range(10)), np.zeros(len(TEST.values))
    )
    figure, low, high = TEST.estimate(likelihood, alpha=0.01)
    assert low < 3.06 < high
    assert figure == pytest.approx(3.06, rel=0.1)
    assert low > 2
    assert high < 4.5


def test_estimate_beyond_the_grid_is_unbounded() -> None:
    _, low, high = TEST.estimate(TEST.log_likelihood((100, 90), (100, 1)), alpha=0.01)
    assert low > 5
    assert high == inf
    _, low, high = TEST.estimate(TEST.log_likelihood((100, 1), (100, 90)), alpha=0.01)
    assert low == 0
    assert high < 0.5


@pytest.mark.parametrize(("log_e", "probability", "exact"), [
    (log_e_above, 0.1, True), (log_e_above, 0.05, False), (log_e_below, 0.1, True), (log_e_below, 0.2, False),
])  # fmt: skip
def test_bets_have_an_expectation_of_at_most_1(log_e, probability: float, exact: bool) -> None:  # type: ignore[no-untyped-def]
    n = 30
    mean = sum(
        comb(n, k) * probability**k * (1 - probability) ** (n - k) * exp(float(log_e(k, n, 0.1)))
        for k in range(n + 1)
    )
    assert mean == pytest.approx(1) if exact else mean < 1


def test_ratio_interval_contains_the_ratio_and_shrinks() -> None:
    widths = []
    for trials in (0, 100, 10_000):
        low, high = ratio_interval(np.array([0, trials // 20, trials]), trials, 0.01)
        assert (low <= [0, 0.05, 1]).all()
        assert (high >= [0, 0.05, 1]).all()
        widths.append(high - low)
    assert (widths[0] == 1).all()
    assert (widths[1] < widths[0]).all()
    assert (widths[2] < widths[1]).all()


def test_ratio_interval_excludes_what_the_test_rejects() -> None:
    low, high = ratio_interval(40, 200, 0.02)
    assert float(log_e_above(40, 200, low)) == pytest.approx(log(100), abs=1e-4)
    assert float(log_e_below(40, 200, high)) == pytest.approx(log(100), abs=1e-4)
