# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from tidegate_serving.errors import RequestError, Violation
from tidegate_serving.observability import drift_monitor
from tidegate_serving.observability.baseline import Baseline, CategoryBins, NumberBins
from tidegate_serving.observability.drift_monitor import WINDOW_ROWS, WINDOW_SECONDS, DriftMonitor

from tests.support.contracts import INTEGERS, MATRIX, MIXED
from tests.support.requests import validated_v1, validated_v2
from tidegate.batch import Batch

NUMBERS = NumberBins(np.array([0.0], np.float32), np.array([50, 50, 0]))
TEXTS = CategoryBins(("blue", "red", "other"), {"": 3, "blue": 0, "red": 1}, np.array([50, 50, 0, 0]))
LABELS = CategoryBins(("0", "1", "other"), {"": 3, "0": 0, "1": 1}, np.array([50, 50, 0, 0]))
ROOM = drift_monitor.GATHERED_VALUES // len(MATRIX.features)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_monitor, "GATHER_SECONDS", 0)
    monkeypatch.setattr(drift_monitor, "PAUSE_SECONDS", 0)


@dataclass
class Observed:
    """An observer, its registry, and a clock that only tests move."""

    references: Baseline
    contract: Any = MATRIX
    now: float = 100.0

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.observer = DriftMonitor(self.contract, self.references, self.registry, lambda: self.now)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    async def show(self, batch: Batch, labels: Any) -> None:
        self.observer.seen(batch, {"label": np.asarray(labels)})
        while self.observer._scheduled_on is not None:
            await asyncio.sleep(0)


@pytest.fixture
def matrix() -> Observed:
    return Observed(Baseline({"a": NUMBERS, "b": NUMBERS}, LABELS))


def rows(a: list[float], b: list[float]) -> Batch:
    return Batch({"input-0": np.array([a, b], np.float32).T})


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


EVEN = rows([-1, 1] * (WINDOW_ROWS // 2), [-1, 1] * (WINDOW_ROWS // 2))
SHIFTED = rows([1, 1] * (WINDOW_ROWS // 2), [-1, 1] * (WINDOW_ROWS // 2))


def test_nothing_is_said_of_drift_before_there_are_enough_rows(matrix: Observed) -> None:
    async def story() -> None:
        await matrix.show(EVEN[: WINDOW_ROWS - 1], [0] * (WINDOW_ROWS - 1))
        assert matrix.value("tidegate_feature_drift_psi", feature="a") is None
        assert matrix.value("tidegate_prediction_drift_psi") is None
        assert matrix.value("tidegate_drift_window_rows") == 0
        await matrix.show(EVEN[:1], [0])
        assert matrix.value("tidegate_feature_drift_psi", feature="a") is not None
        assert matrix.value("tidegate_drift_window_rows") == WINDOW_ROWS
        assert (matrix.value("tidegate_drift_window_end_timestamp_seconds") or 0) > 1_700_000_000

    run(story)


def test_a_shifted_feature_drifts_and_the_others_do_not(matrix: Observed) -> None:
    async def story() -> None:
        await matrix.show(SHIFTED, [0, 1] * (WINDOW_ROWS // 2))
        assert (matrix.value("tidegate_feature_drift_psi", feature="a") or 0) > 1
        assert matrix.value("tidegate_feature_drift_psi", feature="b") == 0
        assert matrix.value("tidegate_prediction_drift_psi") == 0

    run(story)


def test_the_first_window_is_shown_at_once_and_a_later_one_when_it_has_lasted(matrix: Observed) -> None:
    async def story() -> None:
        await matrix.show(EVEN, [0, 1] * (WINDOW_ROWS // 2))
        assert matrix.value("tidegate_feature_drift_psi", feature="a") == 0
        await matrix.show(SHIFTED, [0, 1] * (WINDOW_ROWS // 2))
        assert matrix.value("tidegate_feature_drift_psi", feature="a") == 0
        matrix.now += WINDOW_SECONDS
        await matrix.show(SHIFTED[:1], [0])
        assert (matrix.value("tidegate_feature_drift_psi", feature="a") or 0) > 1
        assert matrix.value("tidegate_drift_window_rows") == WINDOW_ROWS + 1

    run(story)


def test_rows_that_are_too_many_are_dropped_and_counted_as_such(matrix: Observed) -> None:
    async def story() -> None:
        size = ROOM - 1
        matrix.observer.seen(rows([0.0] * size, [0.0] * size), {"label": np.zeros(size, int)})
        await matrix.show(rows([0.0] * 5, [0.0] * 5), [1] * 5)
        assert matrix.value("tidegate_drift_rows_total", outcome="counted") == ROOM
        assert matrix.value("tidegate_drift_rows_total", outcome="dropped") == 4
        assert matrix.value("tidegate_predictions_total", label="1") == 1
        await matrix.show(EVEN[:1], [0])  # and there is room again
        assert matrix.value("tidegate_drift_rows_total", outcome="counted") == ROOM + 1

    run(story)


@settings(max_examples=10, deadline=None)
@given(st.permutations([0, 1, 2, 3]), st.lists(st.integers(1, 400), min_size=4, max_size=4))
def test_the_order_of_batches_changes_nothing(order: list[int], sizes: list[int]) -> None:
    parts = [rows([index - 1.5] * size, [1.5 - index] * size) for index, size in enumerate(sizes)]

    async def shown(indices: Any) -> bytes:
        observed = Observed(Baseline({"a": NUMBERS, "b": NUMBERS}, LABELS))
        await observed.show(EVEN, [0] * WINDOW_ROWS)  # ends the first window
        for index in indices:
            await observed.show(parts[index], [index % 2] * sizes[index])
        observed.now += WINDOW_SECONDS
        await observed.show(EVEN, [0] * WINDOW_ROWS)
        lines = generate_latest(observed.registry).splitlines()
        return b"\n".join(line for line in lines if b"timestamp" not in line)

    async def story() -> None:
        assert await shown(order) == await shown(range(4))

    run(story)


def test_a_step_ends_when_its_time_is_up_and_the_next_goes_on() -> None:
    ticks = itertools.count()
    registry = CollectorRegistry()
    observer = DriftMonitor(
        MATRIX, Baseline({"a": NUMBERS, "b": NUMBERS}, LABELS), registry, effort=lambda: float(next(ticks))
    )

    async def story() -> None:
        loop, steps = asyncio.get_running_loop(), 0
        later = loop.call_later

        def counted(delay: float, *call: Any) -> Any:
            nonlocal steps
            steps += 1
            return later(0, *call)

        loop.call_later = counted  # type: ignore[assignment]
        observer.seen(EVEN[:3], {"label": np.zeros(3, int)})
        while observer._scheduled_on is not None:
            await asyncio.sleep(0)
        assert steps > 3  # one to begin, and one after each column
        assert registry.get_sample_value("tidegate_drift_rows_total", {"outcome": "counted"}) == 3

    run(story)


def test_another_event_loop_counts_too(matrix: Observed) -> None:
    async def interrupted() -> None:
        matrix.observer.seen(EVEN[:2], {"label": np.zeros(2, int)})

    async def story() -> None:
        await matrix.show(EVEN[:3], [0] * 3)
        assert matrix.value("tidegate_drift_rows_total", outcome="counted") == 5

    run(interrupted)  # ends before it has counted
    run(story)


def test_columns_of_all_kinds_are_counted() -> None:
    flags = CategoryBins(("False", "True", "other"), {"": 3, "False": 0, "True": 1}, np.array([5, 5, 0, 0]))
    known = {
        "size": NUMBERS,
        "count": NumberBins(np.array([3]), np.array([5, 5, 0])),
        "flag": flags,
        "colour": TEXTS,
        "city": TEXTS,
    }
    observed = Observed(Baseline(known, LABELS), MIXED)
    batch = Batch.from_rows(MIXED, [[1.0, 2, True, "red", "Ulm"], [None, 4, False, "blue", None]] * 500)

    async def story() -> None:
        await observed.show(batch, [0, 1] * 500)
        assert observed.value("tidegate_feature_drift_psi", feature="count") == 0
        assert observed.value("tidegate_feature_drift_psi", feature="flag") == 0
        assert observed.value("tidegate_feature_drift_psi", feature="colour") == 0
        assert (
            observed.value("tidegate_feature_drift_psi", feature="size") or 0
        ) > 1  # half of it is missing
        assert (
            observed.value("tidegate_feature_drift_psi", feature="city") or 0
        ) > 1  # and here none is known

    run(story)


def test_answers_of_a_regression_are_a_histogram_by_the_deciles_of_training() -> None:
    bins = NumberBins(np.array([-1.0, 2.0], np.float32), np.array([5, 5, 5, 0]))
    observed = Observed(Baseline({"a": NUMBERS, "b": NUMBERS}, bins))

    async def story() -> None:
        await observed.show(EVEN[:5], np.array([-3, -1, 0, 5, 6], np.float32))
        buckets = [
            observed.value("tidegate_prediction_value_bucket", le=bound) for bound in ("-1.0", "2.0", "+Inf")
        ]
        assert buckets == [2, 3, 5]

    run(story)


def test_no_value_and_no_category_of_a_feature_is_exposed() -> None:
    texts = CategoryBins(("Quito", "Lima", "other"), {"": 3, "Quito": 0, "Lima": 1}, np.array([5, 5, 0, 0]))
    known = {name: texts if name in ("colour", "city") else NUMBERS for name in MIXED.feature_names}
    observed = Observed(Baseline(known, LABELS), MIXED)
    batch = Batch.from_rows(MIXED, [[12345.5, 2, True, "Quito", "Timbuktu"]] * WINDOW_ROWS)

    async def story() -> None:
        await observed.show(batch, [0] * WINDOW_ROWS)
        text = generate_latest(observed.registry).decode()
        assert 'tidegate_feature_drift_psi{feature="city"}' in text
        for secret in ("12345", "Quito", "Lima", "Timbuktu"):
            assert secret not in text

    run(story)


def refusals(document: dict[str, Any], contract: Any) -> RequestError:
    with pytest.raises(RequestError) as refusal:
        validated_v1(contract, document)
    return refusal.value


@pytest.fixture
def mixed() -> Observed:
    known = {name: TEXTS if name in ("colour", "city") else NUMBERS for name in MIXED.feature_names}
    return Observed(Baseline(known, LABELS), MIXED)


ROW = {"size": 1.0, "count": 2, "flag": True, "colour": "red", "city": "Oslo"}


@pytest.mark.parametrize(
    ("instance", "feature", "kind"),
    [
        ({key: value for key, value in ROW.items() if key != "count"}, "count", "missing"),
        (ROW | {"colour": None}, "colour", "missing"),
        (ROW | {"count": None}, "count", "missing"),
        (ROW | {"Timbuktu": 1}, "other", "extra"),
        (ROW | {"size": "1.5"}, "size", "type"),
        (ROW | {"count": 1.5}, "count", "type"),
        (ROW | {"flag": 1}, "flag", "type"),
        (ROW | {"size": 1e300}, "size", "range"),
        (ROW | {"count": 2**64}, "count", "range"),
        (ROW | {"colour": "green"}, "colour", "category"),
        (list(ROW.values())[1:], "other", "shape"),
    ],
)
def test_a_refusal_for_an_input_counts_by_feature_and_kind(
    instance: Any, feature: str, kind: str, mixed: Observed
) -> None:
    mixed.observer.record_error(refusals({"instances": [instance]}, MIXED))
    assert mixed.value("tidegate_input_violations_total", feature=feature, kind=kind) == 1
    samples = [
        line for line in generate_latest(mixed.registry).decode().splitlines() if "violations_total{" in line
    ]
    assert len(samples) == 1


def test_a_tensor_is_counted_by_the_feature_that_the_element_belongs_to() -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [1, "2"]}
    with pytest.raises(RequestError) as refusal:
        validated_v2(INTEGERS, str({"inputs": [tensor]}).replace("'", '"').encode())
    assert (refusal.value.feature, refusal.value.violation) == ("b", Violation.TYPE)


def test_infinity_is_a_kind_of_its_own() -> None:
    raw = np.array([np.inf, 1], "<f4").tobytes()
    tensor = b'{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}'
    header = b'{"inputs": [' + tensor + b"]}"
    with pytest.raises(RequestError) as refusal:
        validated_v2(MATRIX, header + raw, len(header))
    assert (refusal.value.feature, refusal.value.violation) == ("a", Violation.NON_FINITE)


def test_a_refusal_for_another_reason_is_no_violation(mixed: Observed) -> None:
    mixed.observer.record_error(refusals({}, MIXED))
    assert "violations_total{" not in generate_latest(mixed.registry).decode()


def test_names_that_clients_write_never_become_labels(mixed: Observed) -> None:
    for number in range(50):
        mixed.observer.record_error(
            RequestError("No.", violation=Violation.UNEXPECTED_FEATURE, feature=f"mine {number}")
        )
    assert mixed.value("tidegate_input_violations_total", feature="other", kind="extra") == 50
    assert "mine" not in generate_latest(mixed.registry).decode()
