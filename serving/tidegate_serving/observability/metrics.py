# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics: what a server counts, for Prometheus.

Labels are few and bounded: protocol, status code and reason, never anything that a client writes. Counting is
adding to plain numbers, from the event loop only; Prometheus' objects are made when someone asks for them.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import prometheus_client
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from tidegate_serving.errors import RequestError
from tidegate_serving.loading.loader import SCIKIT_LEARN, LoadedModel
from tidegate_serving.observability.histogram import Histogram

access = logging.getLogger("tidegate.access")

CLIENT_GONE = "499"
"""nginx's code for a client that has gone: nobody reads the answer."""

STAGES = ("preprocess", "predict", "postprocess")
"""Those of KServe's histograms: reading a request, waiting and computing, writing the answer."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)

_TOGETHER = 64
"""So many requests are counted at once: one by one each costs a third more."""


@dataclass(slots=True)
class Record:
    """What is known of a request when it ends."""

    code: str = "500"
    rows: int = 0


class Metrics:
    """A server's counters.

    Args:
        registry: Where they are exposed.
        model: The model's name, for KServe's own histograms by stage (``request_predict_seconds`` and so on),
            which dashboards made for KServe read.
        replaced: KServe's objects of these names. They make way in the registry.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        model: str = "",
        replaced: Iterable[Any] = (),
    ) -> None:
        self._model = model
        self._logs = access.isEnabledFor(logging.INFO)  # asked once: it costs as much as counting
        self._ended: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        """By protocol and code, the durations of the last requests, which are still to be counted."""
        self._requests: Counter[tuple[str, str]] = Counter()
        self._durations: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(_SECONDS))
        self._rejected: Counter[str] = Counter()
        self._rows = Histogram(_ROWS)
        self._waits = Histogram(_SECONDS)
        self._stages = {stage: Histogram(prometheus_client.Histogram.DEFAULT_BUCKETS) for stage in STAGES}
        self._reading, self._read = 0.0, 0
        self.in_flight = 0
        """Requests for predictions that are being answered now."""
        self.queued_rows: Callable[[], int] = lambda: 0
        """How many rows wait."""
        for collector in replaced:
            with suppress(KeyError):  # an earlier model of this process has replaced it
                registry.unregister(collector)
        self._load = Gauge(
            "tidegate_model_load_duration_seconds",
            "From the start of verifying the bundle to a built model.",
            registry=registry,
        )
        self._info = Gauge(
            "tidegate_model_info",
            "1, with the model that is served as labels.",
            ["model_name", "digest", "engine", "task", "sklearn_version"],
            registry=registry,
        )
        registry.register(self)  # any object with collect() will do

    def loaded(self, name: str, model: LoadedModel) -> None:
        """Expose which model is served, and how long it took to load."""
        manifest = model.bundle.manifest
        self._load.set(model.load_seconds)
        self._info.labels(
            name,
            model.bundle.digest,
            model.engine.name,
            manifest.task,
            manifest.versions.get(SCIKIT_LEARN, ""),
        ).set(1)

    def read(self, seconds: float) -> None:
        """Count a request that was read; into its stage it comes with all that are computed with it."""
        self._reading += seconds
        self._read += 1

    def record_batch(self, rows: int, waits: Sequence[float]) -> None:
        """Count a call of the engine, and the seconds that each of its requests, in order, has waited."""
        self._rows.add(rows)
        self._waits.add_descending(waits)
        self._count_read()

    def _count_read(self) -> None:
        if self._read:
            self.record_stage("preprocess", self._reading, self._read)
            self._reading, self._read = 0.0, 0

    def record_stage(self, name: str, seconds: float, requests: int = 1) -> None:
        """Count what a stage took, in seconds for all of these requests together."""
        self._stages[name].add(seconds / requests, requests)

    @contextmanager
    def request(self, protocol: str) -> Iterator[Record]:
        """Count a request, whatever becomes of it. Who handles it sets the code."""
        record = Record()
        started = time.perf_counter()
        self.in_flight += 1
        try:
            yield record
        finally:
            self.record_response(protocol, record.code, record.rows, time.perf_counter() - started)

    def record_response(self, protocol: str, code: str, rows: int, seconds: float) -> None:
        """Count a request that was in flight and has ended."""
        self.in_flight -= 1
        ended = self._ended[protocol, code]
        ended.append(seconds)
        if len(ended) == _TOGETHER:
            self._count_ended(protocol, code, ended)
        if self._logs:
            access.info("%s %s %d rows %.2f ms", protocol, code, rows, seconds * 1000)

    def _count_ended(self, protocol: str, code: str, ended: list[float]) -> None:
        self._requests[protocol, code] += len(ended)
        ended.sort(reverse=True)
        self._durations[protocol].add_descending(ended)
        ended.clear()

    def record_rejection(self, error: RequestError) -> None:
        """Count a refusal by its reason."""
        self._rejected[error.code.reason] += 1

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        self._count_read()
        for (protocol, code), ended in self._ended.items():
            if ended:
                self._count_ended(protocol, code, ended)
        requests = CounterMetricFamily(
            "tidegate_requests",
            "Requests for predictions by protocol and status code (HTTP, or gRPC's name).",
            labels=["protocol", "code"],
        )
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield requests
        durations = HistogramMetricFamily(
            "tidegate_request_duration_seconds",
            "From a request's last byte to its answer, by protocol.",
            labels=["protocol"],
        )
        for protocol, tally in self._durations.items():
            tally.expose(durations, [protocol])
        yield durations
        yield GaugeMetricFamily(
            "tidegate_requests_in_flight",
            "Requests for predictions that are being answered now.",
            self.in_flight,
        )
        yield GaugeMetricFamily(
            "tidegate_queue_depth_rows", "Rows that wait to be computed.", self.queued_rows()
        )
        waits = HistogramMetricFamily(
            "tidegate_queue_duration_seconds", "From a request's being read to the start of its computation."
        )
        self._waits.expose(waits, [])
        yield waits
        rows = HistogramMetricFamily("tidegate_batch_size_rows", "Rows computed together in one call.")
        self._rows.expose(rows, [])
        yield rows
        rejected = CounterMetricFamily(
            "tidegate_requests_rejected", "Requests refused, by reason.", labels=["reason"]
        )
        for reason, count in self._rejected.items():
            rejected.add_metric([reason], count)
        yield rejected
        for stage, tally in self._stages.items():
            family = HistogramMetricFamily(
                f"request_{stage}_seconds", f"{stage} request latency", labels=["model_name"]
            )
            tally.expose(family, [self._model])
            yield family
