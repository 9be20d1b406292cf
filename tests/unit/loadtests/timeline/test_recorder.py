# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The recorder against a fake API server over HTTP."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api_server import FakeApiServer, Fault, bookmark, encode, run_api_server, status_document
from tidegate.errors import ConfigurationError
from tidegate_loadtests.campaign import Watch
from tidegate_loadtests.timeline import recorder as recorder_module
from tidegate_loadtests.timeline import reflector as reflector_module
from tidegate_loadtests.timeline.recorder import TimelineRecorder, record
from tidegate_loadtests.timeline.records import ReplicaRecord, Timeline
from tidegate_loadtests.timeline.resources import RESOURCES

WATCH = Watch(namespace="models", inference_service="iris")
NAME = "iris-predictor"
POD = f"{NAME}-5d9f8c7b6a-abcde"


def make_deployment(desired: int, ready: int, name: str = NAME) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"replicas": desired},
        "status": {"replicas": desired, "readyReplicas": ready},
    }


def make_autoscaler(desired: int, utilization: int) -> dict[str, Any]:
    metric = {"name": "cpu", "container": "server", "current": {"averageUtilization": utilization}}
    return {
        "metadata": {"name": "any"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": NAME}, "maxReplicas": 5},
        "status": {
            "desiredReplicas": desired,
            "currentMetrics": [{"type": "ContainerResource", "containerResource": metric}],
        },
    }


def make_pod(ready: bool, name: str = POD, deployment: str = NAME) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{deployment}-5d9f8c7b6a"}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def make_slice(*pods: str) -> dict[str, Any]:
    endpoints = [{"targetRef": {"name": pod}, "conditions": {"ready": True}} for pod in pods]
    return {"metadata": {"name": "slice"}, "endpoints": endpoints}


def make_event(count: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{POD}.17"},
        "involvedObject": {"kind": "Pod", "name": POD},
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed",
        "count": count,
    }


@pytest.fixture(autouse=True)
def catch_up_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for the last events, which a busy machine delays."""
    monkeypatch.setattr(recorder_module, "_CATCH_UP_SECONDS", 30.0)


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with run_api_server() as running:
        running.put("deployments", make_deployment(1, 1))
        running.put("deployments", make_deployment(9, 9, "other"))
        running.put("horizontalpodautoscalers", make_autoscaler(1, 20))
        running.put("pods", make_pod(True))
        running.put("pods", make_pod(True, "other-5d9f8c7b6a-abcde", "other"))
        running.put("endpointslices", make_slice(POD))
        running.put("events", make_event(1))
        yield running


def timeline(recording: TimelineRecorder) -> Timeline:
    return recording.timeline(0.0)


def counts(recording: TimelineRecorder) -> list[tuple[int, int, int]]:
    return [(record.desired, record.current, record.ready) for record in timeline(recording).replicas]


def test_recorder_writes_one_record_per_change(server: FakeApiServer) -> None:
    with record(WATCH, server.client()) as recording:
        assert recording.ready_replicas == 1
        server.put("deployments", make_deployment(3, 1))
        server.put("deployments", make_deployment(3, 1))
        server.put("deployments", make_deployment(3, 3))
        server.put("horizontalpodautoscalers", make_autoscaler(3, 95))
    assert counts(recording)[:1] == [(1, 1, 1)]
    assert counts(recording)[-1] == (3, 3, 3)
    last = timeline(recording).replicas[-1]
    assert (last.hpa_desired, last.hpa_max, last.metric) == (3, 5, 95.0)
    # Both resources have a watch of their own, so the order of their changes may differ.
    assert len(timeline(recording).replicas) == 4
    assert timeline(recording).gaps == []


def test_recorder_follows_a_pod_until_it_is_gone(server: FakeApiServer) -> None:
    with record(WATCH, server.client()) as recording:
        terminating = make_pod(False)
        terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        server.put("pods", terminating)
        server.delete("pods", POD)
    pods = timeline(recording).pods
    assert [pod.name for pod in pods] == [POD] * 3
    assert [(pod.ready, pod.endpoint_ready, pod.deleted, pod.gone) for pod in pods] == [
        (True, True, False, False),
        (False, True, True, False),
        (False, False, True, True),
    ]


def test_recorder_follows_the_endpoint_of_a_pod(server: FakeApiServer) -> None:
    with record(WATCH, server.client()) as recording:
        server.put("endpointslices", make_slice())
    assert [pod.endpoint_ready for pod in timeline(recording).pods] == [True, False]


def test_recorder_leaves_out_events_from_before(server: FakeApiServer) -> None:
    with record(WATCH, server.client()) as recording:
        server.put("events", make_event(2))
        server.put("events", make_event(2) | {"involvedObject": {"kind": "Node", "name": "n"}})
    events = [(event.kind, event.name, event.reason, event.count) for event in timeline(recording).events]
    assert events == [("Pod", POD, "Unhealthy", 2)]


def test_times_count_from_the_start_of_the_campaign(server: FakeApiServer) -> None:
    with record(WATCH, server.client()) as recording:
        pass
    [first] = timeline(recording).replicas
    assert recording.timeline(first.time - 5.0).replicas == [ReplicaRecord(5.0, 1, 1, 1, 1, 5, 20.0)]


FAULTS = {
    "status 410": Fault(status=410, times=2),
    "error 410 in the stream": Fault(lines=(encode("ERROR", status_document(410)),), times=2),
    "cut": Fault(cut_after=1, times=2),
    "cut at once": Fault(cut_after=0, times=2),
    "clean end before the bookmark": Fault(end_after=1, times=2),
    "status 500": Fault(status=500, times=2),
    "garbage": Fault(lines=(b"<html>",), times=2),
    "array": Fault(lines=(b"[1]",), times=2),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_recorder_starts_complete_despite_a_fault(server: FakeApiServer, fault: Fault) -> None:
    server.faults = {"pods": Fault(**vars(fault))}
    with record(WATCH, server.client()) as recording:
        server.put("pods", make_pod(False))
    assert [pod.ready for pod in timeline(recording).pods] == [True, False]


def test_server_without_streamed_lists_is_complete(server: FakeApiServer) -> None:
    server.streams_lists = False
    with record(WATCH, server.client()) as recording:
        server.put("deployments", make_deployment(2, 1))
    assert counts(recording) == [(1, 1, 1), (2, 2, 1)]
    assert timeline(recording).gaps == []


def test_list_without_last_bookmark_falls_back_to_a_list(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "LIST_SILENCE_SECONDS", 0.3)
    server.bookmarks = False
    with record(WATCH, server.client()) as recording:
        server.put("deployments", make_deployment(2, 1))
    assert counts(recording) == [(1, 1, 1), (2, 2, 1)]
    assert timeline(recording).gaps == []


def test_clean_end_of_a_watch_leaves_no_gap(server: FakeApiServer) -> None:
    server.faults = {"pods": Fault(end_after=1, skip=1)}
    with record(WATCH, server.client()) as recording:
        server.put("pods", make_pod(False))
        server.put("pods", make_pod(True))
        server.put("pods", make_pod(False))
    assert [pod.ready for pod in timeline(recording).pods] == [True, False, True, False]
    assert timeline(recording).gaps == []


@pytest.mark.parametrize("compact", [False, True], ids=["lost connection", "lost and expired"])
def test_lost_watch_makes_a_gap_and_the_state_is_right(server: FakeApiServer, compact: bool) -> None:
    server.faults = {"deployments": Fault(cut_after=1, skip=1, times=1)}
    with record(WATCH, server.client()) as recording:
        server.put("deployments", make_deployment(2, 1))
        if compact:
            server.compact()
        server.put("deployments", make_deployment(3, 2))
    assert counts(recording)[-1] == (3, 3, 2)
    # The compaction also expires the first watch of another resource, if that watch comes later.
    [gap] = [gap for gap in timeline(recording).gaps if gap.resource == "deployments"]
    assert gap.start <= gap.end


def test_change_that_a_watch_withholds_is_a_gap(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_CATCH_UP_SECONDS", 0.05)
    server.bookmarks = False
    server.streams_lists = False
    with record(WATCH, server.client()) as recording:
        server.log.clear()
        server.objects["deployments"][NAME] |= {"spec": {"replicas": 4}}
    [gap] = timeline(recording).gaps
    assert gap.reason == "changes were missing at the end of the recording"


@pytest.mark.parametrize("resource", [resource.plural for resource in RESOURCES])
@pytest.mark.parametrize("lists_too", [False, True], ids=["watch", "list"])
def test_denied_request_names_verb_and_resource(
    server: FakeApiServer, resource: str, lists_too: bool
) -> None:
    server.faults = {resource: Fault(status=403, lists_too=lists_too)}
    verb = "list" if lists_too else "watch"
    with (
        pytest.raises(
            ConfigurationError, match=rf"denies '{verb} {resource}[a-z.0-9]* in namespace 'models''"
        ),
        record(WATCH, server.client()),
    ):
        pytest.fail("the block ran without permission")


def test_absent_deployment_names_the_inference_service(server: FakeApiServer) -> None:
    watch = Watch(namespace="models", inference_service="lost")
    with (
        pytest.raises(ConfigurationError, match="no Deployment 'lost-predictor', which KServe creates"),
        record(watch, server.client()),
    ):
        pytest.fail("the block ran without a Deployment")


def test_requests_select_only_the_watched_deployment(server: FakeApiServer) -> None:
    with record(WATCH, server.client()):
        pass
    of = [parameters for _, resource, parameters in server.requests if resource == "deployments"]
    assert {parameters.get("fieldSelector") for parameters in of} == {f"metadata.name={NAME}"}
    assert {(group, resource) for group, resource, _ in server.requests} == {
        (resource.group, resource.plural) for resource in RESOURCES
    }


def test_bookmark_is_a_line_of_a_watch() -> None:
    assert b"initial-events-end" in bookmark(3, {"k8s.io/initial-events-end": "true"})
