# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kubernetes.client import ApiClient, Configuration
from websockets.sync.server import serve

from tidegate.errors import ConfigurationError, ServerError
from tidegate_rollout import cluster
from tidegate_rollout.cluster import EventRecorder, KubernetesLeases, PodClient
from tidegate_rollout.lease import ConflictError

LEASES = "/apis/coordination.k8s.io/v1/namespaces/models/leases"
ISVC = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "iris", "namespace": "models", "uid": "u-1"},
}


@contextmanager
def api_server(responses):
    """Serve responses by method and path; record the bodies of the requests."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            length = int(self.headers.get("Content-Length", 0))
            received.append((self.command, self.path, json.loads(self.rfile.read(length) or "null")))
            status, document = responses[self.command, self.path]
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = respond  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", received
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def forwarder(port, respond, reject=None):
    """Serve port-forwards by Kubernetes' protocol v4.channel.k8s.io: a data and an error channel per port."""

    closed = threading.Event()

    def handle(connection):
        assert f"ports={port}" in connection.request.path
        for channel in (0, 1):
            connection.send(bytes([channel]) + port.to_bytes(2, "little"))
        request = b""
        while b"\r\n\r\n" not in request:
            frame = connection.recv()
            assert frame[0] == 0
            request += frame[1:]
        respond(connection, request.decode())
        for _ in connection:  # until the client closes it
            pass
        closed.set()

    def process_request(connection, request):
        return None if reject is None else connection.respond(reject, "no")

    options = {
        "subprotocols": ["v4.channel.k8s.io"],
        "process_request": process_request,
        "close_timeout": 0.1,
    }
    with serve(handle, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            # The library leaves its socket to the garbage collector if the server closes first.
            assert reject or closed.wait(20)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def connect(monkeypatch):
    def to(url):
        configuration = Configuration()
        configuration.host = url
        configuration.retries = False
        monkeypatch.setattr(cluster, "load_api_client", lambda: ApiClient(configuration))

    return to


def test_leases_are_read_created_and_replaced(connect):
    lease = {"metadata": {"name": "iris-rollout", "resourceVersion": "1"}}
    responses = {
        ("GET", f"{LEASES}/iris-rollout"): (200, lease),
        ("GET", f"{LEASES}/other"): (404, {}),
        ("POST", LEASES): (201, lease),
        ("PUT", f"{LEASES}/iris-rollout"): (200, lease),
    }
    with api_server(responses) as (url, received):
        connect(url)
        leases = KubernetesLeases("models")
        assert leases.get("iris-rollout") == lease
        assert leases.get("other") is None
        assert leases.create(lease) == leases.replace(lease) == lease
    assert [body for _, _, body in received] == [None, None, lease, lease]


def test_lease_conflict_and_denial_are_told_apart(connect):
    lease = {"metadata": {"name": "x"}}
    responses = {
        ("POST", LEASES): (409, {}),
        ("PUT", f"{LEASES}/x"): (403, {}),
        ("GET", f"{LEASES}/x"): (500, {}),
    }
    with api_server(responses) as (url, _):
        connect(url)
        leases = KubernetesLeases("models")
        with pytest.raises(ConflictError):
            leases.create(lease)
        with pytest.raises(ConfigurationError, match="403 Forbidden while renewing the Lease x"):
            leases.replace(lease)
        with pytest.raises(ServerError, match=r"500 .* while reading the Lease x"):
            leases.get("x")


def test_event_names_the_inference_service(connect):
    path = "/apis/events.k8s.io/v1/namespaces/models/events"
    with api_server({("POST", path): (201, {})}) as (url, received):
        connect(url)
        EventRecorder(ISVC).record("RolloutHeld", "m" * 2000, warning=True)
    [(_, _, event)] = received
    assert event["regarding"] == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": "iris",
        "namespace": "models",
        "uid": "u-1",
    }
    assert (event["type"], event["reason"], len(event["note"])) == ("Warning", "RolloutHeld", 1024)


def test_event_that_is_forbidden_is_an_error(connect):
    with api_server({("POST", "/apis/events.k8s.io/v1/namespaces/models/events"): (403, {})}) as (url, _):
        connect(url)
        with pytest.raises(ConfigurationError, match="403 Forbidden while recording an Event"):
            EventRecorder(ISVC).record("RolloutHeld", "held")


def test_pod_is_read_through_a_port_forward(connect):
    requests = []

    def respond(connection, request):
        requests.append(request)
        body = "x" * 100_000
        connection.send(b"\0" + f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), 30_000):
            connection.send(b"\0" + body[start : start + 30_000].encode())

    with forwarder(8085, respond) as url:
        connect(url)
        assert PodClient("models").get("iris-1", 8085, "/pairs?after=0") == "x" * 100_000
    assert requests[0].startswith("GET /pairs?after=0 HTTP/1.1\r\n")


def test_request_of_a_replay_has_its_id(connect):
    requests = []

    def respond(connection, request):
        requests.append(request)
        connection.send(b"\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with forwarder(8080, respond) as url:
        connect(url)
        PodClient("models").post("iris-1", 8080, "/v2/models/iris/infer", b"{}", "rollout-1")
    assert requests[0].startswith("POST /v2/models/iris/infer HTTP/1.1\r\n")
    assert "X-Request-Id: rollout-1\r\n" in requests[0]


def test_pod_that_returns_another_status_is_an_error(connect):
    def respond(connection, request):
        connection.send(b"\0HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with forwarder(8080, respond) as url:
        connect(url)
        with pytest.raises(ServerError, match="GET /metrics on port 8080 returned 404 Not Found"):
            PodClient("models").get("iris-1", 8080, "/metrics")


def test_port_without_a_listener_is_an_error(connect):
    def respond(connection, request):
        connection.send(b"\1" + b"connection refused")

    with forwarder(8080, respond) as url:
        connect(url)
        with pytest.raises(ServerError, match="GET /metrics on port 8080 failed: connection refused"):
            PodClient("models").get("iris-1", 8080, "/metrics")


@pytest.mark.parametrize(("status", "error"), [(403, ConfigurationError), (500, ServerError)])
def test_rejected_port_forward_keeps_its_status(connect, status, error):
    with forwarder(8080, lambda *_: None, reject=status) as url:
        connect(url)
        with pytest.raises(error, match=f"returned {status} .* while forwarding port 8080 of iris-1"):
            PodClient("models").get("iris-1", 8080, "/metrics")
