# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated replica that batches all requests of an event-loop iteration, as the server does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate.schedule import poisson_arrivals
from tidegate_loadtests.capacity.search import Criterion, Window


@dataclass(frozen=True, slots=True)
class TickServer:
    """An engine call of n rows takes ``call + row * n`` seconds, times log-normal jitter."""

    call: float
    row: float
    jitter: float

    def latencies(self, arrivals: NDArray[np.float64], source: np.random.Generator) -> NDArray[np.float64]:
        """Return the latency of each request in seconds, `[requests]`."""
        now, first, batches = 0.0, 0, []
        while first < len(arrivals):
            now = max(now, arrivals[first])
            end = int(np.searchsorted(arrivals, now, "right"))
            now += (self.call + self.row * (end - first)) * np.exp(self.jitter * source.standard_normal())
            batches.append(now - arrivals[first:end])
            first = end
        return np.concatenate(batches)

    def window(
        self,
        rate: float,
        criterion: Criterion,
        source: np.random.Generator,
        requests: int = 1000,
        generator_rate: float = np.inf,
        rate_noise: float = 0.0,
    ) -> Window:
        """Simulate a window. A generator that cannot send at the rate is late and saturated."""
        real = rate * np.exp(rate_noise * source.standard_normal())
        latencies = self.latencies(poisson_arrivals(requests, 0, requests / real, source), source)
        return Window(
            rate=rate,
            requests=requests,
            late=int((latencies > criterion.latency_seconds).sum()),
            failures=0,
            send_delay_p99_seconds=0.0001 if rate <= generator_rate else 1.0,
            generator_utilization=min(1.0, rate / generator_rate),
        )
