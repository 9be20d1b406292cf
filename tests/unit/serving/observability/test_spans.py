# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tidegate.errors import ConfigurationError
from tidegate_serving.observability.recorder import Model, Response
from tidegate_serving.observability.spans import SpanRecorder, create_provider
from tidegate_serving.request_context import RequestContext

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MODEL = Model("m", "2c26b46b")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recorder(exporter: InMemorySpanExporter) -> Iterator[SpanRecorder]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield SpanRecorder(provider, MODEL)
    provider.shutdown()


def response(protocol: str, code: str, traceparent: str | None = None) -> Response:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    return Response(protocol, code, 3, 0.25, RequestContext("r-1", "10.0.0.1", headers))


def recorded(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def test_span_continues_the_trace_of_its_client(
    recorder: SpanRecorder, exporter: InMemorySpanExporter
) -> None:
    assert recorder.record(response("v2", "200", f"00-{TRACE_ID}-{PARENT_ID}-01")) == TRACE_ID
    span = recorded(exporter)
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT_ID
    assert (span.name, span.kind) == ("POST /v2/models/m/infer", SpanKind.SERVER)
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 250_000_000
    assert dict(span.attributes or {}) == {
        "client.address": "10.0.0.1",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v2/models/m/infer",
        "tidegate.model.digest": "2c26b46b",
        "tidegate.model.name": "m",
        "tidegate.request_id": "r-1",
        "tidegate.rows": 3,
    }


def test_span_of_a_client_without_a_trace_starts_one(
    recorder: SpanRecorder, exporter: InMemorySpanExporter
) -> None:
    trace_id = recorder.record(response("grpc", "OK", "not a traceparent"))
    span = recorded(exporter)
    assert span.parent is None
    assert span.context is not None
    assert trace_id == f"{span.context.trace_id:032x}"
    assert (span.attributes or {})["rpc.response.status_code"] == "OK"


def test_span_is_not_recorded_if_the_client_does_not_sample(
    recorder: SpanRecorder, exporter: InMemorySpanExporter
) -> None:
    assert recorder.record(response("v1", "200", f"00-{TRACE_ID}-{PARENT_ID}-00")) == TRACE_ID
    assert not exporter.get_finished_spans()


@pytest.mark.parametrize(
    ("protocol", "code", "is_error"),
    [
        ("v1", "400", False),
        ("v1", "429", False),
        ("v1", "499", False),
        ("v1", "500", True),
        ("v2", "504", True),
        ("grpc", "INVALID_ARGUMENT", False),
        ("grpc", "RESOURCE_EXHAUSTED", False),
        ("grpc", "CANCELLED", False),
        ("grpc", "INTERNAL", True),
        ("grpc", "DEADLINE_EXCEEDED", True),
    ],
)
def test_span_has_an_error_if_the_server_failed(
    protocol: str, code: str, is_error: bool, recorder: SpanRecorder, exporter: InMemorySpanExporter
) -> None:
    recorder.record(response(protocol, code))
    assert recorded(exporter).status.is_ok is not is_error


def test_provider_names_the_service_unless_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (None, "risk"):
        if name is not None:
            monkeypatch.setenv("OTEL_SERVICE_NAME", name)
        provider = create_provider()
        assert provider.resource.attributes["service.name"] == (name or "tidegate")
        provider.shutdown()


def test_provider_without_opentelemetry_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"install tidegate\[otel\]"):
        create_provider()
