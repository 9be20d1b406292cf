# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The observer: what a model is asked and what it answers, counted beside the requests and not in them.

A request costs it an append to a short list. The counting comes later, on the same loop, in steps too short
to be felt; of more rows than it can follow it takes a sample, and says how many it left. It exposes how far a
feature has drifted, and no value, bin or category of any feature, whatever its sensitivity.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

import numpy as np
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract
from tidegate_serving.engines.base import Outputs
from tidegate_serving.errors import RequestError
from tidegate_serving.observability.baseline import (
    OTHER,
    Array,
    Baseline,
    CategoryBins,
    Counts,
    population_stability_index,
)

GATHER_SECONDS = 0.1
"""How long rows are kept until they are counted: short, because they hold on to their requests' bytes."""

GATHERED_VALUES = 5_000
"""How many values may wait; rows beyond are dropped. Counting so many takes about a millisecond."""

BUSY_SHARE = 0.01
"""Which part of a processor may go into counting. Where it takes longer, rows are gathered for longer."""

STEP_SECONDS = 0.000_5
"""After how long a step of counting lets the loop go on with requests, in ``PAUSE_SECONDS`` between."""

PAUSE_SECONDS = 0.005

WINDOW_ROWS = 1_000
"""How many rows a drift is measured on at least: fewer would show more chance than drift."""

WINDOW_SECONDS = 60.0
"""How long a window lasts at least, so that no single client's burst is one. The first need not."""


class DriftMonitor(Collector):
    """Counts what it is shown, for Prometheus. It is used from one event loop.

    Args:
        contract: What the model takes and gives. Only names of it become labels.
        references: How values were distributed in training.
        registry: Where the metrics are exposed.
        clock: Seconds, for how long a window has lasted.
        effort: Seconds of the processor's time, for how long a step has worked.
    """

    def __init__(
        self,
        contract: Contract,
        references: Baseline,
        registry: CollectorRegistry = REGISTRY,
        clock: Callable[[], float] = time.monotonic,
        effort: Callable[[], float] = time.thread_time,
    ) -> None:
        self._contract = contract
        self._names = frozenset(contract.feature_names)
        self._references = references
        self._clock = clock
        self._effort = effort
        self._room = max(1, GATHERED_VALUES // len(contract.features))
        self._waiting: list[tuple[Batch, Array]] = []
        self._waiting_rows = 0
        self._scheduled_on: asyncio.AbstractEventLoop | None = None
        self._counting: Iterator[None] = iter(())
        self._spent = 0.0
        self._delay = GATHER_SECONDS
        self._window = _Window(references)
        self._window_ends = -float("inf")
        self._drift = _Drift()
        self._predictions = np.zeros_like(references.prediction.expected)
        self._rows = {"counted": 0, "dropped": 0}
        self._violations: dict[tuple[str, str], int] = {}
        registry.register(self)

    def seen(self, batch: Batch, answers: Outputs) -> None:
        """Note rows and their answers, to be counted soon."""
        rows, room = len(batch), self._room - self._waiting_rows
        if rows > room:
            self._rows["dropped"] += rows - room
            if room == 0:
                return
            batch, rows = batch[:room], room
        self._waiting.append((batch, answers[self._contract.prediction.name][:rows]))
        self._waiting_rows += rows
        loop = asyncio.get_running_loop()
        if self._scheduled_on is not loop:
            self._schedule(loop)

    def record_error(self, error: RequestError) -> None:
        """Count a request that was refused for one of its values."""
        if error.violation is not None:
            feature = error.feature if error.feature in self._names else OTHER
            key = (str(feature), error.violation.value)
            self._violations[key] = self._violations.get(key, 0) + 1

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled_on = loop
        loop.call_later(self._delay, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._counting = self._count()
        self._step(loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count for a short while, and go on later if there is more."""
        started = self._effort()
        for _ in self._counting:
            if (spent := self._effort() - started) >= STEP_SECONDS:
                self._spent += spent
                loop.call_later(PAUSE_SECONDS, self._step, loop)
                return
        self._delay = max(GATHER_SECONDS, (self._spent + self._effort() - started) / BUSY_SHARE)
        self._spent = 0.0
        self._scheduled_on = None
        if self._waiting:  # it came in between two steps
            self._schedule(loop)

    def _count(self) -> Iterator[None]:
        """Count what waits, a column at a turn."""
        waiting, rows = self._waiting, self._waiting_rows
        self._waiting, self._waiting_rows = [], 0
        batches = [batch for batch, _ in waiting]
        if MATRIX in batches[0].arrays:
            matrix = np.concatenate([batch.arrays[MATRIX] for batch in batches])
            for index, name in enumerate(self._contract.feature_names):
                self._window.count(name, matrix[:, index])
                yield
        else:
            for name in self._contract.feature_names:
                self._window.count(name, np.concatenate([batch.arrays[name] for batch in batches]))
                yield
        found = self._references.prediction.count(np.concatenate([answers for _, answers in waiting]))
        self._predictions += found
        self._window.predictions += found
        self._window.rows += rows
        self._rows["counted"] += rows
        yield
        now = self._clock()
        if self._window.rows >= WINDOW_ROWS and now >= self._window_ends:
            self._drift = self._window.drift()
            self._window = _Window(self._references)
            self._window_ends = now + WINDOW_SECONDS

    def collect(self) -> Iterator[Metric]:
        """What has been counted so far, as Prometheus' client asks for it."""
        yield from self._drift.collect()
        rows = CounterMetricFamily(
            "tidegate_drift_rows",
            "Rows that predictions and drift were counted on, and rows left out because there were too many.",
            labels=["outcome"],
        )
        for outcome, number in self._rows.items():
            rows.add_metric([outcome], number)
        yield rows
        violations = CounterMetricFamily(
            "tidegate_input_violations",
            "Requests refused for a value, by the first feature concerned and by what is wrong with it.",
            labels=["feature", "kind"],
        )
        for key, number in tuple(self._violations.items()):
            violations.add_metric(key, number)
        yield violations
        bins = self._references.prediction
        if isinstance(bins, CategoryBins):
            predictions = CounterMetricFamily(
                "tidegate_predictions", "Answers by label, of the observed rows.", labels=["label"]
            )
            for name, number in zip(bins.names, self._predictions.tolist(), strict=False):
                predictions.add_metric([name], number)
            yield predictions
        else:
            # Without a sum: answers may be negative, and then it would not be a counter.
            bounds = [*(repr(float(edge)) for edge in bins.edges), "+Inf"]
            totals = np.cumsum(self._predictions)[[*range(len(bins.edges)), -1]].tolist()
            yield HistogramMetricFamily(
                "tidegate_prediction_value",
                "Answers of the observed rows; the buckets' bounds are the deciles in training.",
                buckets=list(zip(bounds, totals, strict=True)),
            )


class _Window:
    """Counts of rows since it was opened."""

    def __init__(self, references: Baseline) -> None:
        self.rows = 0
        self.predictions: Counts = np.zeros_like(references.prediction.expected)
        self._references = references
        self._features = {name: np.zeros_like(bins.expected) for name, bins in references.features.items()}

    def count(self, name: str, values: Array) -> None:
        self._features[name] += self._references.features[name].count(values)

    def drift(self) -> "_Drift":
        """How far the window is from training."""
        known = self._references
        return _Drift(
            self.rows,
            time.time(),
            {
                name: population_stability_index(bins.expected, self._features[name])
                for name, bins in known.features.items()
            },
            population_stability_index(known.prediction.expected, self.predictions),
        )


class _Drift:
    """What the last full window showed; before there is one, nothing."""

    def __init__(
        self,
        rows: int = 0,
        time: float | None = None,
        features: dict[str, float] | None = None,
        prediction: float | None = None,
    ) -> None:
        self._rows = rows
        self._time = time
        self._features = features or {}
        self._prediction = prediction

    def collect(self) -> Iterator[Metric]:
        features = GaugeMetricFamily(
            "tidegate_feature_drift_psi",
            "Population stability index of a feature, the last full window against training.",
            labels=["feature"],
        )
        for name, index in self._features.items():
            features.add_metric([name], index)
        yield features
        for name, text, value in (
            (
                "tidegate_prediction_drift_psi",
                "Population stability index of the answers, the last full window against training.",
                self._prediction,
            ),
            (
                "tidegate_drift_window_end_timestamp_seconds",
                "When the last full window ended, in seconds since 1970.",
                self._time,
            ),
        ):
            gauge = GaugeMetricFamily(name, text)
            if value is not None:
                gauge.add_metric([], value)
            yield gauge
        yield GaugeMetricFamily(
            "tidegate_drift_window_rows", "Rows of the last full window; 0 before there is one.", self._rows
        )
