# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tidegate_serving.request_context import RequestContext, new_request_id, parse_trace_id

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def hexadecimal(size: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=size, max_size=size) | st.just("0" * size)


traceparents = st.tuples(
    st.sampled_from(["00", "01", "ff"]), hexadecimal(32), hexadecimal(16), hexadecimal(2)
).map("-".join)


@given(traceparents, st.integers(0, 55), st.text(string.printable, max_size=2), st.booleans())
def test_parse_trace_id_equals_opentelemetrys(value: str, place: int, text: str, damaged: bool) -> None:
    if damaged:
        value = value[:place] + text + value[place + 1 :]
    span = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": value}))
    context = span.get_span_context()
    # OpenTelemetry ignores white space around the value and accepts a digit of another script.
    if value == value.strip():
        assert parse_trace_id(value) == (f"{context.trace_id:032x}" if context.is_valid else None)


def test_parse_trace_id_of_a_later_version_ignores_its_fields() -> None:
    assert parse_trace_id(f"01{TRACEPARENT[2:]}-more") == TRACE_ID
    assert parse_trace_id(f"{TRACEPARENT}-more") is None


@pytest.mark.parametrize("request_id", ["r-1", "a" * 256, "{b}/c=d"])
def test_context_keeps_the_clients_request_id(request_id: str) -> None:
    assert RequestContext.of({"x-request-id": request_id}, "").request_id == request_id


@pytest.mark.parametrize("request_id", ["", "a" * 257, "a b", "é", "a\tb"])
def test_context_replaces_a_request_id_that_is_unusable(request_id: str) -> None:
    contexts = [RequestContext.of({"x-request-id": request_id}, "") for _ in range(2)]
    assert len({context.request_id for context in contexts} | {request_id}) == 3


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_context_shows_ipv4_addresses_as_such(address: str) -> None:
    assert RequestContext.of({}, address).client == "127.0.0.1"


def test_new_request_id_is_unique() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert all(ids)
    assert len(set(ids)) == len(ids)
