# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client, against an API server on the loopback interface."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

from tidegate.errors import ConfigurationError, ServerError
from tidegate.kubernetes import client
from tidegate.kubernetes.client import Cluster

Handle = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(handle: Handle) -> Iterator[tuple[str, list[str]]]:
    """Handle every request by one function; yield the server's URL and the requested paths."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            handle(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
            thread.join()


def status(code: int) -> Handle:
    return lambda handler: handler.send_error(code)


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Cluster]:
    monkeypatch.setattr(Configuration, "_default", None)

    def connect_to(url: str) -> Cluster:
        config = {
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {"token": "x"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        file = tmp_path / "config"
        file.write_text(yaml.safe_dump(config))
        # The library reads KUBECONFIG once, at its import.
        monkeypatch.setattr(client.config, "load_config", lambda: load_kube_config(str(file)))
        return Cluster()

    return connect_to


def test_client_without_a_kubeconfig_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client.config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="No cluster is configured"):
        client.load_api_client()
    assert capsys.readouterr().out == ""


CALLS: list[Callable[[Cluster], object]] = [
    lambda cluster: cluster.objects("apps/v1", "models", "deployments"),
    lambda cluster: cluster.pods("models", "a=b"),
    lambda cluster: list(cluster.follow("models", "pod", silence=0.1)),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, ConfigurationError),
        (403, ConfigurationError),
        (429, ServerError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_cluster_error_status_raises_by_its_kind(connect, call, code, error) -> None:
    with serving(status(code)) as (url, requests), pytest.raises(error, match=f"returned {code} .* while "):
        call(connect(url))
    assert len(requests) == 1


def test_objects_of_an_unknown_kind_are_none(connect) -> None:
    with serving(status(404)) as (url, _):
        assert connect(url).objects("keda.sh/v1", "models", "scaledobjects") == []


@pytest.mark.parametrize("call", CALLS)
def test_silent_cluster_raises_after_one_request(connect, monkeypatch, call) -> None:
    monkeypatch.setattr(client, "_READ_TIMEOUT_SECONDS", 0.1)
    end = threading.Event()
    with serving(lambda _: end.wait() and None) as (url, requests):
        try:
            with pytest.raises(ServerError, match="does not respond while"):
                call(connect(url))
        finally:
            end.set()
    assert len(requests) == 1
