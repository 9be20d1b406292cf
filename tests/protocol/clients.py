# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Clients of a live server, for every test of this folder: REST on both paths, gRPC, raw sockets, metrics."""

import json
import re
import socket
from typing import Any

import grpc
import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import LiveServer
from tidegate.batch import Batch
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH
from tidegate.protocol.requests import encode_raw_tensor
from tidegate.protocol.samples import sample_rows
from tidegate_serving._kserve import pb

JSON_HEADERS = {"Content-Type": "application/json"}
SERVICE = "/inference.GRPCInferenceService/"
CONTENTS_FIELDS = {
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}

_VARYING = re.compile(rb"[0-9a-f]{32}-[0-9]+|[0-9]+\.[0-9]{3} s after the deadline")
"""An id that the server makes, and the time by which a deadline was missed."""


def post_once(
    server: LiveServer, path: str, content: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send one request; without ``Connection: close`` it takes the fast path if it is plain."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(
        f"{server.http}{path}", content=body, headers=JSON_HEADERS if headers is None else headers, timeout=30
    )


def post(
    server: LiveServer, path: str, content: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send a request on both paths and verify that their responses are equal.

    The framework alone serves requests with ``Connection: close``.
    """
    response = post_once(server, path, content, headers)
    close = (JSON_HEADERS if headers is None else headers) | {"Connection": "close"}
    framework = post_once(server, path, content, close)
    assert framework.headers["connection"] == "close"
    assert _comparable(response) == _comparable(framework)
    return response


def _comparable(response: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """The parts of a response that do not depend on the time, the path or an id that the server makes."""
    varying = (
        "date",
        "connection",
        "content-length",
        "x-request-id",
        INFERENCE_HEADER_CONTENT_LENGTH.lower(),
    )
    headers = {name: value for name, value in response.headers.items() if name not in varying}
    return response.status_code, headers, _VARYING.sub(b"", response.content)


def predict(server: LiveServer, content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send a V1 request on both paths."""
    return post(server, f"/v1/models/{server.name}:predict", content, headers)


def infer(server: LiveServer, content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send a V2 request on both paths."""
    return post(server, f"/v2/models/{server.name}/infer", content, headers)


def connect(server: LiveServer) -> socket.socket:
    """Open a connection to the REST port."""
    host, port = server.http.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def scrape(server: LiveServer) -> dict[str, dict[str, float]]:
    """The values of all metrics at one time: by the metric's name, then by the values of its labels."""
    values: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(httpx.get(server.metrics, timeout=30).text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[" ".join(sample.labels.values())] = sample.value
    return values


def metric_value(server: LiveServer, line: str) -> float:
    """The value of the first line of ``/metrics`` with this beginning; 0 if there is none."""
    text = httpx.get(server.metrics, timeout=30).text
    return next(
        (float(entry.rpartition(" ")[2]) for entry in text.splitlines() if entry.startswith(line)), 0.0
    )


def call(server: LiveServer, method: str, request: Any, response_class: Any) -> Any:
    """Make a gRPC call on a channel of its own."""
    content = request if isinstance(request, bytes) else request.SerializeToString()
    with grpc.insecure_channel(server.grpc) as channel:
        return response_class.FromString(channel.unary_unary(SERVICE + method)(content, timeout=20))


def infer_request(server: LiveServer, rows: list[list[Any]], *, raw: bool) -> Any:
    """A ``ModelInferRequest`` with raw or typed contents."""
    contract = server.bundle.contract
    request = pb.ModelInferRequest(model_name=server.name, id="7")
    for name, array in Batch.from_rows(contract, rows).arrays.items():
        datatype = contract.matrix_datatype or next(f.datatype for f in contract.features if f.name == name)
        entry = request.inputs.add(name=name, datatype=str(datatype), shape=array.shape)
        if raw:
            request.raw_input_contents.append(encode_raw_tensor(array))
        else:
            field = getattr(entry.contents, CONTENTS_FIELDS[datatype])
            values = array.reshape(-1).tolist()
            field.extend(value.encode() if isinstance(value, str) else value for value in values)
    return request


def one_row(server: LiveServer) -> list[list[Any]]:
    """One row that the contract allows."""
    return sample_rows(server.bundle.contract, 1, seed=0)
