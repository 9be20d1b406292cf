# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from tidegate.errors import ServerError
from tidegate_rollout.scrape import Cursor, Target, parse_lane, read_pods

PAGE = """# HELP tidegate_requests_total Requests.
tidegate_requests_total{protocol="v2",code="200"} 90.0
tidegate_requests_total{protocol="grpc",code="OK"} 10.0
tidegate_requests_total{protocol="v2",code="429"} 3.0
tidegate_requests_rejected_total{reason="internal"} 7.0
tidegate_request_duration_seconds_bucket{protocol="v2",le="0.1"} 80.0
tidegate_request_duration_seconds_bucket{protocol="grpc",le="0.1"} 10.0
tidegate_request_duration_seconds_bucket{protocol="v2",le="+Inf"} 93.0
tidegate_request_duration_seconds_bucket{protocol="grpc",le="+Inf"} 10.0
tidegate_shadow_requests_total{protocol="v2",code="200"} 5.0
tidegate_shadow_requests_total{protocol="v2",code="429"} 2.0
tidegate_shadow_request_duration_seconds_bucket{protocol="v2",le="0.1"} 4.0
tidegate_shadow_request_duration_seconds_bucket{protocol="v2",le="+Inf"} 7.0
"""


class Pods:
    """Pods that return pages by path, and record the requests."""

    def __init__(self, **pages):
        self.pages = pages
        self.requests = []

    def get(self, pod, port, path):
        self.requests.append((pod, port, path))
        page = self.pages[pod]
        if isinstance(page, ServerError):
            raise page
        return page if path == "/metrics" else json.dumps(self.samples(path))

    def samples(self, path):
        rows = [["k1", "d", "yes", 0.5], ["k2", "d", "no", None]]
        after = int(path.rpartition("=")[2])
        return {"digest": "x", "epoch": "e1", "next": 2, "samples": rows[after:]}


def target(pod="a", track="stable", *, shadow=False):
    return Target(track, pod, 8082, shadow=shadow)


def test_lane_of_users_sums_the_protocols():
    lane = parse_lane(PAGE, shadow=False)
    assert lane.responses == {"200": 90, "OK": 10, "429": 3}
    assert lane.buckets == {0.1: 90, float("inf"): 103}


def test_lane_of_mirrored_requests_ignores_rejections_by_load():
    lane = parse_lane(PAGE, shadow=True)
    assert lane.responses == {"200": 5}
    assert lane.buckets == {0.1: 4, float("inf"): 7}


@pytest.mark.parametrize(("page", "shadow"), [("", False), (PAGE.partition("tidegate_shadow")[0], True)])
def test_page_of_another_server_is_an_error(page, shadow):
    with pytest.raises(ServerError, match="expected a server of this version"):
        parse_lane(page, shadow=shadow)


def test_counts_have_the_tails_of_the_edges():
    [reading], _ = read_pods([target()], Pods(a=PAGE).get, {}, samples=False)
    counts = reading.counts([0.1])
    assert (counts.requests, counts.overloaded, counts.timed, counts.slow) == (100, 3, 103, (13,))
    assert reading.cursor is None


def test_pod_that_does_not_respond_is_left_out():
    pods = Pods(a=ServerError("timed out"), b=PAGE)
    readings, failures = read_pods([target("a"), target("b")], pods.get, {}, samples=False)
    assert [reading.target.pod for reading in readings] == ["b"]
    assert failures == ["a: timed out"]


def test_samples_continue_at_the_cursor():
    pods = Pods(a=PAGE)
    [first], _ = read_pods([target()], pods.get, {}, samples=True)
    assert [sample.key for sample in first.samples] == ["k1", "k2"]
    [second], _ = read_pods([target()], pods.get, {"a": Cursor("e1", 1)}, samples=True)
    assert [sample.key for sample in second.samples] == ["k2"]
    assert first.cursor == second.cursor == Cursor("e1", 2)
    assert [request for request in pods.requests if request[1] == 8085] == [
        ("a", 8085, "/pairs?after=0"),
        ("a", 8085, "/pairs?after=1"),
    ]


def test_samples_of_a_restarted_server_begin_anew():
    [reading], _ = read_pods([target()], Pods(a=PAGE).get, {"a": Cursor("e0", 2)}, samples=True)
    assert [sample.key for sample in reading.samples] == ["k1", "k2"]


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON"])
def test_samples_of_another_server_are_an_error(text):
    def get(pod, port, path):
        return PAGE if path == "/metrics" else text

    readings, failures = read_pods([target()], get, {}, samples=True)
    assert readings == []
    assert failures[0].startswith("a: /pairs: expected samples as JSON")
