# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The server's side of a rollout: the ports of mirrored requests, and the sampled predictions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import httpx
import pytest

from tests.protocol.clients import JSON_HEADERS, SERVICE, infer_request, metric_value, one_row
from tests.support.servers import LiveServer
from tidegate.protocol.requests import v1_body, v2_body
from tidegate_rollout.evidence import increase
from tidegate_rollout.pairs import PairCounts, PairJoiner
from tidegate_rollout.policy import PredictionLimits, RolloutPolicy
from tidegate_rollout.scrape import Cursor, PodReading, Target, read_pods
from tidegate_serving._kserve import pb


@pytest.fixture
def shadow(regression_server: LiveServer) -> LiveServer:
    """The server as the Gateway's mirror sees it."""
    return replace(regression_server, http=regression_server.shadow_http, grpc=regression_server.shadow_grpc)


def send(server: LiveServer, request_id: str) -> list[float]:
    """Send a row over REST on both paths and over gRPC, and return the predictions."""
    contract, row = server.bundle.contract, one_row(server)
    v1, v2 = f"/v1/models/{server.name}:predict", f"/v2/models/{server.name}/infer"
    headers = JSON_HEADERS | {"X-Request-Id": request_id}
    with httpx.Client(base_url=server.http, headers=headers, timeout=30) as client:
        first = client.post(v1, content=v1_body(contract, row))
        second = client.post(v2, content=v2_body(contract, row))
        framework = client.post(v2, content=v2_body(contract, row), headers={"Connection": "close"})
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(
            f"{SERVICE}ModelInfer",
            lambda message: message.SerializeToString(),
            pb.ModelInferResponse.FromString,
        )
        metadata = (("x-request-id", request_id),)
        message = call(infer_request(server, row, raw=True), metadata=metadata, timeout=30)
    assert message.model_name == server.name
    rest = [each.json()["outputs"][0]["data"][0] for each in (second, framework)]
    return [first.json()["predictions"][0], *rest]


def read_pairs(server: LiveServer, after: int = 0) -> Any:
    return httpx.get(server.pairs, params={"after": after}, timeout=30).json()


def counts(server: LiveServer, lane: str) -> Iterator[float]:
    for protocol, code in (("v1", "200"), ("v2", "200"), ("grpc", "OK")):
        yield metric_value(server, f'{lane}_requests_total{{code="{code}",protocol="{protocol}"}}')


def test_mirrored_requests_have_the_predictions_and_own_counters(
    regression_server: LiveServer, shadow: LiveServer
) -> None:
    users = list(counts(regression_server, "tidegate"))
    before = list(counts(regression_server, "tidegate_shadow"))
    predictions = send(shadow, "mirrored")
    assert list(counts(regression_server, "tidegate")) == users
    assert [a - b for a, b in zip(counts(regression_server, "tidegate_shadow"), before, strict=True)] == [
        1,
        2,
        1,
    ]
    assert predictions == send(regression_server, "of-a-user")


def test_shadow_port_serves_the_model_alone(shadow: LiveServer) -> None:
    assert httpx.get(f"{shadow.http}/v2/health/ready", timeout=30).json() == {"ready": True}
    for path in ("/metrics", "/pairs", "/v1/models"):
        assert httpx.get(f"{shadow.http}{path}", timeout=30).status_code == 404
    error = httpx.post(f"{shadow.http}/v1/models/{shadow.name}:predict", json={}, timeout=30)
    assert (error.status_code, error.headers["content-type"]) == (400, "application/json")


def test_pairs_of_a_user_and_of_the_mirror_are_equal(
    regression_server: LiveServer, shadow: LiveServer
) -> None:
    before = read_pairs(regression_server)
    assert before["digest"] == regression_server.bundle.digest
    samples = []
    for server in (regression_server, shadow):
        start = read_pairs(regression_server)["next"]
        predictions = send(server, "pair")
        document = read_pairs(regression_server, start)
        assert document["epoch"] == before["epoch"]
        assert document["next"] == start + 4
        assert [score for *_, score in document["samples"]] == pytest.approx([predictions[0]] * 4)
        samples += document["samples"]
    # V1 selects one output, and V2 all of them: here they are the same.
    assert len({(key, digest) for key, digest, *_ in samples}) == 1
    send(regression_server, "another")
    assert read_pairs(regression_server)["samples"][-1][:2] != samples[-1][:2]


def test_pairs_are_off_by_default(numeric_server: LiveServer) -> None:
    assert numeric_server.pairs.endswith(":None/pairs")
    assert numeric_server.shadow_http.endswith(":None")


def test_scrape_counts_both_lanes_and_joins_the_pairs(
    regression_server: LiveServer, shadow: LiveServer
) -> None:
    def get(pod: str, port: int, path: str) -> str:
        base = regression_server.pairs if path.startswith("/pairs") else regression_server.metrics
        return httpx.get(f"{base.rpartition('/')[0]}{path}", timeout=30).text

    def read(cursors: dict[str, Cursor]) -> list[PodReading]:
        tracks = (("stable", False), ("canary", True))
        targets = [Target(track, track, 8080, shadow=shadow) for track, shadow in tracks]
        readings, failures = read_pods(targets, get, cursors, samples=True)
        assert failures == []
        return readings

    policy = RolloutPolicy()
    first = read({})
    edges = policy.latency_edges(list(first[0].lane.buckets))
    before = {reading.target.pod: reading.counts(edges) for reading in first}
    send(regression_server, "joined")
    send(shadow, "joined")
    second = read({reading.target.pod: reading.cursor for reading in first if reading.cursor})
    for reading in second:
        counts = increase(before, {reading.target.pod: reading.counts(edges)})
        assert (counts.requests, counts.timed, counts.bad, counts.client_errors) == (4, 4, 0, 0)
    stable, canary = (reading.samples for reading in second)
    # Both lanes are of one server here, so each reading has the samples of both.
    assert len(stable) == len(canary) == 8
    pairs = PairJoiner().join(stable[:4], canary[4:])
    counted = PairCounts().add(pairs, policy.predictions or PredictionLimits())
    assert (counted.pairs, counted.valued, counted.differing, counted.equal) == (1, 1, 0, 1)
