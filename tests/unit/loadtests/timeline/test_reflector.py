# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_loadtests.timeline.records import Gap
from tidegate_loadtests.timeline.reflector import Reflector

Object = dict[str, Any]
END = {"k8s.io/initial-events-end": "true"}


class Server:
    """The objects of an API server and the events since the start, by version."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, int] = {}
        self.events: list[tuple[int, Object]] = []

    def change(self, name: str, value: int | None) -> None:
        self.version += 1
        if value is None and name not in self.objects:
            return
        kind = "DELETED" if value is None else "MODIFIED" if name in self.objects else "ADDED"
        item = make_object(name, self.objects[name] if value is None else value, self.version)
        self.objects.pop(name, None)
        if value is not None:
            self.objects[name] = value
        self.events.append((self.version, {"type": kind, "object": item}))

    def listing(self) -> Object:
        items = [make_object(name, value, self.version) for name, value in self.objects.items()]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}


def make_object(name: str, value: int, version: int) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "value": value}


def bookmark(version: int, annotations: dict[str, str] | None = None) -> Object:
    metadata = {"resourceVersion": str(version), "annotations": annotations}
    return {"type": "BOOKMARK", "object": {"metadata": metadata}}


class Harness:
    """A reflector with a clock that a test sets, and the changes that it reported."""

    def __init__(self) -> None:
        self.now = 0.0
        self.changes: list[tuple[str, int | None]] = []
        self.reflector: Reflector[int] = Reflector(
            "pods",
            lambda item: item["value"],
            lambda: self.now,
            lambda name, value: self.changes.append((name, value)),
        )

    def stream_list(self, *objects: Object, version: int) -> None:
        assert self.reflector.next_request().parameters["send_initial_events"] is True
        for item in objects:
            self.reflector.receive_event({"type": "ADDED", "object": item})
        self.reflector.receive_event(bookmark(version, END))


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_streamed_list_is_complete_at_its_bookmark(harness: Harness) -> None:
    harness.reflector.next_request()
    harness.reflector.receive_event({"type": "ADDED", "object": make_object("a", 1, 3)})
    assert (harness.reflector.objects, harness.reflector.synced) == ({}, False)
    harness.reflector.receive_event(bookmark(7, END))
    assert (harness.reflector.objects, harness.reflector.synced) == ({"a": 1}, True)
    assert harness.reflector.next_request().parameters["resource_version"] == "7"


@pytest.mark.parametrize("status", [400, 422])
def test_server_without_streamed_lists_gets_a_list(harness: Harness, status: int) -> None:
    harness.reflector.next_request()
    harness.reflector.fail(status, "unknown")
    assert not harness.reflector.next_request().watch
    harness.reflector.receive_list({"metadata": {"resourceVersion": "5"}, "items": [make_object("a", 1, 3)]})
    request = harness.reflector.next_request()
    assert (request.watch, request.parameters["resource_version"]) == (True, "5")
    assert harness.reflector.gaps == []


def test_streamed_list_without_last_bookmark_gets_a_list(harness: Harness) -> None:
    harness.reflector.next_request()
    harness.reflector.receive_event({"type": "ADDED", "object": make_object("a", 1, 3)})
    harness.reflector.end()
    assert not harness.reflector.next_request().watch


def test_clean_end_resumes_from_the_bookmark_without_gap(harness: Harness) -> None:
    harness.stream_list(version=3)
    harness.reflector.receive_event(bookmark(90))
    harness.reflector.end()
    request = harness.reflector.next_request()
    assert request.parameters["resource_version"] == "90"
    assert "send_initial_events" not in request.parameters
    harness.reflector.close(current=True)
    assert harness.reflector.gaps == []


@pytest.mark.parametrize("in_stream", [False, True])
def test_expired_version_relists_with_a_gap(harness: Harness, in_stream: bool) -> None:
    harness.stream_list(make_object("a", 1, 2), make_object("b", 1, 2), version=3)
    harness.now = 10.0
    harness.reflector.receive_event({"type": "MODIFIED", "object": make_object("a", 2, 4)})
    harness.now = 12.0
    if in_stream:
        assert not harness.reflector.receive_event(
            {"type": "ERROR", "object": {"code": 410, "message": "old"}}
        )
    else:
        harness.reflector.fail(410, "Gone")
    harness.changes.clear()
    harness.now = 15.0
    harness.stream_list(make_object("a", 3, 8), version=9)
    assert harness.changes == [("b", None), ("a", 3)]
    assert harness.reflector.gaps == [Gap("pods", 10.0, 15.0, "expired resource version")]


def test_bookmark_shortens_the_gap(harness: Harness) -> None:
    harness.stream_list(version=3)
    harness.now = 60.0
    harness.reflector.receive_event(bookmark(8))
    harness.now = 61.0
    harness.reflector.fail(0, "connection lost")
    harness.stream_list(version=9)
    assert harness.reflector.gaps == [Gap("pods", 60.0, 61.0, "connection lost")]


def test_repeated_failures_make_one_gap(harness: Harness) -> None:
    harness.stream_list(version=3)
    for second in (1.0, 2.0, 3.0):
        harness.now = second
        harness.reflector.fail(503, f"failure at {second}")
    harness.reflector.next_request()
    harness.now = 4.0
    harness.reflector.fail(0, "connection refused")
    harness.now = 5.0
    assert not harness.reflector.next_request().watch
    harness.reflector.receive_list({"metadata": {"resourceVersion": "9"}, "items": []})
    assert harness.reflector.gaps == [Gap("pods", 0.0, 5.0, "failure at 1.0")]


def test_end_of_recording_in_a_gap_records_it(harness: Harness) -> None:
    harness.stream_list(version=3)
    harness.reflector.fail(0, "connection lost")
    harness.now = 9.0
    harness.reflector.close(current=False)
    assert harness.reflector.gaps == [Gap("pods", 0.0, 9.0, "connection lost")]


def test_change_missing_at_the_end_is_a_gap(harness: Harness) -> None:
    harness.stream_list(make_object("a", 1, 2), version=3)
    assert harness.reflector.covers({"items": [make_object("a", 1, 2)]})
    assert not harness.reflector.covers({"items": [make_object("a", 2, 4)]})
    assert not harness.reflector.covers({"items": []})
    harness.now = 30.0
    harness.reflector.close(current=False)
    [gap] = harness.reflector.gaps
    assert (gap.start, gap.end) == (0.0, 30.0)


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        {"type": "ADDED"},
        {"type": "ADDED", "object": {}},
        {"type": "ADDED", "object": {"metadata": {"name": "a"}}},
        {"type": "RENAMED", "object": make_object("a", 1, 1)},
        {"type": "MODIFIED", "object": "text"},
    ],
    ids=str,
)
def test_malformed_event_is_rejected(harness: Harness, event: Any) -> None:
    harness.stream_list(version=3)
    with pytest.raises(ValueError, match="not an event of a watch"):
        harness.reflector.receive_event(event)
    assert harness.reflector.objects == {}


@pytest.mark.parametrize("listing", [{}, {"metadata": {"resourceVersion": "1"}}, []], ids=str)
def test_malformed_list_is_rejected(harness: Harness, listing: Any) -> None:
    with pytest.raises(ValueError, match="not a list of pods"):
        harness.reflector.receive_list(listing)


STEPS = st.one_of(
    st.tuples(st.just("change"), st.sampled_from("abc"), st.none() | st.integers(0, 3)),
    st.sampled_from(
        [("read",), ("read one",), ("end",), ("cut",), ("expire",), ("bookmark",), ("unsupported",)]
    ),
)


@given(st.lists(STEPS, max_size=40))
def test_state_equals_the_servers_after_any_sequence(steps: list[tuple[Any, ...]]) -> None:
    server, harness = Server(), Harness()
    reflector = harness.reflector
    oldest, streams_lists, losses = 0, True, 0
    sent: int | None = None
    """The version that the open watch has sent; None without a watch."""

    def open_watch() -> None:
        nonlocal sent
        while sent is None:
            request = reflector.next_request()
            if "send_initial_events" in request.parameters:
                if not streams_lists:
                    reflector.fail(422, "unknown")
                    continue
                for item in server.listing()["items"]:
                    reflector.receive_event({"type": "ADDED", "object": item})
                reflector.receive_event(bookmark(server.version, END))
            elif not request.watch:
                reflector.receive_list(server.listing())
                continue
            elif int(request.parameters["resource_version"]) < oldest:
                reflector.fail(410, "Gone")
                continue
            else:
                sent = int(request.parameters["resource_version"])
                continue
            sent = server.version

    def read(limit: int | None = None) -> None:
        nonlocal sent
        open_watch()
        assert sent is not None
        for version, event in [entry for entry in server.events if entry[0] > sent][:limit]:
            assert reflector.receive_event(event)
            sent = version

    for step in steps:
        harness.now += 1.0
        match step:
            case ("change", name, value):
                server.change(name, value)
            case ("read",):
                read()
            case ("read one",):
                read(1)
            case ("bookmark",):
                read()
                reflector.receive_event(bookmark(server.version))
                sent = server.version
            case ("end",):
                open_watch()
                reflector.end()
                sent = None
            case ("cut",):
                open_watch()
                reflector.fail(0, "connection lost")
                sent, losses = None, losses + 1
            case ("expire",):
                oldest = server.version
            case ("unsupported",):
                streams_lists = False
    read()
    assert reflector.objects == server.objects
    assert reflector.covers(server.listing())
    assert len(reflector.gaps) >= losses
    replayed: dict[str, int] = {}
    for name, value in harness.changes:
        replayed.pop(name, None)
        if value is not None:
            replayed[name] = value
    assert replayed == server.objects
