# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Evidence: whether a number of requests can prove that a latency percentile was kept or missed.

The rule is that of MLPerf's LoadGen (mlcommons/inference, ``loadgen/early_stopping.cc``): if the server
exceeded the threshold in as many requests as the percentile permits, so few late requests would be unlikely.
The rule takes requests as independent, and those of a busy server are not. It is the least evidence, no more.
"""

from math import ceil, exp, lgamma, log

CONFIDENCE = 0.99
_MAX_REQUESTS = 10**8


def keeps_percentile(requests: int, late: int, q: float) -> bool:
    """Return whether at most the permitted ratio is late. The numbers are exact, so no percentile is needed.

    >>> keeps_percentile(1000, 10, q=99), keeps_percentile(1000, 11, q=99), keeps_percentile(0, 0, q=99)
    (True, False, False)

    Args:
        requests: All requests.
        late: Those that exceeded the threshold.
        q: The percentile with the threshold, which permits 100 - q percent.
    """
    return requests > 0 and 100 * (requests - late) >= q * requests


def proves_kept(requests: int, late: int, q: float) -> bool:
    """Return whether the requests prove that at most the permitted ratio is late.

    >>> proves_kept(458, 0, q=99), proves_kept(459, 0, q=99), proves_kept(90, 0, q=95)
    (False, True, True)

    Args:
        requests: All requests.
        late: Those that exceeded the threshold.
        q: The percentile with the threshold, which permits 100 - q percent.
    """
    permitted = _permitted_ratio(q)
    return late < requests * permitted and _binomial_cdf(late, requests, permitted) <= 1 - CONFIDENCE


def proves_missed(requests: int, late: int, q: float) -> bool:
    """Return whether the requests prove that more than the permitted ratio is late.

    >>> proves_missed(100, 4, q=99), proves_missed(100, 5, q=99)
    (False, True)

    Args:
        requests: All requests.
        late: Those that exceeded the threshold.
        q: The percentile with the threshold, which permits 100 - q percent.
    """
    in_time, expected = requests - late, q / 100
    return in_time < requests * expected and _binomial_cdf(in_time, requests, expected) <= 1 - CONFIDENCE


def min_requests(q: float) -> int:
    """Return the number of requests that proves a percentile if none of them is late.

    >>> min_requests(50), min_requests(95), min_requests(99)
    (7, 90, 459)
    """
    return ceil(log(1 - CONFIDENCE) / log(q / 100))


def min_requests_with_late(q: float, late_ratio: float) -> int | None:
    """Return the number of requests that would prove a percentile with this ratio of late requests.

    >>> min_requests_with_late(99, late_ratio=0.005), min_requests_with_late(99, late_ratio=0.01)
    (2010, None)

    Args:
        q: The percentile with the threshold.
        late_ratio: Late requests, divided by all requests.

    Returns:
        None if no reasonable number would, because the ratio is not clearly below the permitted one.
    """
    low, high = 0, 1
    while not proves_kept(high, round(high * late_ratio), q):
        low, high = high, 2 * high
        if high > _MAX_REQUESTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proves_kept(middle, round(middle * late_ratio), q) else (middle, high)
    return high


def _permitted_ratio(q: float) -> float:
    return round(1 - q / 100, 12)  # exact in decimals, so that the permitted ratio itself proves nothing


def _binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """Return the probability of at most so many successes, which must be below the mean.

    The terms fall towards zero successes, so the sum ends where a term no longer changes it.
    """
    term = exp(
        lgamma(trials + 1)
        - lgamma(successes + 1)
        - lgamma(trials - successes + 1)
        + successes * log(probability)
        + (trials - successes) * log(1 - probability)
    )
    total = 0.0
    for number in range(successes, -1, -1):
        if total + term == total:
            break
        total += term
        term *= number / (trials - number + 1) * (1 - probability) / probability
    return total
