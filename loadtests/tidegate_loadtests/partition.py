# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The partition: the part of a load that one load generator process makes, and all that it needs for it.

A partition has no file and no address, so the master can send it to a worker on another machine.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tidegate.contract import Contract
from tidegate.schedule import poisson_arrivals
from tidegate_loadtests.plan import LoadTest


class Partition(BaseModel):
    """One of several equal parts of a load; by default the whole load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: LoadTest
    """The whole load, with the partition's own seed."""
    contract: Contract
    """The contract of the model that the server serves."""
    index: int = 0
    count: int = 1
    """Number of partitions of the load."""

    def size(self, total: int) -> int:
        """Return this partition's part of a number of requests; the parts add up to the number.

        >>> plan = LoadTest(users=1, duration=1)
        >>> [Partition.model_construct(plan=plan, index=index, count=3).size(11) for index in range(3)]
        [4, 4, 3]
        """
        return total // self.count + (self.index < total % self.count)

    def intended_starts(self) -> NDArray[np.float64]:
        """Draw the intended start of each request of an open loop.

        Returns:
            Seconds from the start of the measured time, ascending, negative in the warm-up, ``[requests]``.
        """
        plan = self.plan
        source = np.random.default_rng(plan.seed)
        warmup_requests = self.size(plan.planned_requests - plan.measured_requests)
        return np.concatenate(
            [
                poisson_arrivals(warmup_requests, -plan.warmup, 0.0, source),
                poisson_arrivals(self.size(plan.measured_requests), 0.0, plan.duration, source),
            ]
        )


def split_load(plan: LoadTest, contract: Contract, count: int) -> list[Partition]:
    """Split a load into equal partitions, each with a seed derived from the plan's seed.

    Args:
        plan: The load.
        contract: The contract of the model that the server serves.
        count: Number of partitions.
    """
    seeds = np.random.SeedSequence(plan.seed).generate_state(count, np.uint64)
    return [
        Partition(
            plan=plan.model_copy(update={"seed": int(seed)}), contract=contract, index=index, count=count
        )
        for index, seed in enumerate(seeds)
    ]
