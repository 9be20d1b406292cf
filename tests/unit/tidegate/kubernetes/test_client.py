# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster's edge, against a server on the loopback interface that answers as an API server may."""

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

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every request in this way; its address, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Cluster]:
    monkeypatch.setattr(Configuration, "_default", None)

    def connected(url: str) -> Cluster:
        config = {
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {"token": "x"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        file = tmp_path / "config"
        file.write_text(yaml.safe_dump(config))
        # Where to look for it, the client reads from the environment once, when it is imported.
        monkeypatch.setattr(client.config, "load_config", lambda: load_kube_config(str(file)))
        return Cluster()

    return connected


QUESTIONS: list[Callable[[Cluster], object]] = [
    lambda asked: asked.objects("apps/v1", "models", "deployments"),
    lambda asked: asked.pods("models", "a=b"),
    lambda asked: list(asked.follow("models", "pod", silence=0.1)),
]


@pytest.mark.parametrize("question", QUESTIONS)
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
def test_a_refusal_is_the_users_and_a_failure_worth_another_try(connect, question, code, error) -> None:
    with serving(status(code)) as (url, asked), pytest.raises(error, match=f"refuses .*{code}"):
        question(connect(url))
    assert len(asked) == 1


def test_a_kind_that_the_cluster_does_not_know_has_no_objects(connect) -> None:
    with serving(status(404)) as (url, _):
        assert connect(url).objects("keda.sh/v1", "models", "scaledobjects") == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_cluster_that_is_silent_is_given_up_and_asked_once(connect, monkeypatch, question) -> None:
    monkeypatch.setattr(client, "_ANSWER_SECONDS", (10.0, 0.1))
    over = threading.Event()
    with serving(lambda _: over.wait() and None) as (url, asked):
        try:
            with pytest.raises(ServerError, match="does not answer while"):
                question(connect(url))
        finally:
            over.set()
    assert len(asked) == 1
