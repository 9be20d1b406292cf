# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule of an open loop: the intended start of each request, fixed before the first is sent.

A client that waits for a response before its next request sends nothing while the server stalls. Its latency
then omits the worst moments (coordinated omission). Latency that counts from an intended start includes them.
This module knows no clock, no connection and no load generator.
"""

import numpy as np
from numpy.typing import NDArray


def poisson_arrivals(
    count: int, begin: float, end: float, source: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the arrival times of independent clients: a Poisson process with a fixed number of arrivals.

    Given their number, the arrivals of a Poisson process are independent and uniform over the interval
    (Ross, "Introduction to Probability Models", section 5.3.5). The fixed number makes the rate exact.
    The superposition of several schedules is again such a process, so generators can divide the arrivals.

    >>> poisson_arrivals(3, 0.0, 10.0, np.random.default_rng(seed=1)).round(1).tolist()
    [1.4, 5.1, 9.5]

    Args:
        count: Number of arrivals.
        begin: Start of the interval, in seconds.
        end: End of the interval, in seconds.
        source: Random source; the same seed gives the same arrivals.

    Returns:
        The arrival times in seconds, ascending, ``[count]``.
    """
    return np.sort(source.uniform(begin, end, count))
