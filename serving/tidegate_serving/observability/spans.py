# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Spans: one OpenTelemetry span per response, in the trace of its client.

The span is made after the response, from the times that the metrics have, so nothing of OpenTelemetry runs
before. OpenTelemetry's own environment variables configure sampling, resource and exporter.
"""

import os
import time
from typing import TYPE_CHECKING, Any

from tidegate import __version__
from tidegate.errors import ConfigurationError
from tidegate_serving.observability.recorder import Model, Response

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

GRPC_METHOD = "inference.GRPCInferenceService/ModelInfer"

SERVER_ERRORS = ("5", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED")
"""Beginnings of the status codes that are errors of a server's span.

From OpenTelemetry's semantic conventions, "HTTP spans", Status, and "gRPC", gRPC status.
"""


def create_provider() -> "TracerProvider":
    """Create a provider that exports spans by OTLP over HTTP, in batches and on a thread of its own.

    Raises:
        ConfigurationError: If OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError(
            "--traces: expected OpenTelemetry's SDK, which is not installed; install tidegate[otel]."
        ) from None
    named = "OTEL_SERVICE_NAME" in os.environ
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: "tidegate"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class SpanRecorder:
    """Records responses of one model as spans.

    Args:
        provider: OpenTelemetry's provider.
        model: The served model.
    """

    def __init__(self, provider: "TracerProvider", model: Model) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer("tidegate", __version__)
        self._extract = TraceContextTextMapPropagator().extract
        self._kind, self._error = SpanKind.SERVER, StatusCode.ERROR
        self._model = model
        self._routes = {
            "v1": f"/v1/models/{model.name}:predict",
            "v2": f"/v2/models/{model.name}/infer",
        }

    def record(self, response: Response) -> str:
        """Record a response, and return the span's trace id."""
        ended_at = time.time_ns()
        span = self._tracer.start_span(
            GRPC_METHOD if response.protocol == "grpc" else f"POST {self._routes[response.protocol]}",
            self._extract(response.context.headers),
            self._kind,
            start_time=ended_at - round(response.seconds * 1e9),
        )
        if span.is_recording():
            span.set_attributes(self._attributes(response))
            if response.code.startswith(SERVER_ERRORS):
                span.set_status(self._error)
        span.end(ended_at)
        return f"{span.get_span_context().trace_id:032x}"

    def _attributes(self, response: Response) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "client.address": response.context.client,
            "tidegate.request_id": response.context.request_id,
            "tidegate.rows": response.rows,
            "tidegate.model.name": self._model.name,
            "tidegate.model.digest": self._model.digest,
        }
        if response.protocol == "grpc":
            return attributes | {
                "rpc.system.name": "grpc",
                "rpc.method": GRPC_METHOD,
                "rpc.response.status_code": response.code,
            }
        return attributes | {
            "http.request.method": "POST",
            "http.route": self._routes[response.protocol],
            "http.response.status_code": int(response.code),
        }
