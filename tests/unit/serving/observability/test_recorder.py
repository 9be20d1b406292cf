# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import logging
from datetime import UTC, datetime

import pytest

from tidegate_serving.observability.recorder import Model, Response, ResponseRecorder
from tidegate_serving.request_context import RequestContext

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CONTEXT = RequestContext(
    "r-1", "10.0.0.1", {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01", "x-client": "c" * 300}
)
RESPONSE = Response("v2", "200", 3, 0.0012344, CONTEXT)


@pytest.fixture(autouse=True)
def _access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tidegate.access")


def test_line_names_client_and_digest(caplog: pytest.LogCaptureFixture) -> None:
    ResponseRecorder(Model("m", "2c26"), ["X-Client", "X-Other"]).record(RESPONSE)
    line = json.loads(caplog.messages[0])
    assert abs(datetime.fromisoformat(line.pop("time")) - datetime.now(UTC)).days == 0
    assert line == {
        "protocol": "v2",
        "code": "200",
        "rows": 3,
        "duration_ms": 1.234,
        "model": "m",
        "digest": "2c26",
        "request_id": "r-1",
        "trace_id": TRACE_ID,
        "client": "10.0.0.1",
        "headers": {"x-client": "c" * 256},
    }


def test_line_has_the_trace_of_the_span(caplog: pytest.LogCaptureFixture) -> None:
    ResponseRecorder(Model("m", "2c26"), record_span=lambda response: "abc").record(RESPONSE)
    assert json.loads(caplog.messages[0])["trace_id"] == "abc"


def test_spans_without_an_access_log_write_no_line(caplog: pytest.LogCaptureFixture) -> None:
    recorded: list[Response] = []

    def record_span(response: Response) -> str:
        recorded.append(response)
        return ""

    ResponseRecorder(Model("m", "2c26"), access_log=False, record_span=record_span).record(RESPONSE)
    assert (recorded, caplog.messages) == ([RESPONSE], [])


def test_headers_are_those_that_a_context_needs() -> None:
    recorder = ResponseRecorder(Model("m", "2c26"), ["X-Client"])
    assert recorder.headers == {"x-request-id", "traceparent", "tracestate", "x-client"}
