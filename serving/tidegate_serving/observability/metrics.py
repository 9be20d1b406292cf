# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics: the counters of one server, for Prometheus. Those of mirrored requests are a set of their own.

Labels have few, known values: protocol, status code and reason, and no text from clients. Every known label
set has a series from the first scrape on, with the value 0, because ``increase()`` does not see the event
that creates a series.

Counting adds to plain numbers, from one event loop only. Prometheus' objects are built per scrape.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import prometheus_client
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from tidegate_serving.loading.loader import SCIKIT_LEARN, LoadedModel
from tidegate_serving.observability.histogram import Histogram
from tidegate_serving.observability.request_metrics import DURATION_BUCKETS, RequestMetrics

STAGES = ("preprocess", "predict", "postprocess")
"""KServe's stages: parsing a request, waiting and computing, encoding the response."""

BATCH_DURATION_BUCKETS = (0.0001, 0.00025, *DURATION_BUCKETS)
"""Upper bounds in seconds. A compiled model computes a batch in less than half a millisecond."""

BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
"""Upper bounds in rows."""


class Metrics(RequestMetrics):
    """The counters of one server.

    Args:
        registry: The registry that exposes the metrics.
        model: The model's name, for KServe's own histograms by stage (``request_predict_seconds`` and so on),
            which dashboards for KServe read.
        replaced: KServe's collectors of these names. They are removed from the registry.
        clock: Seconds of a monotonic clock, the one of ``started_at`` and ``arrived_at`` of requests.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        model: str = "",
        replaced: Iterable[Any] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(clock=clock)
        self._model = model
        self._batch_sizes = Histogram(BATCH_SIZE_BUCKETS)
        self._batch_durations = Histogram(BATCH_DURATION_BUCKETS)
        self._queue_durations = Histogram(DURATION_BUCKETS)
        self._stages = {stage: Histogram(prometheus_client.Histogram.DEFAULT_BUCKETS) for stage in STAGES}
        self._parse_seconds, self._parsed_requests = 0.0, 0
        self._loop_wait_seconds, self._loop_wait_requests = 0.0, 0
        self.queued_rows: Callable[[], int] = lambda: 0
        """Return the rows that wait in the queue."""
        for collector in replaced:
            with suppress(KeyError):  # an earlier model of this process has removed it
                registry.unregister(collector)
        self._load_duration = Gauge(
            "tidegate_model_load_duration_seconds",
            "Time from the start of the bundle's verification until the model is built.",
            registry=registry,
        )
        self._model_info = Gauge(
            "tidegate_model_info",
            "The served model in the labels. The value is 1.",
            ["model_name", "digest", "engine", "task", "sklearn_version", "signer"],
            registry=registry,
        )
        registry.register(self)  # a registry accepts any object with collect()

    def record_model(self, name: str, model: LoadedModel) -> None:
        """Expose the served model and its load duration."""
        manifest = model.bundle.manifest
        self._load_duration.set(model.load_seconds)
        self._model_info.labels(
            name,
            model.bundle.digest,
            model.engine.name,
            manifest.task,
            manifest.versions.get(SCIKIT_LEARN, ""),
            model.signer or "",
        ).set(1)

    def record_parse(self, seconds: float) -> None:
        """Count a parsed request. Its stage receives the time with the next batch."""
        self._parse_seconds += seconds
        self._parsed_requests += 1

    def record_batch(self, rows: int, queue_seconds: Sequence[float]) -> None:
        """Count an engine call, and the time in the queue of each of its requests, in FIFO order."""
        self._batch_sizes.add(rows)
        self._queue_durations.add_descending(queue_seconds)
        self._flush_parsed()

    def record_shadow_batch(self, rows: int) -> None:
        """Count an engine call for mirrored requests, whose time in the queue is not that of users."""
        self._batch_sizes.add(rows)

    def record_service_time(self, seconds: float) -> None:
        """Count the duration of an engine call."""
        self._batch_durations.add(seconds)

    def record_iteration(self, seconds: float) -> None:
        """Count the wait of the requests of an event-loop iteration in their sockets.

        They arrived at any time since the loop became busy, so on average they waited for half of that time.

        Args:
            seconds: Time from the earliest possible arrival of a request until all requests are read.
        """
        started = self.in_flight.started
        self._loop_wait_seconds += (started - self._loop_wait_requests) * seconds / 2
        self._loop_wait_requests = started

    def _flush_parsed(self) -> None:
        if self._parsed_requests:
            self.record_stage("preprocess", self._parse_seconds, self._parsed_requests)
            self._parse_seconds, self._parsed_requests = 0.0, 0

    def record_stage(self, stage: str, seconds: float, requests: int = 1) -> None:
        """Count the time of a stage.

        Args:
            stage: One of ``STAGES``.
            seconds: The sum over the requests.
            requests: The number of requests; each counts with the mean.
        """
        self._stages[stage].add(seconds / requests, requests)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of a scrape."""
        yield from super().collect()
        yield GaugeMetricFamily(
            "tidegate_requests_in_flight",
            "Requests for predictions without a response yet: the average of the last 15 seconds.",
            self.in_flight.average(self._clock()),
        )
        yield CounterMetricFamily(
            "tidegate_loop_wait_seconds",
            "Estimated time of requests in their sockets, before tidegate_request_duration_seconds starts.",
            self._loop_wait_seconds,
        )
        yield from self._collect_batches()
        yield from self._collect_stages()

    def _collect_batches(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "tidegate_queue_depth_rows", "Rows that wait for an engine call.", self.queued_rows()
        )
        queue_durations = HistogramMetricFamily(
            "tidegate_queue_duration_seconds", "Time from the end of a request's parsing to its engine call."
        )
        self._queue_durations.expose(queue_durations, [])
        yield queue_durations
        batch_sizes = HistogramMetricFamily("tidegate_batch_size_rows", "Rows per engine call.")
        self._batch_sizes.expose(batch_sizes, [])
        yield batch_sizes
        batch_durations = HistogramMetricFamily(
            "tidegate_batch_duration_seconds", "Service time: the duration of an engine call."
        )
        self._batch_durations.expose(batch_durations, [])
        yield batch_durations
        yield CounterMetricFamily(
            "tidegate_engine_busy_seconds",
            "Time in which the engine computed: the sum of all service times.",
            self._batch_durations.sum,
        )

    def _collect_stages(self) -> Iterator[Metric]:
        self._flush_parsed()
        for stage, histogram in self._stages.items():
            family = HistogramMetricFamily(
                f"request_{stage}_seconds", f"{stage} request latency", labels=["model_name"]
            )
            histogram.expose(family, [self._model])
            yield family
