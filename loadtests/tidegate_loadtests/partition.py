# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The share: which part of a load one generator process makes, and all that it needs to make it.

It holds no address of files and no outcome, so that a worker on another machine can be told it in a message.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict

from tidegate.contract import Contract
from tidegate_loadtests.plan import LoadTest


class Share(BaseModel):
    """One of several equal parts of a load; by default all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: LoadTest
    """The whole load, with the share's own seed."""
    contract: Contract
    """Of the model that is asked."""
    index: int = 0
    of: int = 1

    def part(self, number: int) -> int:
        """Its part of a number of requests; the parts of all shares add up to the number.

        >>> plan = LoadTest(users=1, duration=1)
        >>> [Share.model_construct(plan=plan, index=index, of=3).part(11) for index in range(3)]
        [4, 4, 3]
        """
        return number // self.of + (self.index < number % self.of)


def shares(plan: LoadTest, contract: Contract, of: int) -> list[Share]:
    """Divide a load. Each share has a seed of its own, drawn from the plan's."""
    seeds = np.random.SeedSequence(plan.seed).generate_state(of, np.uint64)
    return [
        Share(plan=plan.model_copy(update={"seed": int(seed)}), contract=contract, index=index, of=of)
        for index, seed in enumerate(seeds)
    ]
