# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.contracts import MATRIX
from tidegate.batch import Batch
from tidegate_serving.batching.warmup import measure_service_times
from tidegate_serving.engines.base import OutputNames, Outputs


class TimedEngine:
    """An engine that moves its own clock."""

    name = platform = "timed"
    selects_outputs = False

    def __init__(self, call_seconds: float, row_seconds: float) -> None:
        self.now = 0.0
        self.rows: list[int] = []
        self._call_seconds, self._row_seconds = call_seconds, row_seconds

    def prepare_thread(self) -> None:
        pass

    def run(self, batch: Batch, output_names: OutputNames = None) -> Outputs:
        self.rows.append(len(batch))
        self.now += self._call_seconds + self._row_seconds * len(batch)
        return {}


def test_measure_service_times_shows_the_time_per_row() -> None:
    engine = TimedEngine(0.005, 0.0001)
    service_time = measure_service_times(engine, MATRIX, lambda: engine.now)
    assert service_time.has_slope
    assert service_time.queue_time(1000) == pytest.approx(0.105, rel=0.01)
    assert service_time.minimum == 0.0  # no request was computed
    service_time.record(256, 0.03)
    assert service_time.minimum == pytest.approx(0.0306, rel=0.05)


@pytest.mark.parametrize(("row_seconds", "calls"), [(0.004, 10), (1.0, 2)])
def test_measure_service_times_of_a_slow_engine_is_short(row_seconds: float, calls: int) -> None:
    engine = TimedEngine(0.0, row_seconds)
    service_time = measure_service_times(engine, MATRIX, lambda: engine.now)
    assert len(engine.rows) == calls
    assert service_time.queue_time(1000) == pytest.approx(1000 * row_seconds, rel=0.01)
