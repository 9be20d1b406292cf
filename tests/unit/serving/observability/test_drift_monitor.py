# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import itertools
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.contracts import INTEGERS, MATRIX, MIXED, contract
from tests.support.fakes import FakeClock
from tests.support.requests import validated_v1, validated_v2
from tidegate.baseline import OTHER, Baseline, CategoryBins, NumericBins
from tidegate.batch import Batch
from tidegate.contract import Contract
from tidegate_serving.errors import RequestError, Violation
from tidegate_serving.observability.drift_monitor import (
    COUNTING_DELAY,
    MAX_BUFFERED_VALUES,
    MAX_CPU_FRACTION,
    MAX_INITIAL_VIOLATION_SERIES,
    MAX_STEP_SECONDS,
    MIN_WINDOW_ROWS,
    MIN_WINDOW_SECONDS,
    STEP_PAUSE,
    DriftMonitor,
)

NUMBERS = NumericBins(np.array([0.0], np.float32), np.array([50, 50, 0]))
TEXTS = CategoryBins(("blue", "red", "other"), {"": 3, "blue": 0, "red": 1}, np.array([50, 50, 0, 0]))
LABELS = CategoryBins(("0", "1", "other"), {"": 3, "0": 0, "1": 1}, np.array([50, 50, 0, 0]))
MATRIX_BASELINE = Baseline({"a": NUMBERS, "b": NUMBERS}, LABELS)
MIXED_BASELINE = Baseline(
    {name: TEXTS if name in ("colour", "city") else NUMBERS for name in MIXED.feature_names}, LABELS
)
MAX_BUFFERED_ROWS = MAX_BUFFERED_VALUES // len(MATRIX.features)
HALF = MIN_WINDOW_ROWS // 2
NOW = 1_800_000_000.0

Scrape = dict[tuple[str, ...], float]
"""The values of one scrape by sample name and label values."""


class Bench:
    """A drift monitor with a registry of its own and with clocks that only a test moves."""

    def __init__(
        self,
        baseline: Baseline = MATRIX_BASELINE,
        contract: Contract = MATRIX,
        cpu_clock: Callable[[], float] | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.clock = FakeClock()
        self.delays: list[float] = []
        """The delays of the counting, in seconds."""
        self._patched: list[asyncio.AbstractEventLoop] = []
        self.monitor = DriftMonitor(
            contract, baseline, self.registry, self.clock, cpu_clock or FakeClock(), lambda: NOW
        )

    def call_later_at_once(self) -> None:
        """Make the running event loop ignore delays, and record them."""
        loop = asyncio.get_running_loop()
        if loop not in self._patched:
            self._patched.append(loop)
            call_later = loop.call_later

            def call_at_once(delay: float, *call: Any) -> asyncio.TimerHandle:
                self.delays.append(delay)
                return call_later(0, *call)

            loop.call_later = call_at_once  # type: ignore[assignment]

    def scrape(self) -> Scrape:
        return {
            (sample.name.removeprefix("tidegate_"), *sample.labels.values()): sample.value
            for family in self.registry.collect()
            for sample in family.samples
        }

    async def count(self, batch: Batch, labels: ArrayLike) -> Scrape:
        """Record a batch, count it without delay, and return a scrape."""
        self.call_later_at_once()
        self.monitor.record_batch(batch, {"label": np.asarray(labels)})
        while not self.monitor.idle:
            await asyncio.sleep(0)
        return self.scrape()


def rows(a: Sequence[float], b: Sequence[float]) -> Batch:
    return Batch({"input-0": np.array([a, b], np.float32).T})


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


EVEN = rows([-1, 1] * HALF, [-1, 1] * HALF)
SHIFTED = rows([1, 1] * HALF, [-1, 1] * HALF)


def test_drift_below_window_rows_has_no_samples() -> None:
    async def scenario() -> None:
        bench = Bench()
        before = await bench.count(EVEN[: MIN_WINDOW_ROWS - 1], [0] * (MIN_WINDOW_ROWS - 1))
        assert ("feature_drift_psi", "a") not in before
        assert ("prediction_drift_psi",) not in before
        assert before["drift_window_rows",] == 0
        after = await bench.count(EVEN[:1], [0])
        assert {("feature_drift_psi", "a"), ("prediction_drift_psi",)} <= set(after)
        assert after["drift_window_rows",] == MIN_WINDOW_ROWS
        assert after["drift_window_end_timestamp_seconds",] == NOW

    run(scenario)


def test_drift_shifted_feature_has_index_others_have_zero() -> None:
    async def scenario() -> None:
        scrape = await Bench().count(SHIFTED, [0, 1] * HALF)
        assert scrape["feature_drift_psi", "a"] > 1
        assert scrape["feature_drift_psi", "b"] == 0
        assert scrape["prediction_drift_psi",] == 0

    run(scenario)


def test_drift_later_window_needs_min_seconds() -> None:
    async def scenario() -> None:
        bench = Bench()
        first = await bench.count(EVEN, [0, 1] * HALF)
        assert first["feature_drift_psi", "a"] == 0
        early = await bench.count(SHIFTED, [0, 1] * HALF)
        assert early["feature_drift_psi", "a"] == 0
        bench.clock.advance(MIN_WINDOW_SECONDS)
        late = await bench.count(SHIFTED[:1], [0])
        assert late["feature_drift_psi", "a"] > 1
        assert late["drift_window_rows",] == MIN_WINDOW_ROWS + 1

    run(scenario)


def test_monitor_full_buffer_drops_and_counts_rows() -> None:
    async def scenario() -> None:
        bench = Bench()
        size = MAX_BUFFERED_ROWS - 1
        bench.call_later_at_once()
        bench.monitor.record_batch(rows([0.0] * size, [0.0] * size), {"label": np.zeros(size, int)})
        full = await bench.count(rows([0.0] * 5, [0.0] * 5), [1] * 5)
        assert full["drift_rows_total", "counted"] == MAX_BUFFERED_ROWS
        assert full["drift_rows_total", "dropped"] == 4
        assert full["predictions_total", "1"] == 1
        emptied = await bench.count(EVEN[:1], [0])
        assert emptied["drift_rows_total", "counted"] == MAX_BUFFERED_ROWS + 1

    run(scenario)


def test_monitor_full_buffer_keeps_no_dropped_rows() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.call_later_at_once()
        size = MAX_BUFFERED_ROWS + 1
        matrix, labels = np.zeros((size, 2), np.float32), np.zeros(size, int)
        bench.monitor.record_batch(Batch({"input-0": matrix}), {"label": labels})
        whole = weakref.ref(matrix), weakref.ref(labels)
        del matrix, labels
        assert [array() for array in whole] == [None, None]
        counted = await bench.count(EVEN[:1], [0])
        assert counted["drift_rows_total", "counted"] == MAX_BUFFERED_ROWS

    run(scenario)


@settings(max_examples=10)
@given(st.permutations([0, 1, 2, 3]), st.lists(st.integers(1, 400), min_size=4, max_size=4))
def test_monitor_order_of_batches_changes_nothing(order: list[int], sizes: list[int]) -> None:
    batches = [rows([index - 1.5] * size, [1.5 - index] * size) for index, size in enumerate(sizes)]

    async def scrape_in(indices: Sequence[int]) -> Scrape:
        bench = Bench()
        await bench.count(EVEN, [0] * MIN_WINDOW_ROWS)  # ends the first window
        for index in indices:
            await bench.count(batches[index], [index % 2] * sizes[index])
        bench.clock.advance(MIN_WINDOW_SECONDS)
        return await bench.count(EVEN, [0] * MIN_WINDOW_ROWS)

    async def scenario() -> None:
        assert await scrape_in(order) == await scrape_in(range(4))

    run(scenario)


def stepping_bench() -> Bench:
    """Return a bench whose every column uses up the time of a step."""
    cpu_seconds = itertools.count(step=MAX_STEP_SECONDS)
    return Bench(cpu_clock=lambda: next(cpu_seconds))


def test_monitor_long_counting_takes_several_steps() -> None:
    async def scenario() -> None:
        bench = stepping_bench()
        scrape = await bench.count(EVEN[:3], [0, 0, 0])
        # A pause follows each of the two columns and the predictions.
        assert bench.delays == [COUNTING_DELAY, STEP_PAUSE, STEP_PAUSE, STEP_PAUSE]
        assert scrape["drift_rows_total", "counted"] == 3

    run(scenario)


def test_monitor_long_counting_starts_less_often() -> None:
    async def scenario() -> None:
        bench = stepping_bench()
        await bench.count(EVEN[:3], [0, 0, 0])
        await bench.count(EVEN[:3], [0, 0, 0])
        cpu_seconds = 4 * MAX_STEP_SECONDS
        assert bench.delays[4] == pytest.approx(cpu_seconds / MAX_CPU_FRACTION)

    run(scenario)


def test_monitor_rows_between_steps_are_counted_later() -> None:
    async def scenario() -> None:
        bench = stepping_bench()
        bench.call_later_at_once()
        bench.monitor.record_batch(EVEN[:3], {"label": np.zeros(3, int)})
        while bench.scrape()["drift_rows_total", "counted"] == 0:
            await asyncio.sleep(0)
        assert not bench.monitor.idle
        scrape = await bench.count(EVEN[:2], [0, 0])
        assert scrape["drift_rows_total", "counted"] == 5

    run(scenario)


def test_monitor_another_event_loop_continues() -> None:
    bench = Bench()

    async def interrupted() -> None:
        bench.monitor.record_batch(EVEN[:2], {"label": np.zeros(2, int)})

    async def scenario() -> None:
        scrape = await bench.count(EVEN[:3], [0] * 3)
        assert scrape["drift_rows_total", "counted"] == 5

    run(interrupted)  # this event loop ends before it counts
    run(scenario)


def test_drift_covers_columns_of_every_datatype() -> None:
    flags = CategoryBins(("False", "True", "other"), {"": 3, "False": 0, "True": 1}, np.array([5, 5, 0, 0]))
    baseline = Baseline(
        {
            "size": NUMBERS,
            "count": NumericBins(np.array([3]), np.array([5, 5, 0])),
            "flag": flags,
            "colour": TEXTS,
            "city": TEXTS,
        },
        LABELS,
    )
    batch = Batch.from_rows(MIXED, [[1.0, 2, True, "red", "Ulm"], [None, 4, False, "blue", None]] * HALF)

    async def scenario() -> None:
        scrape = await Bench(baseline, MIXED).count(batch, [0, 1] * HALF)
        assert scrape["feature_drift_psi", "count"] == 0
        assert scrape["feature_drift_psi", "flag"] == 0
        assert scrape["feature_drift_psi", "colour"] == 0
        assert scrape["feature_drift_psi", "size"] > 1  # half of the values are missing
        assert scrape["feature_drift_psi", "city"] > 1  # no value is known

    run(scenario)


def test_predictions_of_regression_are_a_histogram() -> None:
    bins = NumericBins(np.array([-1.0, 2.0], np.float32), np.array([5, 5, 5, 0]))

    async def scenario() -> None:
        bench = Bench(Baseline({"a": NUMBERS, "b": NUMBERS}, bins))
        scrape = await bench.count(EVEN[:5], np.array([-3, -1, 0, 5, 6], np.float32))
        assert [scrape["prediction_value_bucket", bound] for bound in ("-1.0", "2.0", "+Inf")] == [2, 3, 5]

    run(scenario)


def test_scrape_has_no_value_or_category_of_a_feature() -> None:
    texts = CategoryBins(("Quito", "Lima", "other"), {"": 3, "Quito": 0, "Lima": 1}, np.array([5, 5, 0, 0]))
    features = {name: texts if name in ("colour", "city") else NUMBERS for name in MIXED.feature_names}
    batch = Batch.from_rows(MIXED, [[12345.5, 2, True, "Quito", "Timbuktu"]] * MIN_WINDOW_ROWS)

    async def scenario() -> None:
        bench = Bench(Baseline(features, LABELS), MIXED)
        await bench.count(batch, [0] * MIN_WINDOW_ROWS)
        text = generate_latest(bench.registry).decode()
        assert 'tidegate_feature_drift_psi{feature="city"}' in text
        for secret in ("12345", "Quito", "Lima", "Timbuktu"):
            assert secret not in text

    run(scenario)


def parse_error(document: dict[str, Any]) -> RequestError:
    """Return the error of a V1 request for the model with mixed features."""
    with pytest.raises(RequestError) as caught:
        validated_v1(MIXED, document)
    return caught.value


def violations(bench: Bench) -> dict[tuple[str, str], float]:
    """Return the violations that are not 0, by feature and kind."""
    return {
        (key[1], key[2]): value
        for key, value in bench.scrape().items()
        if key[0] == "input_violations_total" and value
    }


ROW = {"size": 1.0, "count": 2, "flag": True, "colour": "red", "city": "Oslo"}


@pytest.mark.parametrize(
    ("instance", "feature", "kind"),
    [
        ({key: value for key, value in ROW.items() if key != "count"}, "count", "missing_feature"),
        (ROW | {"colour": None}, "colour", "missing_feature"),
        (ROW | {"count": None}, "count", "missing_feature"),
        (ROW | {"Timbuktu": 1}, "other", "unexpected_feature"),
        (ROW | {"size": "1.5"}, "size", "type"),
        (ROW | {"count": 1.5}, "count", "type"),
        (ROW | {"flag": 1}, "flag", "type"),
        (ROW | {"size": 1e300}, "size", "out_of_range"),
        (ROW | {"count": 2**64}, "count", "out_of_range"),
        (ROW | {"colour": "green"}, "colour", "unknown_category"),
        (list(ROW.values())[1:], "other", "shape"),
    ],
)
def test_violation_is_counted_in_an_initial_series(instance: Any, feature: str, kind: str) -> None:
    bench = Bench(MIXED_BASELINE, MIXED)
    before = set(bench.scrape())
    assert ("input_violations_total", feature, kind) in before
    bench.monitor.record_error(parse_error({"instances": [instance]}))
    assert violations(bench) == {(feature, kind): 1}
    assert set(bench.scrape()) == before


def test_violation_of_tensor_has_feature_of_its_element() -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [1, "2"]}
    with pytest.raises(RequestError) as caught:
        validated_v2(INTEGERS, str({"inputs": [tensor]}).replace("'", '"').encode())
    assert (caught.value.feature, caught.value.violation) == ("b", Violation.TYPE)


def test_violation_infinity_is_non_finite() -> None:
    raw = np.array([np.inf, 1], "<f4").tobytes()
    tensor = b'{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}'
    header = b'{"inputs": [' + tensor + b"]}"
    with pytest.raises(RequestError) as caught:
        validated_v2(MATRIX, header + raw, len(header))
    assert (caught.value.feature, caught.value.violation) == ("a", Violation.NON_FINITE)


def test_violation_other_errors_are_not_counted() -> None:
    bench = Bench(MIXED_BASELINE, MIXED)
    bench.monitor.record_error(parse_error({}))
    assert violations(bench) == {}


def test_violation_names_from_clients_are_never_labels() -> None:
    bench = Bench(MIXED_BASELINE, MIXED)
    for number in range(50):
        bench.monitor.record_error(
            RequestError("No.", violation=Violation.UNEXPECTED_FEATURE, feature=f"mine {number}")
        )
    assert violations(bench) == {("other", "unexpected_feature"): 50}
    assert "mine" not in generate_latest(bench.registry).decode()


def test_first_scrape_has_every_outcome_and_label() -> None:
    scrape = Bench().scrape()
    assert {
        key: value for key, value in scrape.items() if key[0] in ("drift_rows_total", "predictions_total")
    } == {
        ("drift_rows_total", "counted"): 0,
        ("drift_rows_total", "dropped"): 0,
        ("predictions_total", "0"): 0,
        ("predictions_total", "1"): 0,
        ("predictions_total", "other"): 0,
    }


def wide_bench(width: int) -> Bench:
    """Return a bench for a model of this many float features."""
    wide = contract([{"name": f"f{index}", "datatype": "FP32"} for index in range(width)])
    return Bench(Baseline(dict.fromkeys(wide.feature_names, NUMBERS), LABELS), wide)


def test_first_scrape_violations_are_bounded() -> None:
    def series(bench: Bench) -> list[tuple[str, ...]]:
        return [key[1:] for key in bench.scrape() if key[0] == "input_violations_total"]

    assert len(series(wide_bench(30))) == 30 * 5 + 3 <= MAX_INITIAL_VIOLATION_SERIES
    assert {feature for feature, _ in series(wide_bench(300))} == {OTHER}


def test_violation_without_initial_series_is_counted() -> None:
    bench = wide_bench(300)
    bench.monitor.record_error(RequestError("No.", violation=Violation.TYPE, feature="f7"))
    assert violations(bench) == {("f7", "type"): 1}
