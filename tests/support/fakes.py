# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fakes of a clock, an engine and a request, with the types of what they replace.

A test with these fakes does not sleep and does not depend on the speed of the machine: time passes only in
``FakeClock.advance``.
"""

import asyncio
import threading
from collections.abc import Mapping

import numpy as np

from tidegate.batch import Array, Batch
from tidegate.contract import MATRIX, Output
from tidegate_serving.batching.pending import PendingRequest
from tidegate_serving.batching.runner import Outcome
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.engines.base import Engine, OutputNames
from tidegate_serving.engines.result import ResultSlice

HANG_SECONDS = 30.0
"""How long a test waits for another thread before it fails."""


class FakeClock:
    """A monotonic clock that only a test moves.

    >>> clock = FakeClock(100.0)
    >>> clock.advance(0.5)
    >>> clock()
    100.5
    """

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class FakeEngine:
    """Doubles each value into the output ``label``; raises on a negative value; can be blocked.

    Args:
        clock: The clock that a call advances.
        service_seconds: Seconds by which a call advances the clock.
    """

    name = platform = "fake"

    def __init__(
        self, clock: FakeClock | None = None, service_seconds: float = 0.0, *, selects_outputs: bool = False
    ) -> None:
        self.selects_outputs = selects_outputs
        self.batch_rows: list[int] = []
        """The rows of each call."""
        self.threads: list[int] = []
        """The thread of each call."""
        self.output_names: list[OutputNames] = []
        """The selected outputs of each call."""
        self._clock = clock or FakeClock()
        self._service_seconds = service_seconds
        self._entered = threading.Event()
        self._unblocked = threading.Event()
        self._unblocked.set()

    def prepare_thread(self) -> None:
        """Prepare nothing."""

    def block(self) -> None:
        """Let the next call wait for :meth:`unblock`."""
        self._entered.clear()
        self._unblocked.clear()

    def unblock(self) -> None:
        """Let calls continue."""
        self._unblocked.set()

    async def entered(self) -> None:
        """Wait until a blocked call has started on its thread."""
        assert await asyncio.to_thread(self._entered.wait, HANG_SECONDS)

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, Array]:
        """Return twice the values, as ``label`` ``[rows]``."""
        self._entered.set()
        assert self._unblocked.wait(HANG_SECONDS)
        self._clock.advance(self._service_seconds)
        self.batch_rows.append(len(batch))
        self.threads.append(threading.get_ident())
        self.output_names.append(output_names)
        values = batch.arrays[MATRIX]
        if (values < 0).any():
            raise ValueError("negative value")
        return {"label": values.reshape(-1) * 2}


class FakeRequest:
    """A request of one value per row, whose outcome is a future.

    Args:
        values: One value per row.
        clock: The clock that shows when the request is enqueued.
        deadline: Until when the client waits, in seconds of the clock.
    """

    def __init__(self, *values: float, clock: FakeClock, deadline: float | None = None) -> None:
        self.inputs: Inputs = matrix_batch(*values)
        self.rows = len(values)
        self.outputs: tuple[Output, ...] = ()
        self.enqueued_at = clock()
        self.deadline = deadline
        self.cancelled = False
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def resolve(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        self.outcome.set_result(outcome)


def matrix_batch(*values: float) -> Batch:
    """Return a batch of one FP32 feature, shape ``[rows, 1]``."""
    return Batch({MATRIX: np.array([[value] for value in values], dtype=np.float32)})


def label_values(outcome: Outcome) -> list[float]:
    """Return the values of the output ``label``."""
    assert isinstance(outcome, ResultSlice), outcome
    return list(outcome.array("label").tolist())


async def run_iterations(count: int) -> None:
    """Let the event loop run this many iterations."""
    for _ in range(count):
        await asyncio.sleep(0)


def _as_protocols(engine: FakeEngine, request: FakeRequest) -> tuple[Engine, PendingRequest]:
    """Let mypy compare the fakes with the protocols that they implement."""
    return engine, request
