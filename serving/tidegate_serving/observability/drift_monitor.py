# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The drift monitor: counts of a model's inputs and predictions, and their drift from training.

A batch costs the request path one append to a list. Counting follows later, on the same event loop, in steps
that are shorter than a health probe. If more rows arrive than the monitor may count, it counts a sample and
exposes the number of dropped rows.

The monitor exposes the drift of a feature, and never a value, bin or category of a feature of any
sensitivity.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tidegate.baseline import (
    OTHER,
    Array,
    Baseline,
    CategoryBins,
    Counts,
    population_stability_index,
)
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract
from tidegate_serving.errors import RequestError, Violation

COUNTING_DELAY = 0.1
"""Time from the first buffered row until counting starts, in seconds.

Short, because buffered rows keep the bytes of their requests in memory.
"""

MAX_BUFFERED_VALUES = 5_000
"""Values that wait to be counted, as rows times features. Further rows are dropped."""

MAX_CPU_FRACTION = 0.01
"""Fraction of one CPU that counting may use. If counting takes longer, it starts less often."""

MAX_STEP_SECONDS = 0.000_5
"""CPU time after which counting returns to the event loop, in seconds."""

STEP_PAUSE = 0.005
"""Time between two steps of counting, in seconds."""

MIN_WINDOW_ROWS = 1_000
"""Rows of a window. With fewer rows the index would show chance rather than drift."""

MIN_WINDOW_SECONDS = 60.0
"""Duration of a window after the first, in seconds, so that a burst of one client does not fill a window."""

MAX_INITIAL_VIOLATION_SERIES = 200
"""Series of ``tidegate_input_violations_total`` that exist before their first event."""


class DriftMonitor(Collector):
    """Counts of inputs, predictions and violations for Prometheus, used from one event loop.

    ``tidegate_input_violations_total`` has one series per feature and kind, from the first scrape on, if
    these are at most ``MAX_INITIAL_VIOLATION_SERIES``. A model with hundreds of features would expose
    thousands of series per replica, and nearly all would stay 0. There a series of a feature begins with its
    first violation, which ``increase()`` does not see; only the series of ``other`` exist from the first
    scrape on.

    Args:
        contract: The contract of the model. Only its names become labels.
        baseline: The distributions in training.
        registry: The registry that exposes the metrics.
        clock: Seconds of a monotonic clock, for the duration of a window.
        cpu_clock: CPU seconds of this thread, for the duration of a step.
        wall_clock: Seconds since 1970, for the end of a window.
    """

    def __init__(
        self,
        contract: Contract,
        baseline: Baseline,
        registry: CollectorRegistry = REGISTRY,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._contract = contract
        self._baseline = baseline
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._wall_clock = wall_clock
        # The buffer
        self._max_buffered_rows = max(1, MAX_BUFFERED_VALUES // len(contract.features))
        self._buffer: list[tuple[Batch, Array]] = []
        self._buffered_rows = 0
        # The counting
        self._scheduled_on: asyncio.AbstractEventLoop | None = None
        self._counting: Iterator[None] = iter(())
        self._cpu_seconds = 0.0
        self._delay = COUNTING_DELAY
        # The counts
        self._window = _Window(baseline)
        self._window_ends = -float("inf")
        self._drift = _Drift()
        self._predictions = np.zeros_like(baseline.prediction.expected)
        self._rows = {"counted": 0, "dropped": 0}
        self._violations = dict.fromkeys(_initial_violations(contract), 0)
        registry.register(self)

    @property
    def idle(self) -> bool:
        """Whether all buffered rows are counted."""
        return self._scheduled_on is None

    def record_batch(self, batch: Batch, outputs: Mapping[str, Array]) -> None:
        """Buffer a batch and its outputs, arrays ``[rows]`` or ``[rows, width]``, to be counted soon."""
        rows = min(len(batch), self._max_buffered_rows - self._buffered_rows)
        dropped = len(batch) - rows
        self._rows["dropped"] += dropped
        if rows == 0:
            return
        predictions = outputs[self._contract.prediction.name][:rows]
        if predictions.ndim == 2:
            predictions = predictions[:, 0]
        if dropped:  # copies, because views would keep the whole batch in memory
            batch, predictions = batch.take(np.arange(rows)), predictions.copy()
        self._buffer.append((batch, predictions))
        self._buffered_rows += rows
        loop = asyncio.get_running_loop()
        if self._scheduled_on is not loop:
            self._schedule(loop)

    def record_error(self, error: RequestError) -> None:
        """Count an error response that an input value caused."""
        if error.violation is not None:
            feature = error.feature if error.feature in self._baseline.features else OTHER
            key = (str(feature), error.violation.value)
            self._violations[key] = self._violations.get(key, 0) + 1

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled_on = loop
        loop.call_later(self._delay, self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._counting = self._count()
        self._step(loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count until the step's time is used, and schedule the next step if values are left."""
        started_at = self._cpu_clock()
        for _ in self._counting:
            if (seconds := self._cpu_clock() - started_at) >= MAX_STEP_SECONDS:
                self._cpu_seconds += seconds
                loop.call_later(STEP_PAUSE, self._step, loop)
                return
        total_seconds = self._cpu_seconds + self._cpu_clock() - started_at
        self._delay = max(COUNTING_DELAY, total_seconds / MAX_CPU_FRACTION)
        self._cpu_seconds = 0.0
        self._scheduled_on = None
        if self._buffer:  # rows that arrived between two steps
            self._schedule(loop)

    def _count(self) -> Iterator[None]:
        """Count the buffered rows, and yield after each column."""
        buffer, rows = self._buffer, self._buffered_rows
        self._buffer, self._buffered_rows = [], 0
        batches = [batch for batch, _ in buffer]
        if MATRIX in batches[0].arrays:
            matrix = np.concatenate([batch.arrays[MATRIX] for batch in batches])
            for index, name in enumerate(self._contract.feature_names):
                self._window.count(name, matrix[:, index])
                yield
        else:
            for name in self._contract.feature_names:
                self._window.count(name, np.concatenate([batch.arrays[name] for batch in batches]))
                yield
        counts = self._baseline.prediction.count(np.concatenate([predictions for _, predictions in buffer]))
        self._predictions += counts
        self._window.predictions += counts
        self._window.rows += rows
        self._rows["counted"] += rows
        yield
        now = self._clock()
        if self._window.rows >= MIN_WINDOW_ROWS and now >= self._window_ends:
            self._drift = self._window.drift(self._wall_clock())
            self._window = _Window(self._baseline)
            self._window_ends = now + MIN_WINDOW_SECONDS

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of a scrape."""
        yield from self._drift.collect()
        rows = CounterMetricFamily(
            "tidegate_drift_rows",
            "Rows that predictions and drift are counted on, and rows dropped because there were too many.",
            labels=["outcome"],
        )
        for outcome, count in self._rows.items():
            rows.add_metric([outcome], count)
        yield rows
        violations = CounterMetricFamily(
            "tidegate_input_violations",
            "Error responses because of an input value, by the first feature concerned and by kind.",
            labels=["feature", "kind"],
        )
        for labels, count in self._violations.items():
            violations.add_metric(labels, count)
        yield violations
        yield self._collect_predictions()

    def _collect_predictions(self) -> Metric:
        bins = self._baseline.prediction
        if isinstance(bins, CategoryBins):
            predictions = CounterMetricFamily(
                "tidegate_predictions", "Predictions of the counted rows, by label.", labels=["label"]
            )
            # The bin of missing values has no name: a prediction is never missing.
            for name, count in zip(bins.names, self._predictions.tolist(), strict=False):
                predictions.add_metric([name], count)
            return predictions
        # Without a sum, because predictions may be negative and a sum that falls is not a counter.
        bounds = [*(repr(float(edge)) for edge in bins.edges), "+Inf"]
        totals = np.cumsum(self._predictions)[[*range(len(bins.edges)), -1]].tolist()
        return HistogramMetricFamily(
            "tidegate_prediction_value",
            "Predictions of the counted rows. The buckets' upper bounds are the deciles in training.",
            buckets=list(zip(bounds, totals, strict=True)),
        )


def _initial_violations(contract: Contract) -> list[tuple[str, str]]:
    """Return the feature and kind of each violation series that exists from the first scrape on."""
    shared = (Violation.SHAPE, Violation.TYPE)
    other = [(OTHER, kind.value) for kind in (Violation.UNEXPECTED_FEATURE, *shared)]
    known = []
    for feature in contract.features:
        kinds = [*shared, Violation.MISSING_FEATURE, Violation.OUT_OF_RANGE]
        if feature.datatype.is_float:
            kinds.append(Violation.NON_FINITE)
        if feature.categories is not None and feature.handle_unknown == "reject":
            kinds.append(Violation.UNKNOWN_CATEGORY)
        known += [(feature.name, kind.value) for kind in kinds]
    return [*known, *other] if len(known) + len(other) <= MAX_INITIAL_VIOLATION_SERIES else other


class _Window:
    """Counts of the rows since the previous window ended."""

    def __init__(self, baseline: Baseline) -> None:
        self.rows = 0
        self.predictions: Counts = np.zeros_like(baseline.prediction.expected)
        self._baseline = baseline
        self._features = {name: np.zeros_like(bins.expected) for name, bins in baseline.features.items()}

    def count(self, name: str, values: Array) -> None:
        """Count the values ``[rows]`` of a feature."""
        self._features[name] += self._baseline.features[name].count(values)

    def drift(self, now: float) -> "_Drift":
        """Return the drift of this window from training.

        Args:
            now: The end of the window, in seconds since 1970.
        """
        return _Drift(
            self.rows,
            now,
            {
                name: population_stability_index(bins.expected, self._features[name])
                for name, bins in self._baseline.features.items()
            },
            population_stability_index(self._baseline.prediction.expected, self.predictions),
        )


@dataclass(frozen=True, slots=True)
class _Drift:
    """The drift of the last full window; empty before there is one."""

    rows: int = 0
    ended_at: float | None = None
    """The end of the window, in seconds since 1970."""
    features: Mapping[str, float] = field(default_factory=dict)
    """The index of each feature."""
    prediction: float | None = None
    """The index of the predictions."""

    def collect(self) -> Iterator[Metric]:
        features = GaugeMetricFamily(
            "tidegate_feature_drift_psi",
            "Population stability index of a feature, the last full window against training.",
            labels=["feature"],
        )
        for name, index in self.features.items():
            features.add_metric([name], index)
        yield features
        for name, text, value in (
            (
                "tidegate_prediction_drift_psi",
                "Population stability index of the predictions, the last full window against training.",
                self.prediction,
            ),
            (
                "tidegate_drift_window_end_timestamp_seconds",
                "End of the last full window, in seconds since 1970.",
                self.ended_at,
            ),
        ):
            gauge = GaugeMetricFamily(name, text)
            if value is not None:
                gauge.add_metric([], value)
            yield gauge
        yield GaugeMetricFamily(
            "tidegate_drift_window_rows", "Rows of the last full window; 0 before there is one.", self.rows
        )
