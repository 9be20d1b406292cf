# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The arrivals: the intended start of each request of an open loop, produced in chunks.

Every start is fixed by load model and seed alone, before its request is sent. Only one chunk exists at a
time, so the memory does not grow with the length of a phase. Times are seconds from the start of the phase.
"""

from collections.abc import Iterator
from math import ceil

import numpy as np

from tidegate.schedule import poisson_arrivals
from tidegate_loadtests.load_models import Constant, Floats, LoadModel

CHUNK_REQUESTS = 512
"""Mean number of requests per chunk: a chunk takes less than a millisecond, so no request waits for it."""

_BISECTIONS = 50


def random_arrivals(
    load: LoadModel, duration: float, count: int, source: np.random.Generator
) -> Iterator[Floats]:
    """Draw the arrival times of a Poisson process with the rate of a load model and an exact number.

    By time transformation: the integral of the rate maps such a process to one of constant rate, and its
    inverse maps the arrivals back (Ross, "Introduction to Probability Models", section 5.4.1). Chunks cover
    equal parts of the integral. A binomial distribution draws how many of the remaining arrivals are in a
    chunk, so the chunks together have the distribution of one draw.

    Args:
        load: The load model, of which each generator draws its own part.
        duration: The phase's duration.
        count: Number of arrivals.
        source: Random source; the same seed gives the same arrivals.

    Yields:
        Ascending times, ``[requests]``.
    """
    total = float(load.expected_requests(np.array([duration]), duration)[0])
    chunks = ceil(count / CHUNK_REQUESTS)
    remaining, begin = count, 0.0
    for chunk in range(chunks):
        in_chunk = int(source.binomial(remaining, 1 / (chunks - chunk)))
        low, high = total * chunk / chunks, total * (chunk + 1) / chunks
        transformed = poisson_arrivals(in_chunk, low, high, source)
        *times, begin = _invert(load, duration, np.append(transformed, high), begin)
        remaining -= in_chunk
        yield np.array(times)


def regular_arrivals(load: Constant, duration: float, index: int, count: int) -> Iterator[Floats]:
    """Return every ``count``-th arrival of a constant rate, from ``index`` on.

    Args:
        load: The load model.
        duration: The phase's duration.
        index: The first arrival.
        count: The distance between two arrivals: the number of generators.

    Yields:
        Ascending times, ``[requests]``.
    """
    total, step = load.planned_requests(duration), CHUNK_REQUESTS * count
    for first in range(index, total, step):
        yield np.arange(first, min(first + step, total), count) / load.rate


def _invert(load: LoadModel, duration: float, values: Floats, begin: float) -> Floats:
    """Return the times at which the integral of the rate reaches each value, ``[values]``, by bisection."""
    low, high = np.full(len(values), begin), np.full(len(values), duration)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        reached = load.expected_requests(middle, duration) >= values
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
