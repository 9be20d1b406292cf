# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

from tests.support.contracts import contract
from tidegate.errors import ServerError
from tidegate_rollout.replay import ROWS_PER_BLOCK, Replay
from tidegate_rollout.scrape import Target

CONTRACT = contract([{"name": "x", "datatype": "FP32", "minimum": 0, "maximum": 1}], rows=[[0.5]])
TARGETS = [
    Target(track, f"{track}-{number}", 8080, shadow=False) for track in ("a", "b") for number in (1, 2)
]


class Pods:
    def __init__(self, failing=None):
        self.requests = []
        self.failing = failing

    def post(self, pod, port, path, body, request_id):
        self.requests.append((pod, path, json.loads(body), request_id))
        if pod == self.failing:
            raise ServerError("POST failed")


def test_replay_sends_each_row_to_one_pod_per_track():
    pods = Pods()
    replay = Replay(CONTRACT, "iris", pods.post)
    assert replay.send(TARGETS) == []
    assert len(pods.requests) == 2 * ROWS_PER_BLOCK
    for first, second in zip(pods.requests[::2], pods.requests[1::2], strict=True):
        assert first[1:] == second[1:]
        assert first[0][0] != second[0][0]
    assert pods.requests[0][1] == "/v2/models/iris/infer"
    assert len({request_id for *_, request_id in pods.requests}) == ROWS_PER_BLOCK


def test_replay_begins_with_the_golden_rows_and_never_ends():
    pods = Pods()
    replay = Replay(CONTRACT, "iris", pods.post)
    for _ in range(3):
        replay.send(TARGETS)
    [tensor] = pods.requests[0][2]["inputs"]
    assert tensor["data"] == list(CONTRACT.golden.rows[0])
    assert len(pods.requests) == 6 * ROWS_PER_BLOCK


def test_replay_without_a_canary_sends_nothing():
    pods = Pods()
    assert Replay(CONTRACT, "iris", pods.post).send(TARGETS[:2]) == []
    assert pods.requests == []


def test_replay_reports_failures():
    failures = Replay(CONTRACT, "iris", Pods(failing="b-2").post).send(TARGETS)
    assert failures == ["b-2: POST failed"] * ROWS_PER_BLOCK
