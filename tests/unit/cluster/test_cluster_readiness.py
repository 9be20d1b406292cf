# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What the API server says is turned into what is missing."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tools.cluster import diagnosis, readiness
from tools.cluster.command import Runner, last_lines
from tools.cluster.errors import ClusterError
from tools.cluster.progress import Progress


def deployment(**status: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "a", "name": "b", "generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, **status},
    }


def pod(ready: str = "False", **status: Any) -> dict[str, Any]:
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": ready, "reason": "R"},
    ]
    return {"status": {"conditions": conditions, **status}}


@pytest.mark.parametrize(
    ("thing", "missing"),
    [
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, None),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no network"}]}},
            "Ready is False: no network",
        ),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending"}]}},
            "Ready is Unknown: Pending",
        ),
        ({"status": {"conditions": None}}, "Ready is not reported yet"),
        ({"status": None}, "Ready is not reported yet"),
        ({}, "Ready is not reported yet"),
    ],
)
def test_a_condition_says_what_it_lacks(thing: dict[str, Any], missing: str | None) -> None:
    assert readiness.condition(thing, "Ready") == missing


@pytest.mark.parametrize(
    ("thing", "missing"),
    [
        (deployment(replicas=2, updatedReplicas=2, availableReplicas=2), None),
        (deployment(replicas=2, updatedReplicas=2, availableReplicas=1), "1 of 2 available"),
        (deployment(replicas=3, updatedReplicas=2, availableReplicas=2), "2 of 2 available"),
        (deployment(), "0 of 2 available"),
        (deployment(observedGeneration=1), "its controller has not seen it yet"),
    ],
)
def test_a_deployment_is_ready_when_it_is_rolled_out(thing: dict[str, Any], missing: str | None) -> None:
    assert readiness.deployment(thing) == missing


def test_deployments_that_lag_are_named() -> None:
    ready = deployment(replicas=2, updatedReplicas=2, availableReplicas=2)
    assert readiness.deployments([ready]) is None
    assert readiness.deployments([ready, deployment()]) == "a/b (0 of 2 available)"


def test_kinds_that_are_not_served_are_named() -> None:
    served = {
        "metadata": {"name": "x"},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
    assert readiness.kinds([served]) is None
    assert readiness.kinds([served, {"metadata": {"name": "y"}}]) == "not served yet: y"


@pytest.mark.parametrize(
    ("thing", "problem"),
    [
        (pod("True"), None),
        (pod(phase="Succeeded"), None),
        (
            pod(containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}]),
            "c: ErrImageNeverPull",
        ),
        (
            pod(
                initContainerStatuses=[
                    {"name": "i", "state": {"terminated": {"reason": "E", "message": "m"}}}
                ]
            ),
            "i: E m",
        ),
        (
            {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no cpu"}]}},
            "PodScheduled is False: no cpu",
        ),
        (pod(), "Ready is False: R"),
    ],
)
def test_a_pods_problem_is_said_in_a_few_words(thing: dict[str, Any], problem: str | None) -> None:
    assert readiness.pod_problem(thing) == problem


def test_only_the_latest_warnings_are_shown() -> None:
    def event(number: int, kind: str) -> dict[str, Any]:
        about = {"namespace": "n", "kind": "Pod", "name": f"p{number}"}
        stamp = f"2026-01-01T00:00:{number:02}Z"
        return {"type": kind, "lastTimestamp": stamp, "involvedObject": about, "reason": "R", "message": "m"}

    lines = diagnosis.warnings([event(n, "Warning") for n in range(30)] + [event(59, "Normal")])
    assert len(lines) == diagnosis.EVENTS_SHOWN
    assert lines[-1] == "n/Pod/p29: R: m"


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def answers(*given: str | None) -> Iterator[str | None]:
    yield from given
    while True:
        yield given[-1]


def test_a_wait_ends_when_nothing_is_missing() -> None:
    clock, stream = Clock(), io.StringIO()
    probe = answers("first", "second", None)
    Progress(stream, clock).wait("it", lambda: next(probe), timeout=10, interval=1, sleep=clock.sleep)
    assert clock.now == 2
    assert "ready: it (2.0 s)" in stream.getvalue()


def test_a_wait_says_what_it_waits_for_and_gives_up_with_the_last_answer() -> None:
    clock, stream = Clock(), io.StringIO()
    with pytest.raises(ClusterError, match="Waited 41 s for it: a pod"):
        Progress(stream, clock).wait("it", lambda: "a pod", timeout=40, interval=1, sleep=clock.sleep)
    assert "still waiting for it (15 s): a pod" in stream.getvalue()


def test_a_failed_command_shows_its_last_words() -> None:
    with pytest.raises(ClusterError, match=r"(?s)ended with code 3.*the reason"):
        Runner().run(["sh", "-c", "echo the reason >&2; exit 3"])


def test_a_missing_command_is_named() -> None:
    with pytest.raises(ClusterError, match="no-such-command is not there"):
        Runner().run(["no-such-command"])


def test_a_command_that_hangs_is_given_up() -> None:
    with pytest.raises(ClusterError, match="did not end"):
        Runner().run(["sleep", "30"], timeout=0.1)


def test_last_lines_skip_empty_ones() -> None:
    assert last_lines("a\n\nb\n\nc\n", 2) == "b\nc"
