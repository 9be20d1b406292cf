# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up: engine calls before the first request, so that admission knows the service times from the start.

A burst that arrives before any call is measured would be admitted as a whole, however long it takes. The
rows are the golden rows, repeated, because they are typical and their outputs are verified already.
"""

import time
from collections.abc import Callable
from itertools import cycle, islice

from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate_serving.batching.service_time import MIN_SAMPLES, ServiceTimeEstimator
from tidegate_serving.engines.base import Engine

WARMUP_ROWS = (1, 4, 16, 64, 256)
"""Rows per call. Several sizes give the time per row, which no single size shows."""

MIN_SIZES = 2
"""Sizes of which one call at least is made, however slow the model is."""

MAX_WARMUP_SECONDS = 0.5
"""Seconds after which no further call is made: a start should not wait long for a slow model."""


def measure_service_times(
    engine: Engine, contract: Contract, clock: Callable[[], float] = time.perf_counter
) -> ServiceTimeEstimator:
    """Run an engine on batches of several sizes and return its service times.

    Args:
        engine: The engine.
        contract: The contract, whose golden rows the batches repeat.
        clock: Seconds of a monotonic clock.
    """
    service_time = ServiceTimeEstimator()
    started_at = clock()
    for number, rows in enumerate(WARMUP_ROWS):
        batch = Batch.from_rows(contract, list(islice(cycle(contract.golden.rows), rows)))
        for call in range(MIN_SAMPLES):
            begin = clock()
            if begin - started_at > MAX_WARMUP_SECONDS and (call or number >= MIN_SIZES):
                break
            engine.run(batch)
            service_time.record_warmup(rows, clock() - begin)
    return service_time
