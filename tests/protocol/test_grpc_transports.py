# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The transports of gRPC: equal calls get the same status, message, metadata and bytes, and count equally.

grpcio's client sends most calls. Calls that it cannot make, such as one with a deadline in the past, are sent
frame by frame.
"""

import gzip
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.clients import infer_request, one_row, scrape
from tests.support.http2 import (
    SERVICE,
    Http2Connection,
    StreamResponse,
    call_headers,
    data_frame,
    encode_headers,
    headers_frame,
    message,
)
from tests.support.servers import LiveServer
from tidegate.protocol.samples import sample_rows

Metadata = tuple[tuple[str, str | bytes], ...]

_VARYING = re.compile(rb"[0-9a-f]{32}-[0-9]+|[0-9]+\.[0-9]{3} s after the deadline")
"""An id that the server makes, and the time by which a deadline was missed."""

COUNTERS = (
    "tidegate_requests_total",
    "tidegate_requests_rejected_total",
    "tidegate_request_duration_seconds_count",
    "tidegate_batch_size_rows_sum",
    "tidegate_queue_duration_seconds_count",
)


@dataclass(frozen=True)
class Outcome:
    """The end of a call, without the parts that vary between two equal calls."""

    code: str
    details: str
    content: bytes
    initial: Metadata
    trailing: Metadata


def make_call(
    channel: grpc.Channel,
    method: str,
    content: bytes,
    metadata: Metadata = (),
    compression: grpc.Compression | None = None,
) -> Outcome:
    try:
        response, call = channel.unary_unary(method).with_call(
            content, timeout=30, metadata=metadata, compression=compression
        )
    except grpc.RpcError as error:
        response, call = b"", error
    return Outcome(
        call.code().name,
        _VARYING.sub(b"", (call.details() or "").encode()).decode(),
        _VARYING.sub(b"", response),
        comparable(call.initial_metadata()),
        comparable(call.trailing_metadata()),
    )


def comparable(metadata: Any) -> Metadata:
    """Return metadata in one order, without ids of the server and grpcio's offers of encodings."""
    varying = ("x-request-id", "grpc-accept-encoding")
    return tuple(sorted((key, value) for key, value in metadata or () if key not in varying))


def count(server: LiveServer) -> dict[str, dict[str, float]]:
    metrics = scrape(server)
    return {name: metrics[name] for name in COUNTERS}


def increases(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{name} {labels}": value - before[name].get(labels, 0)
        for name, series in after.items()
        for labels, value in series.items()
        if value != before[name].get(labels, 0)
    }


@pytest.fixture(scope="module")
def channels(grpc_servers: dict[str, LiveServer]) -> Iterator[dict[str, grpc.Channel]]:
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(grpc.insecure_channel(server.grpc))
            for name, server in grpc_servers.items()
        }


@pytest.fixture(scope="module")
def requests(grpc_servers: dict[str, LiveServer]) -> dict[str, bytes]:
    """Messages by name: good ones, and one for each kind of mistake."""
    server = grpc_servers["grpcio"]

    def build(rows: list[list[Any]], *, raw: bool = True, **fields: Any) -> bytes:
        request = infer_request(server, rows, raw=raw)
        for name, value in fields.items():
            setattr(request, name, value)
        return bytes(request.SerializeToString())

    row, many = one_row(server), sample_rows(server.bundle.contract, 3000, seed=0)
    text = infer_request(server, row, raw=True)
    text.inputs[0].datatype = "é漢💧 %\n\t\x7f"
    other_output = infer_request(server, row, raw=True)
    other_output.outputs.add(name="ü%41")
    return {
        "raw": build(row),
        "typed": build(row, raw=False),
        "many rows": build(many),
        "without an id": build(row, id=""),
        "empty": b"",
        "malformed": b"\xff\xff\xff",
        "another model": build(row, model_name="other"),
        "another version": build(row, model_version="1"),
        "no tensors": build([], raw=False),
        "wrong tensors": build(row)[:-40],
        "text that is not ASCII": text.SerializeToString(),
        "output that is not ASCII": other_output.SerializeToString(),
        "too large": bytes(20_000_000),
    }


NAMES = (
    "raw",
    "typed",
    "many rows",
    "without an id",
    "empty",
    "malformed",
    "another model",
    "another version",
    "no tensors",
    "wrong tensors",
    "text that is not ASCII",
    "output that is not ASCII",
    "too large",
)


def assert_equal_outcomes(
    servers: dict[str, LiveServer],
    channels: dict[str, grpc.Channel],
    content: bytes,
    method: str = f"{SERVICE}ModelInfer",
    metadata: Metadata = (),
    compression: grpc.Compression | None = None,
) -> Outcome:
    """Make a call on each transport, and compare the outcomes and what the servers count."""
    outcomes, counted = [], []
    for name, server in servers.items():
        before = count(server)
        outcomes.append(make_call(channels[name], method, content, metadata, compression))
        counted.append(increases(before, count(server)))
    for outcome, counts in zip(outcomes[1:], counted[1:], strict=True):
        assert outcome == outcomes[0]
        assert counts == counted[0]
    return outcomes[0]


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
@pytest.mark.parametrize("name", NAMES)
def test_same_message_gets_the_same_response(
    name: str,
    compression: grpc.Compression,
    requests: dict[str, bytes],
    grpc_servers: dict[str, LiveServer],
    channels: dict[str, grpc.Channel],
) -> None:
    outcome = assert_equal_outcomes(grpc_servers, channels, requests[name], compression=compression)
    successful = name in ("raw", "typed", "many rows", "without an id")
    assert (outcome.code == "OK") == successful
    assert bool(outcome.content) == successful


@pytest.mark.parametrize(
    "method",
    [
        *(f"{SERVICE}{name}" for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata")),
        *(f"{SERVICE}{name}" for name in ("ModelMetadata", "RepositoryModelLoad", "RepositoryModelUnload")),
        f"{SERVICE}Unknown",
        "/other.Service/ModelInfer",
        "/inference.GRPCInferenceService",
        "/",
        f"{SERVICE}ModelInfer/",
        f"{SERVICE}modelinfer",
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"\x0a\x06tumour"])
def test_every_method_gets_the_same_response(
    method: str,
    content: bytes,
    grpc_servers: dict[str, LiveServer],
    channels: dict[str, grpc.Channel],
) -> None:
    assert_equal_outcomes(grpc_servers, channels, content, method)


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-request-id", "r-1"),),
        (("x-request-id", "r-1"), ("x-request-id", "r-2")),
        (("trace-bin", bytes(range(256))),),
        (("trace-bin", b""), ("trace-bin", b"\x00")),
        (("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),),
        (("x-a", " spaces "), ("x-b", ",;=%41")),
        tuple((f"x-{number}", "y" * 40) for number in range(60)),
    ],
    ids=["id", "two-ids", "binary", "empty-binary", "trace", "spaces", "many"],
)
def test_metadata_do_not_change_the_response(
    metadata: Metadata,
    requests: dict[str, bytes],
    grpc_servers: dict[str, LiveServer],
    channels: dict[str, grpc.Channel],
) -> None:
    outcome = assert_equal_outcomes(grpc_servers, channels, requests["raw"], metadata=metadata)
    assert outcome.code == "OK"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.integers(1, 800),
    raw=st.booleans(),
    compression=st.sampled_from(grpc.Compression),
    request_id=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_calls_of_any_size_get_the_same_response(
    rows: int,
    raw: bool,
    compression: grpc.Compression,
    request_id: str,
    grpc_servers: dict[str, LiveServer],
    channels: dict[str, grpc.Channel],
) -> None:
    server = grpc_servers["grpcio"]
    request = infer_request(server, sample_rows(server.bundle.contract, rows, seed=rows), raw=raw)
    request.id = request_id
    outcome = assert_equal_outcomes(
        grpc_servers, channels, request.SerializeToString(), compression=compression
    )
    assert outcome.code == "OK"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=st.binary(max_size=80))
def test_arbitrary_messages_get_the_same_response(
    content: bytes, grpc_servers: dict[str, LiveServer], channels: dict[str, grpc.Channel]
) -> None:
    assert_equal_outcomes(grpc_servers, channels, content)


# Calls that grpcio's client cannot make, and for which grpcio's server has other statuses or none


def send_frames(server: LiveServer, fields: list[tuple[str, str]], body: bytes) -> StreamResponse:
    with Http2Connection(server.grpc, {}) as connection:
        connection.send(headers_frame(1, encode_headers(fields)) + data_frame(1, body))
        return connection.wait(1)


BODIES = {
    "gzip without its end": message(gzip.compress(bytes(100))[:-9], compressed=True),
    "gzip with bytes after its end": message(gzip.compress(b"") + b"x", compressed=True),
    "not gzip": message(b"x" * 20, compressed=True),
    "no message": b"",
    "half a prefix": b"\x00\x00",
    "half a message": message(b"x", size=2),
    "two messages": message(b"") * 2,
    "a flag above 1": b"\x02" + bytes(4),
}


@pytest.mark.parametrize("name", BODIES)
def test_malformed_body_is_an_error(name: str, http2_server: LiveServer) -> None:
    fields = call_headers("ServerLive", ("grpc-encoding", "gzip"))
    response = send_frames(http2_server, fields, BODIES[name])
    assert response.status != "0"
    assert response.ended


@pytest.mark.parametrize("timeout", ["1n", "1u", "0S", "0m"])
def test_call_after_its_deadline_is_not_computed(
    timeout: str, requests: dict[str, bytes], http2_server: LiveServer
) -> None:
    server = http2_server
    before = scrape(server)["tidegate_batch_size_rows_sum"]
    fields = call_headers("ModelInfer", ("grpc-timeout", timeout))
    response = send_frames(server, fields, message(requests["raw"]))
    assert response.status == "4" or response.reset is not None
    assert scrape(server)["tidegate_batch_size_rows_sum"] == before


@pytest.mark.parametrize("encoding", ["snappy", "zstd", "GZIP"])
def test_unknown_encoding_is_unimplemented(
    encoding: str, requests: dict[str, bytes], http2_server: LiveServer
) -> None:
    """From gRPC's document on compression: the status is UNIMPLEMENTED, with the accepted encodings."""
    fields = call_headers("ModelInfer", ("grpc-encoding", encoding))
    response = send_frames(http2_server, fields, message(requests["raw"], compressed=True))
    assert response.status == "12"
    assert "gzip" in (response.value("grpc-accept-encoding") or "")
