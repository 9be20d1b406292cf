# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest
from scipy.stats import binom

from tidegate_loadtests.evidence import (
    CONFIDENCE,
    min_requests,
    min_requests_with_late,
    proves_kept,
    proves_missed,
)


@pytest.mark.parametrize("q", [50.0, 95.0, 99.0])
@pytest.mark.parametrize("requests", [1, 7, 90, 458, 459, 1000, 2501])
def test_evidence_is_that_of_the_binomial_distribution(requests: int, q: float) -> None:
    for late in range(0, requests + 1, max(1, requests // 200)):
        kept = binom.cdf(late, requests, 1 - q / 100) <= 1 - CONFIDENCE
        missed = binom.sf(late - 1, requests, 1 - q / 100) <= 1 - CONFIDENCE
        assert (proves_kept(requests, late, q), proves_missed(requests, late, q)) == (kept, missed)


@pytest.mark.parametrize(("q", "expected"), [(50.0, 7), (95.0, 90), (99.0, 459)])
def test_min_requests_without_late_ones_is_mlperfs(q: float, expected: int) -> None:
    assert min_requests(q) == expected
    assert proves_kept(expected, 0, q)
    assert not proves_kept(expected - 1, 0, q)


@pytest.mark.parametrize(("late_ratio", "decided"), [(0.0099, True), (0.01, False), (0.5, False)])
def test_min_requests_near_the_permitted_ratio_is_none(late_ratio: float, decided: bool) -> None:
    assert (min_requests_with_late(99, late_ratio) is not None) is decided


def test_evidence_of_a_long_campaign_is_exact() -> None:
    requests, mean = 14_400_000, 144_000
    for late in (mean - 1000, mean - 800, mean + 800, mean + 1000):
        kept = binom.cdf(late, requests, 0.01) <= 1 - CONFIDENCE
        missed = binom.sf(late - 1, requests, 0.01) <= 1 - CONFIDENCE
        assert (proves_kept(requests, late, 99), proves_missed(requests, late, 99)) == (kept, missed)


def test_evidence_without_requests_proves_nothing() -> None:
    assert not proves_kept(0, 0, 99)
    assert not proves_missed(0, 0, 99)
