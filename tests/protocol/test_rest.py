# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from http.client import HTTPConnection

import grpc
import httpx
import pytest
import urllib3

from tests.protocol.clients import (
    JSON_HEADERS,
    SERVICE,
    connect,
    infer,
    infer_request,
    metric_value,
    one_row,
    post,
    post_once,
    predict,
)
from tests.support.http_client import receive_response
from tests.support.servers import LiveServer
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH
from tidegate.protocol.requests import v1_body, v2_binary_body, v2_body
from tidegate.protocol.samples import sample_rows

MAX_ROWS, MAX_BODY_BYTES = 500, 300_000
"""The options of ``numeric_server``."""


def v1_row(server: LiveServer) -> bytes:
    return v1_body(server.bundle.contract, one_row(server))


def v2_row(server: LiveServer) -> bytes:
    return v2_body(server.bundle.contract, one_row(server))


def error_of(response: httpx.Response, status: int) -> str:
    """The message of an error response, which has the form that all have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (key,) = response.json()
    assert key == "error"
    message = str(response.json()["error"])
    assert message.endswith(".")
    assert "Traceback" not in message
    assert ".py" not in message
    return message


def test_golden_requests_return_the_golden_outputs(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    golden = contract.golden
    predictions = predict(any_server, v1_body(contract, golden.rows)).json()["predictions"]
    for prediction, expected in zip(predictions, golden.outputs[contract.prediction.name], strict=True):
        assert golden.is_close(prediction, expected)
    outputs = infer(any_server, v2_body(contract, golden.rows)).json()["outputs"]
    assert [output["name"] for output in outputs] == [output.name for output in contract.outputs]
    for output in outputs:
        flat = [
            value
            for values in golden.outputs[output["name"]]
            for value in (values if isinstance(values, list) else [values])
        ]
        for actual, expected in zip(output["data"], flat, strict=True):
            assert golden.is_close(actual, expected)


def test_rows_as_objects_and_as_lists_have_equal_responses(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    rows = sample_rows(contract, 20, seed=3)
    named = [dict(zip(contract.feature_names, row, strict=True)) for row in rows]
    lists, objects = predict(any_server, {"instances": rows}), predict(any_server, {"instances": named})
    assert lists.status_code == 200
    assert lists.content == objects.content


def test_one_tensor_per_feature_equals_the_matrix(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    rows = sample_rows(contract, 5, seed=4)
    columns = [
        {"name": name, "datatype": "FP64", "shape": [5, 1], "data": [row[i] for row in rows]}
        for i, name in enumerate(contract.feature_names)
    ]
    matrix = infer(numeric_server, v2_body(contract, rows)).json()["outputs"]
    by_name = infer(numeric_server, {"inputs": columns[::-1], "parameters": {"content_type": "pd"}})
    assert by_name.json()["outputs"] == matrix


def test_binary_inputs_return_binary_outputs(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    rows = sample_rows(contract, 7, seed=5)
    body, length = v2_binary_body(contract, rows)
    headers = {"Content-Type": "application/octet-stream", INFERENCE_HEADER_CONTENT_LENGTH: str(length)}
    response = infer(any_server, body, headers)
    assert response.headers["content-type"] == "application/octet-stream"
    json_length = int(response.headers[INFERENCE_HEADER_CONTENT_LENGTH])
    document = json.loads(response.content[:json_length])
    sizes = [output["parameters"]["binary_data_size"] for output in document["outputs"]]
    assert sum(sizes) == len(response.content) - json_length
    in_json = json.loads(body[:length]) | {"parameters": {"binary_data_output": False}}
    plain = infer(
        any_server,
        json.dumps(in_json).encode() + body[length:],
        headers | {INFERENCE_HEADER_CONTENT_LENGTH: str(len(json.dumps(in_json)))},
    )
    assert plain.headers["content-type"] == "application/json"
    assert plain.json()["outputs"] == infer(any_server, v2_body(contract, rows)).json()["outputs"]


def test_response_has_the_requests_id_or_a_new_one(numeric_server: LiveServer) -> None:
    body = json.loads(v2_row(numeric_server))
    assert infer(numeric_server, body | {"id": "mine"}).json()["id"] == "mine"
    response = infer(numeric_server, body).json()
    assert response["id"]
    assert response["model_name"] == numeric_server.name
    assert response["model_version"] == numeric_server.bundle.digest[:12]


def test_response_has_the_requested_outputs_only(numeric_server: LiveServer) -> None:
    body = json.loads(v2_row(numeric_server)) | {"outputs": [{"name": "probabilities"}]}
    response = infer(numeric_server, body).json()
    assert [output["name"] for output in response["outputs"]] == ["probabilities"]


def test_version_is_the_beginning_of_the_digest(numeric_server: LiveServer) -> None:
    model = f"/v2/models/{numeric_server.name}"
    version = f"{model}/versions/{numeric_server.bundle.digest[:12]}"
    assert post(numeric_server, f"{version}/infer", v2_row(numeric_server)).status_code == 200
    assert httpx.get(f"{numeric_server.http}{version}", timeout=30).status_code == 200
    assert httpx.get(f"{numeric_server.http}{version}/ready", timeout=30).json()["ready"] is True
    error_of(httpx.get(f"{numeric_server.http}{model}/versions/1", timeout=30), 404)


def test_metadata_describes_requests_and_responses(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    metadata = httpx.get(f"{any_server.http}/v2/models/{any_server.name}", timeout=30).json()
    assert metadata["versions"] == [any_server.bundle.digest[:12]]
    assert metadata["platform"] in ("onnx_onnxv1", "sklearn")
    rows = sample_rows(contract, 2, 0)
    sent = json.loads(v2_body(contract, rows))["inputs"]
    assert [(i["name"], i["datatype"], len(i["shape"])) for i in metadata["inputs"]] == [
        (i["name"], i["datatype"], len(i["shape"])) for i in sent
    ]
    received = infer(any_server, v2_body(contract, rows)).json()["outputs"]
    assert [(o["name"], o["datatype"], o["shape"][1:]) for o in metadata["outputs"]] == [
        (o["name"], o["datatype"], o["shape"][1:]) for o in received
    ]
    labels = {o["name"]: o["parameters"]["labels"] for o in metadata["outputs"] if "parameters" in o}
    assert labels == {o.name: list(o.labels) for o in contract.outputs if o.labels}
    assert labels.get("probabilities", list(contract.labels)) == list(contract.labels)
    assert "binary_tensor_data" in httpx.get(f"{any_server.http}/v2", timeout=30).json()["extensions"]


def test_readiness_of_server_and_model_is_true(numeric_server: LiveServer) -> None:
    assert httpx.get(f"{numeric_server.http}/v2/health/ready", timeout=30).json() == {"ready": True}
    for path in ("/v1/models/{}", "/v2/models/{}/ready"):
        response = httpx.get(numeric_server.http + path.format(numeric_server.name), timeout=30)
        assert response.json() == {"name": numeric_server.name, "ready": True}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/unknown:predict"),
        ("POST", "/v2/models/unknown/infer"),
        ("GET", "/v1/models/unknown"),
        ("GET", "/v2/models/unknown"),
        ("GET", "/v2/models/unknown/ready"),
    ],
)
def test_unknown_model_is_404(method: str, path: str, numeric_server: LiveServer) -> None:
    response = httpx.request(
        method, numeric_server.http + path, content=b"{}", headers=JSON_HEADERS, timeout=30
    )
    assert "'unknown'" in error_of(response, 404)


@pytest.mark.parametrize(
    "path", ["/v1/models/{}:explain", "/v2/repository/models/{}/load", "/v2/repository/models/{}/unload"]
)
def test_unimplemented_operation_is_501_and_changes_nothing(path: str, numeric_server: LiveServer) -> None:
    error_of(post(numeric_server, path.format(numeric_server.name), {}), 501)
    assert httpx.get(f"{numeric_server.http}/v2/health/ready", timeout=30).json() == {"ready": True}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
)
def test_other_content_type_is_415(content_type: str, numeric_server: LiveServer) -> None:
    body = v2_row(numeric_server)
    assert content_type in error_of(infer(numeric_server, body, {"Content-Type": content_type}), 415)
    assert content_type in error_of(predict(numeric_server, body, {"Content-Type": content_type}), 415)


def test_compressed_body_is_415(numeric_server: LiveServer) -> None:
    headers = JSON_HEADERS | {"Content-Encoding": "gzip"}
    message = error_of(predict(numeric_server, b"\x1f\x8b", headers), 415)
    assert "gzip" in message
    assert "uncompressed" in message


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json; charset=utf-8"}, {}])
def test_json_with_charset_or_without_type_is_accepted(
    headers: dict[str, str], numeric_server: LiveServer
) -> None:
    assert predict(numeric_server, v1_row(numeric_server), headers).status_code == 200


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999", "", "\uff19"])
def test_invalid_length_of_json_is_400(length: str, numeric_server: LiveServer) -> None:
    body, _ = v2_binary_body(numeric_server.bundle.contract, one_row(numeric_server))
    headers = {
        "Content-Type": "application/octet-stream",
        INFERENCE_HEADER_CONTENT_LENGTH: length.encode(),
    }
    response = infer(numeric_server, body, headers)  # type: ignore[arg-type]
    assert INFERENCE_HEADER_CONTENT_LENGTH in error_of(response, 400)


def count_too_large(server: LiveServer) -> float:
    return metric_value(server, 'tidegate_requests_rejected_total{reason="content_too_large"}')


def test_too_many_rows_are_413_and_counted(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    rows = sample_rows(contract, MAX_ROWS + 1, 0)
    before = count_too_large(numeric_server)
    for send, body in ((predict, v1_body(contract, rows)), (infer, v2_body(contract, rows))):
        assert f"at most {MAX_ROWS} rows, received {MAX_ROWS + 1}" in error_of(
            send(numeric_server, body), 413
        )
    assert count_too_large(numeric_server) == before + 4  # each is sent on both paths


def test_too_many_rows_keep_the_connection(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    path = f"/v1/models/{numeric_server.name}:predict"
    with connect(numeric_server) as connection:
        for rows, status in ((MAX_ROWS + 1, 413), (1, 200)):
            body = v1_body(contract, sample_rows(contract, rows, 0))
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            response = receive_response(connection)
            assert response.status == status
            assert not response.closes


def test_too_many_bytes_are_413_and_close_the_connection(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    body = v1_body(contract, sample_rows(contract, 5 * MAX_ROWS, 0))
    assert len(body) > MAX_BODY_BYTES
    before = count_too_large(numeric_server)
    response = predict(numeric_server, body)
    assert f"at most {MAX_BODY_BYTES} bytes" in error_of(response, 413)
    assert response.headers["connection"] == "close"
    assert count_too_large(numeric_server) == before + 2


@pytest.mark.parametrize("size", [2 * MAX_BODY_BYTES, 40 * MAX_BODY_BYTES])
def test_client_that_writes_before_it_reads_reads_the_413(size: int, numeric_server: LiveServer) -> None:
    path, body = f"/v1/models/{numeric_server.name}:predict", bytes(size)
    connection = HTTPConnection(numeric_server.http.removeprefix("http://"), timeout=20)
    connection.request("POST", path, body)
    assert f"at most {MAX_BODY_BYTES} bytes" in json.load(connection.getresponse())["error"]
    connection.close()
    chunks = (body[start : start + 65_536] for start in range(0, size, 65_536))
    for content in (body, chunks):
        # urllib3 is the client under requests.
        response = urllib3.request(
            "POST", numeric_server.http + path, body=content, timeout=20, retries=False
        )
        assert response.status == 413
        assert response.headers["connection"] == "close"


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_header_that_is_too_large_is_431(method: str, numeric_server: LiveServer) -> None:
    path = "/v2/health/live" if method == "GET" else f"/v1/models/{numeric_server.name}:predict"
    body = None if method == "GET" else v1_row(numeric_server)
    for size, status in ((60_000, 200), (200_000, 431)):
        response = httpx.request(
            method, numeric_server.http + path, headers={"X": "x" * size}, content=body, timeout=20
        )
        assert response.status_code == status, response.text


def test_chunked_body_is_read_up_to_the_limit(numeric_server: LiveServer) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with connect(numeric_server) as connection:
        connection.sendall(
            f"POST /v1/models/{numeric_server.name}:predict HTTP/1.1\r\nHost: x\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(5):  # without a last chunk
            connection.sendall(chunk)
        response = receive_response(connection)
    assert response.status == 413
    assert response.closes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"instances": [[NaN]]}',
        b'{"instances": ' + b"[" * 50_000,
        b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"inputs": ' + b'{"a":' * 50_000,
        b"\x00" * 1000,
        b'{"instances": [["1.5"]]}',
        b'{"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP32", "data": [1]}]}',
    ],
)
def test_invalid_body_is_400(body: bytes, numeric_server: LiveServer) -> None:
    error_of(predict(numeric_server, body), 400)
    error_of(infer(numeric_server, body), 400)


def test_metrics_count_requests_and_name_the_model(regression_server: LiveServer) -> None:
    contract, name = regression_server.bundle.contract, regression_server.name
    ok = 'tidegate_requests_total{code="200",protocol="v1"}'
    invalid = 'tidegate_requests_total{code="400",protocol="v1"}'
    before = metric_value(regression_server, ok), metric_value(regression_server, invalid)
    path = f"/v1/models/{name}:predict"
    post_once(regression_server, path, v1_body(contract, sample_rows(contract, 3, 0)))
    post_once(regression_server, path, b"{}")
    after = metric_value(regression_server, ok), metric_value(regression_server, invalid)
    assert after == (before[0] + 1, before[1] + 1)
    # The requests above are in the average of the last 15 seconds, which 0 would not be.
    assert metric_value(regression_server, "tidegate_requests_in_flight") > 0
    for line, minimum in (
        ('tidegate_requests_rejected_total{reason="invalid_argument"}', 1),
        ('tidegate_request_duration_seconds_count{protocol="v1"}', 2),
        ("tidegate_batch_size_rows_sum", 3),
        (f'request_predict_seconds_count{{model_name="{name}"}}', 1),
    ):
        assert metric_value(regression_server, line) >= minimum, line
    assert metric_value(regression_server, "tidegate_model_load_duration_seconds") > 0
    text = httpx.get(regression_server.metrics, timeout=30).text
    info = next(line for line in text.splitlines() if line.startswith("tidegate_model_info{"))
    assert regression_server.bundle.digest in info
    assert 'task="regression"' in info
    assert info.endswith(" 1.0")


def test_metrics_port_alone_serves_the_metrics(regression_server: LiveServer) -> None:
    metrics_port = regression_server.metrics.removesuffix("/metrics")
    assert "tidegate_model_info{" in httpx.get(regression_server.metrics, timeout=30).text
    error_of(httpx.get(f"{metrics_port}/v2/health/ready", timeout=30), 404)
    assert "/metrics" in error_of(httpx.get(f"{regression_server.http}/metrics", timeout=30), 404)


def test_access_log_is_off_by_default(regression_server: LiveServer) -> None:
    server, before = regression_server, regression_server.log.read_text()
    response = post_once(server, f"/v1/models/{server.name}:predict", v1_row(server))
    assert server.log.read_text() == before
    assert "x-request-id" not in response.headers


def test_access_log_has_one_line_per_response(forest_server: LiveServer) -> None:
    trace_id, server = "4bf92f3577b34da6a3ce929d0e0e4736", forest_server
    context = {
        "X-Request-Id": "r-1",
        "X-Client-Id": "a" * 300,
        "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
    }
    path, before = f"/v1/models/{server.name}:predict", server.log.read_text()
    for connection in ("keep-alive", "close"):  # the fast path and the framework
        headers = JSON_HEADERS | context | {"Connection": connection}
        response = post_once(server, path, v1_row(server), headers)
        assert response.headers["x-request-id"] == "r-1"
    rejected = post_once(server, path, b"{}")
    metadata = [(name.lower(), value) for name, value in context.items()]
    with grpc.insecure_channel(server.grpc) as channel:
        request = infer_request(server, one_row(server), raw=False).SerializeToString()
        _, call = channel.unary_unary(SERVICE + "ModelInfer").with_call(
            request, metadata=metadata, timeout=20
        )
    assert ("x-request-id", "r-1") in call.trailing_metadata()
    httpx.get(f"{server.http}/v2/health/live", timeout=30)
    lines = [json.loads(line) for line in server.log.read_text().removeprefix(before).splitlines()]
    for line in lines:
        assert line.pop("time").endswith("+00:00")
        assert line.pop("duration_ms") > 0
        assert line.pop("client") == "127.0.0.1"
        assert (line.pop("model"), line.pop("digest")) == (server.name, server.bundle.digest)
    known = {
        "rows": 1,
        "request_id": "r-1",
        "trace_id": trace_id,
        "headers": {"x-client-id": "a" * 256},
    }
    new = {
        "rows": 0,
        "request_id": rejected.headers["x-request-id"],
        "trace_id": None,
        "headers": {},
    }
    assert lines == [
        known | {"protocol": "v1", "code": "200"},
        known | {"protocol": "v1", "code": "200"},
        new | {"protocol": "v1", "code": "400"},
        known | {"protocol": "grpc", "code": "OK"},
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/v2/health/ready", 405),
        ("GET", "/v2/models/tumour/infer", 405),
        ("GET", "/v1/models/tumour:predict", 405),
        ("GET", "/openapi.json", 404),
    ],
)
def test_unknown_path_or_method_is_an_error_response(
    method: str, path: str, status: int, numeric_server: LiveServer
) -> None:
    response = httpx.request(method, numeric_server.http + path, timeout=30)
    assert path in error_of(response, status)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/tumour/ready"])
def test_probe_by_head_is_200(path: str, numeric_server: LiveServer) -> None:
    assert httpx.head(numeric_server.http + path, timeout=30).status_code == 200


def test_passed_deadline_is_504(numeric_server: LiveServer) -> None:
    headers = JSON_HEADERS | {"X-Request-Timeout-Ms": "0"}
    assert "deadline" in error_of(predict(numeric_server, v1_row(numeric_server), headers), 504)


def test_invalid_timeout_is_400(numeric_server: LiveServer) -> None:
    headers = JSON_HEADERS | {"X-Request-Timeout-Ms": "soon"}
    message = error_of(predict(numeric_server, v1_row(numeric_server), headers), 400)
    assert "X-Request-Timeout-Ms" in message
    assert "'soon'" in message


def test_invalid_timeout_of_envoy_is_ignored(numeric_server: LiveServer) -> None:
    headers = JSON_HEADERS | {"X-Request-Timeout-Ms": "60000", "X-Envoy-Expected-Rq-Timeout-Ms": "soon"}
    assert predict(numeric_server, v1_row(numeric_server), headers).status_code == 200


def test_v1_named_outputs_equal_those_of_v2(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    rows = sample_rows(contract, 2, 0)
    values = {}
    for output in infer(any_server, v2_body(contract, rows)).json()["outputs"]:
        name, shape, data = output["name"], output["shape"], output["data"]
        values[name] = data if len(shape) == 1 else [data[: shape[1]], data[shape[1] :]]
        request = {"instances": rows, "parameters": {"outputs": [name]}}
        assert predict(any_server, request).json() == {"predictions": values[name]}
    if len(values) > 1:
        request = {"instances": rows, "parameters": {"outputs": list(values)}}
        objects = [{name: column[row] for name, column in values.items()} for row in range(2)]
        assert predict(any_server, request).json() == {"predictions": objects}
    request = {"instances": rows, "parameters": {"outputs": ["other"]}}
    assert f"expected one of {', '.join(values)}," in error_of(predict(any_server, request), 400)
