# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
import socket
from typing import Any

import httpx
import pytest

from tests.support.servers import LiveServer
from tidegate.contract import close
from tidegate.protocol.requests import v1_body, v2_binary_body, v2_body
from tidegate.protocol.samples import sample_rows

JSON = {"Content-Type": "application/json"}
LENGTH = "Inference-Header-Content-Length"
MADE_ID = re.compile(rb"[0-9a-f]{32}-[0-9]+")


def post(
    server: LiveServer, path: str, content: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    """The answer of the hot path, which must be the framework's too: it alone takes ``Connection: close``."""
    answer = once(server, path, content, headers)
    framework = once(server, path, content, (JSON if headers is None else headers) | {"Connection": "close"})
    assert framework.headers["connection"] == "close"
    assert comparable(answer) == comparable(framework)
    return answer


def once(
    server: LiveServer, path: str, content: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(
        f"{server.http}{path}", content=body, headers=JSON if headers is None else headers, timeout=30
    )


def comparable(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Of an answer what must not depend on the way: all but the time and the id that a server makes."""
    varying = ("date", "connection", "content-length", LENGTH.lower())
    headers = {name: value for name, value in answer.headers.items() if name not in varying}
    return answer.status_code, headers, MADE_ID.sub(b"", answer.content)


def predict(server: LiveServer, content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    return post(server, f"/v1/models/{server.name}:predict", content, headers)


def infer(server: LiveServer, content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    return post(server, f"/v2/models/{server.name}/infer", content, headers)


def record_error(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (key,) = response.json()
    assert key == "error"
    sentence = str(response.json()["error"])
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert ".py" not in sentence
    return sentence


def test_the_golden_questions_have_the_known_answers_by_v1_and_v2(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    golden = contract.golden
    predictions = predict(any_server, v1_body(contract, golden.rows)).json()["predictions"]
    for answer, expected in zip(predictions, golden.outputs[contract.prediction.name], strict=True):
        assert close(answer, expected, golden.tolerance)
    outputs = infer(any_server, v2_body(contract, golden.rows)).json()["outputs"]
    assert [output["name"] for output in outputs] == [output.name for output in contract.outputs]
    for output in outputs:
        flat = [
            value
            for answer in golden.outputs[output["name"]]
            for value in (answer if isinstance(answer, list) else [answer])
        ]
        for answer, expected in zip(output["data"], flat, strict=True):
            assert close(answer, expected, golden.tolerance)


def test_rows_as_objects_get_the_same_answers_as_rows_as_lists(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    rows = sample_rows(contract, 20, seed=3)
    named = [dict(zip(contract.feature_names, row, strict=True)) for row in rows]
    lists, objects = predict(any_server, {"instances": rows}), predict(any_server, {"instances": named})
    assert lists.status_code == 200
    assert lists.content == objects.content


def test_a_tensor_a_feature_gets_the_same_answers_as_the_matrix(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    rows = sample_rows(contract, 5, seed=4)
    columns = [
        {"name": name, "datatype": "FP64", "shape": [5, 1], "data": [row[i] for row in rows]}
        for i, name in enumerate(contract.feature_names)
    ]
    matrix = infer(numeric_server, v2_body(contract, rows)).json()["outputs"]
    by_name = infer(numeric_server, {"inputs": columns[::-1], "parameters": {"content_type": "pd"}})
    assert by_name.json()["outputs"] == matrix


def test_binary_tensors_get_the_same_answers_in_binary(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    rows = sample_rows(contract, 7, seed=5)
    body, length = v2_binary_body(contract, rows)
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(length)}
    answer = infer(any_server, body, headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    header = json.loads(answer.content[: int(answer.headers[LENGTH])])
    sizes = [output["parameters"]["binary_data_size"] for output in header["outputs"]]
    assert sum(sizes) == len(answer.content) - int(answer.headers[LENGTH])
    in_json = json.loads(body[:length]) | {"parameters": {"binary_data_output": False}}
    plain = infer(
        any_server,
        json.dumps(in_json).encode() + body[length:],
        headers | {LENGTH: str(len(json.dumps(in_json)))},
    )
    assert plain.headers["content-type"] == "application/json"
    assert plain.json()["outputs"] == infer(any_server, v2_body(contract, rows)).json()["outputs"]


def test_an_id_is_echoed_and_one_is_made_where_there_is_none(numeric_server: LiveServer) -> None:
    body = json.loads(
        v2_body(numeric_server.bundle.contract, sample_rows(numeric_server.bundle.contract, 1, 0))
    )
    assert infer(numeric_server, body | {"id": "mine"}).json()["id"] == "mine"
    answer = infer(numeric_server, body).json()
    assert answer["id"]
    assert answer["model_name"] == numeric_server.name
    assert answer["model_version"] == numeric_server.bundle.digest[:12]


def test_only_the_outputs_asked_for_are_answered(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    body = json.loads(v2_body(contract, sample_rows(contract, 1, 0)))
    answer = infer(numeric_server, body | {"outputs": [{"name": "probabilities"}]}).json()
    assert [output["name"] for output in answer["outputs"]] == ["probabilities"]


def test_a_version_is_the_beginning_of_the_digest(numeric_server: LiveServer) -> None:
    contract, model = numeric_server.bundle.contract, f"/v2/models/{numeric_server.name}"
    version = f"{model}/versions/{numeric_server.bundle.digest[:12]}"
    assert (
        post(numeric_server, f"{version}/infer", v2_body(contract, sample_rows(contract, 1, 0))).status_code
        == 200
    )
    assert httpx.get(f"{numeric_server.http}{version}").status_code == 200
    assert httpx.get(f"{numeric_server.http}{version}/ready").json()["ready"] is True
    refused(httpx.get(f"{numeric_server.http}{model}/versions/1"), 404)


def test_metadata_tells_the_truth(any_server: LiveServer) -> None:
    contract = any_server.bundle.contract
    metadata = httpx.get(f"{any_server.http}/v2/models/{any_server.name}").json()
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
    assert "binary_tensor_data" in httpx.get(f"{any_server.http}/v2").json()["extensions"]


def test_readiness_is_answered_for_server_and_model(numeric_server: LiveServer) -> None:
    assert httpx.get(f"{numeric_server.http}/v2/health/ready").json() == {"ready": True}
    for path in ("/v1/models/{}", "/v2/models/{}/ready"):
        answer = httpx.get(numeric_server.http + path.format(numeric_server.name))
        assert answer.json() == {"name": numeric_server.name, "ready": True}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/nobody:predict"),
        ("POST", "/v2/models/nobody/infer"),
        ("GET", "/v1/models/nobody"),
        ("GET", "/v2/models/nobody"),
        ("GET", "/v2/models/nobody/ready"),
    ],
)
def test_an_unknown_model_is_404(method: str, path: str, numeric_server: LiveServer) -> None:
    answer = httpx.request(method, numeric_server.http + path, content=b"{}", headers=JSON)
    assert "'nobody'" in refused(answer, 404)


@pytest.mark.parametrize(
    "path", ["/v1/models/{}:explain", "/v2/repository/models/{}/load", "/v2/repository/models/{}/unload"]
)
def test_what_the_server_does_not_do_is_said_and_changes_nothing(
    path: str, numeric_server: LiveServer
) -> None:
    refused(post(numeric_server, path.format(numeric_server.name), {}), 501)
    assert httpx.get(f"{numeric_server.http}/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
)
def test_another_content_type_is_415(content_type: str, numeric_server: LiveServer) -> None:
    body = v2_body(numeric_server.bundle.contract, sample_rows(numeric_server.bundle.contract, 1, 0))
    assert content_type in refused(infer(numeric_server, body, {"Content-Type": content_type}), 415)
    assert content_type in refused(predict(numeric_server, body, {"Content-Type": content_type}), 415)


def test_a_compressed_body_is_415(numeric_server: LiveServer) -> None:
    assert "gzip" in refused(predict(numeric_server, b"\x1f\x8b", JSON | {"Content-Encoding": "gzip"}), 415)


def test_json_may_name_its_charset_or_no_type_at_all(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    body = v1_body(contract, sample_rows(contract, 1, 0))
    assert (
        predict(numeric_server, body, {"Content-Type": "application/json; charset=utf-8"}).status_code == 200
    )
    assert predict(numeric_server, body, {}).status_code == 200


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999", "", "\uff19"])
def test_a_header_length_that_is_none_is_400(length: str, numeric_server: LiveServer) -> None:
    body, _ = v2_binary_body(
        numeric_server.bundle.contract, sample_rows(numeric_server.bundle.contract, 1, 0)
    )
    headers = {"Content-Type": "application/octet-stream", LENGTH: length.encode()}
    assert LENGTH in refused(infer(numeric_server, body, headers), 400)  # type: ignore[arg-type]


def test_too_many_rows_are_400_and_too_many_bytes_413(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    rows = sample_rows(contract, 501, 0)
    assert "at most 500 rows" in refused(predict(numeric_server, v1_body(contract, rows)), 400)
    large = v1_body(contract, rows * 5)
    assert len(large) > 300_000
    assert "300000 bytes" in refused(predict(numeric_server, large), 413)


def test_a_chunked_body_is_read_no_further_than_the_limit(numeric_server: LiveServer) -> None:
    host, port = numeric_server.http.removeprefix("http://").split(":")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            f"POST /v1/models/{numeric_server.name}:predict HTTP/1.1\r\nHost: x\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(5):  # and never an end
            connection.sendall(chunk)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


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
def test_a_mistake_is_400_by_either_protocol(body: bytes, numeric_server: LiveServer) -> None:
    refused(predict(numeric_server, body), 400)
    refused(infer(numeric_server, body), 400)


def test_a_client_that_is_slow_to_send_is_not_in_flight(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    body = v1_body(contract, sample_rows(contract, 1, 0))
    host, port = numeric_server.http.removeprefix("http://").split(":")
    # A length is the hot path's, chunks are the framework's: both count from the last byte.
    for framing in (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"):
        head = f"POST /v1/models/{numeric_server.name}:predict HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head.encode() + (b"%x\r\n" % len(body) if "chunked" in framing else b""))
            assert metric(numeric_server, "tidegate_requests_in_flight") == 0
            connection.sendall(body + (b"\r\n0\r\n\r\n" if "chunked" in framing else b""))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def metric(server: LiveServer, line: str) -> float:
    text = httpx.get(f"{server.http}/metrics").text
    return next(
        (float(entry.rpartition(" ")[2]) for entry in text.splitlines() if entry.startswith(line)), 0.0
    )


def test_metrics_count_requests_refusals_and_name_the_model(regression_server: LiveServer) -> None:
    contract = regression_server.bundle.contract
    good = 'tidegate_requests_total{code="200",protocol="v1"}'
    bad = 'tidegate_requests_total{code="400",protocol="v1"}'
    before = metric(regression_server, good), metric(regression_server, bad)
    path = f"/v1/models/{regression_server.name}:predict"
    once(regression_server, path, v1_body(contract, sample_rows(contract, 3, 0)))
    once(regression_server, path, b"{}")
    assert (metric(regression_server, good), metric(regression_server, bad)) == (before[0] + 1, before[1] + 1)
    assert metric(regression_server, 'tidegate_requests_rejected_total{reason="invalid_argument"}') >= 1
    assert metric(regression_server, "tidegate_requests_in_flight") == 0
    assert metric(regression_server, "tidegate_model_load_duration_seconds") > 0
    assert metric(regression_server, 'tidegate_request_duration_seconds_count{protocol="v1"}') >= 2
    assert metric(regression_server, "tidegate_batch_size_rows_sum") >= 3
    assert (
        metric(regression_server, f'request_predict_seconds_count{{model_name="{regression_server.name}"}}')
        >= 1
    )
    text = httpx.get(f"{regression_server.http}/metrics").text
    info = next(line for line in text.splitlines() if line.startswith("tidegate_model_info{"))
    assert regression_server.bundle.digest in info
    assert 'task="regression"' in info
    assert info.endswith(" 1.0")


def test_a_request_logs_one_line_if_asked_for_and_none_otherwise(
    forest_server: LiveServer, regression_server: LiveServer
) -> None:
    for server, lines in ((forest_server, 1), (regression_server, 0)):
        contract = server.bundle.contract
        before = server.log.read_text()
        path = f"/v1/models/{server.name}:predict"
        once(server, path, v1_body(contract, sample_rows(contract, 1, 0)))
        httpx.get(f"{server.http}/v2/health/live")
        assert server.log.read_text().removeprefix(before).count("\n") == lines


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
def test_an_unknown_path_or_method_is_refused_like_everything_else(
    method: str, path: str, status: int, numeric_server: LiveServer
) -> None:
    response = httpx.request(method, numeric_server.http + path)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert path in response.json()["error"]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/tumour/ready"])
def test_probes_may_ask_by_head(path: str, numeric_server: LiveServer) -> None:
    assert httpx.head(numeric_server.http + path).status_code == 200


def test_a_deadline_that_is_over_is_504_and_one_that_is_none_400(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    body = v1_body(contract, sample_rows(contract, 1, 0))
    assert "deadline" in refused(predict(numeric_server, body, JSON | {"X-Request-Timeout-Ms": "0"}), 504)
    assert (
        "X-Request"
        in refused(predict(numeric_server, body, JSON | {"X-Request-Timeout-Ms": "soon"}), 400).title()
    )
    patient = {"X-Request-Timeout-Ms": "60000", "X-Envoy-Expected-Rq-Timeout-Ms": "soon"}
    assert predict(numeric_server, body, JSON | patient).status_code == 200
