# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule: when each request is meant to start, fixed before the first one is sent.

A client that waits for an answer before it asks again sends nothing while the server stalls, and so leaves
the worst moments out of its figures (coordinated omission). Here the start of every request is written
down beforehand and latency counts from it. The schedule knows no server.
"""

import numpy as np
from numpy.typing import NDArray

from tidegate_loadtests.partition import Share


def arrivals(share: Share) -> NDArray[np.float64]:
    """The intended starts of an open loop, in seconds from the start of the measured time, ascending.

    A Poisson process given its number of arrivals: that many times, uniform and independent (Ross,
    Introduction to Probability Models, 5.3.5). Fixing the number, in the warm-up and in the measured time
    each, keeps the offered rate exact. Those of the warm-up are negative.

    Shares add up: times that are uniform and independent are so whoever draws them, so the superposition of
    N shares is the process that one generator makes, as N independent Poisson processes of a rate/N are one.
    """
    plan = share.plan
    source = np.random.default_rng(plan.seed)
    warmup = source.uniform(-plan.warmup, 0.0, share.part(plan.planned - plan.measured))
    return np.sort(np.concatenate([warmup, source.uniform(0.0, plan.duration, share.part(plan.measured))]))
