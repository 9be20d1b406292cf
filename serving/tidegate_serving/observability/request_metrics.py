# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of requests: responses by status code, durations and error responses by reason.

A server has them once for the requests of users, and once more, under other names, for mirrored requests. So
no query of the first can contain the second.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.histogram import BufferedHistogram, Histogram
from tidegate_serving.observability.in_flight import RequestsInFlight
from tidegate_serving.observability.recorder import Response, ResponseRecorder
from tidegate_serving.request_context import RequestContext

CLIENT_CLOSED_REQUEST = "499"
"""nginx's status code for a client that disconnects before the response."""

_HTTP_CODES = ("200", *dict.fromkeys(str(code.http_status) for code in ErrorCode), CLIENT_CLOSED_REQUEST)
_GRPC_CODES = ("OK", *dict.fromkeys(code.grpc_status for code in ErrorCode), "CANCELLED")

RESPONSE_CODES = {"v1": _HTTP_CODES, "v2": _HTTP_CODES, "grpc": _GRPC_CODES}
"""By protocol, the values of the label ``code`` that exist from the first scrape on."""

DURATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""


@dataclass(slots=True)
class Record:
    """The status code and the number of rows of a request."""

    code: str = "500"
    rows: int = 0


class RequestMetrics:
    """The counters of the requests of one lane.

    Args:
        lane: The beginning of the metrics' names.
        requests: The requests in the help texts.
        clock: Seconds of a monotonic clock, the one of ``started_at`` and ``arrived_at`` of requests.
    """

    def __init__(
        self,
        lane: str = "tidegate",
        requests: str = "Requests for predictions",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._lane = lane
        self._help = requests
        self._clock = clock
        self._durations = {protocol: Histogram(DURATION_BUCKETS) for protocol in RESPONSE_CODES}
        self._responses = {
            protocol: {code: BufferedHistogram(self._durations[protocol]) for code in codes}
            for protocol, codes in RESPONSE_CODES.items()
        }
        """By protocol and code: a key of both would be built for each response."""
        self._rejections = {code.reason: 0 for code in ErrorCode}
        self.in_flight = RequestsInFlight(clock())
        """Requests without a response yet."""
        self.recorder: ResponseRecorder | None = None
        """Records each response that has a context."""

    def record_parse(self, seconds: float) -> None:
        """Record the duration of a request's parsing, which is not a metric of the lane."""

    @contextmanager
    def track_request(self, protocol: str, context: RequestContext | None = None) -> Iterator[Record]:
        """Count a request and its duration, also if it raises. The caller sets the code and the rows."""
        record = Record()
        started_at = self._clock()
        self.in_flight.start(started_at)
        try:
            yield record
        finally:
            self.record_response(protocol, record.code, record.rows, started_at, context)

    def record_response(
        self,
        protocol: str,
        code: str,
        rows: int,
        started_at: float,
        context: RequestContext | None = None,
    ) -> None:
        """Count the end of a request that is in flight.

        Args:
            protocol: A key of ``RESPONSE_CODES``.
            code: The HTTP status code, or the name of the gRPC status code.
            rows: The rows of the request, for the recorder.
            started_at: When the server received the request, in seconds of the clock.
            context: The request's context; None without a recorder.
        """
        now = self._clock()
        seconds = now - started_at
        self.in_flight.end(now)
        by_code = self._responses[protocol]
        try:
            responses = by_code[code]
        except KeyError:  # the code of a framework's own error
            responses = by_code[code] = BufferedHistogram(self._durations[protocol])
        responses.add(seconds)
        if context is not None and self.recorder is not None:
            self.recorder.record(Response(protocol, code, rows, seconds, context))

    def record_rejection(self, error: RequestError) -> None:
        """Count an error response by its reason."""
        self._rejections[error.code.reason] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of a scrape."""
        requests = CounterMetricFamily(
            f"{self._lane}_requests",
            f"{self._help}, by protocol and by status code (HTTP's number or gRPC's name).",
            labels=["protocol", "code"],
        )
        for protocol, by_code in self._responses.items():
            for code, responses in by_code.items():
                responses.flush()
                requests.add_metric([protocol, code], responses.count)
        yield requests
        durations = HistogramMetricFamily(
            f"{self._lane}_request_duration_seconds",
            "Time from the last byte of a request to its response, by protocol.",
            labels=["protocol"],
        )
        for protocol, histogram in self._durations.items():
            histogram.expose(durations, [protocol])
        yield durations
        rejections = CounterMetricFamily(
            f"{self._lane}_requests_rejected", "Error responses, by reason.", labels=["reason"]
        )
        for reason, count in self._rejections.items():
            rejections.add_metric([reason], count)
        yield rejections


def shadow_metrics(registry: CollectorRegistry) -> RequestMetrics:
    """Return the counters of mirrored requests, which the registry exposes."""
    metrics = RequestMetrics("tidegate_shadow", "Mirrored requests")
    registry.register(metrics)  # a registry accepts any object with collect()
    return metrics
