# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from tidegate.kubernetes.pods import (
    condition,
    container_statuses,
    is_ready,
    terminated_states,
    termination_message,
    unmet_condition,
    unready_reason,
    waiting_reason,
)


def pod(ready: str = "False", **status: Any) -> dict[str, Any]:
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": ready, "reason": "ContainersNotReady"},
    ]
    return {"metadata": {"name": "iris-1"}, "status": {"conditions": conditions} | status}


def container(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": "server", "state": state} | ({} if last is None else {"lastState": last})


UNSCHEDULED = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: no cpu"}]}
PULLING = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
RESTARTING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
CREATING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": "2025-01-01T00:00:00Z"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
FAILED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "start\nerror: No route.\n\n"}}
COMPLETED = {"terminated": {"exitCode": 0, "reason": "Completed", "message": "done"}}


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (pod("True"), None),
        (pod("False"), "Ready is False: ContainersNotReady"),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, "Unknown: no reason given"),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "m"}]}},
            "Ready is False: m",
        ),
        ({"status": {"conditions": None}}, "Ready is not reported yet"),
        ({"status": None}, "Ready is not reported yet"),
        ({}, "Ready is not reported yet"),
    ],
)
def test_unmet_condition_returns_status_and_message(resource: dict[str, Any], reason: str | None) -> None:
    unmet = unmet_condition(resource, "Ready")
    assert unmet == reason or (reason is not None and reason in str(unmet))
    assert (unmet is None) == (condition(resource, "Ready").get("status") == "True")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (UNSCHEDULED, "not scheduled: 0/1 nodes: no cpu"),
        ({"containerStatuses": [container(PULLING)]}, "server: ErrImagePull: not found"),
        ({"initContainerStatuses": [container(PULLING)]}, "server: ErrImagePull: not found"),
        ({"containerStatuses": [container(RESTARTING, FAILED)]}, "server: CrashLoopBackOff: No route."),
        ({"containerStatuses": [container(RESTARTING)]}, "server: CrashLoopBackOff: back-off 10s"),
        ({"containerStatuses": [container(FAILED)]}, "server: Error, exit code 1: No route."),
        ({"containerStatuses": [container(KILLED)]}, "server: OOMKilled, exit code 137"),
        ({"containerStatuses": [container({"terminated": {"exitCode": 3}})]}, "server: exit code 3"),
    ],
)
def test_waiting_reason_of_a_blocked_pod_is_its_own(status: dict[str, Any], reason: str) -> None:
    blocked = pod(**status)
    assert waiting_reason(blocked) == f"iris-1: {reason}"
    assert unready_reason(blocked) == reason


@pytest.mark.parametrize("state", [CREATING, RUNNING, COMPLETED, {"waiting": {}}, {}])
def test_waiting_reason_of_a_starting_pod_is_none(state: dict[str, Any]) -> None:
    starting = pod(containerStatuses=[container(state)])
    assert waiting_reason(starting) is None
    assert unready_reason(starting) == "Ready is False: ContainersNotReady"


def test_waiting_reason_of_a_new_pod_is_none() -> None:
    new = {"metadata": {"name": "iris-1"}}
    assert waiting_reason(new) is None
    assert unready_reason(new) == "PodScheduled is not reported yet"


def test_unready_reason_of_a_ready_or_finished_pod_is_none() -> None:
    assert unready_reason(pod("True")) is None
    assert unready_reason(pod(phase="Succeeded")) is None


def test_is_ready_of_a_pod_in_deletion_is_false() -> None:
    assert is_ready(pod("True"))
    assert not is_ready(pod("False"))
    assert not is_ready({"metadata": {"name": "iris-1"}})
    deleted = pod("True")
    deleted["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    assert not is_ready(deleted)


def test_container_statuses_begin_with_init_containers() -> None:
    status = {"containerStatuses": [{"name": "server"}], "initContainerStatuses": [{"name": "init"}]}
    assert [entry["name"] for entry in container_statuses(pod(**status))] == ["init", "server"]
    assert container_statuses(pod(containerStatuses=None)) == []
    assert container_statuses({"status": None}) == []


def test_terminated_states_are_in_the_order_of_time() -> None:
    assert terminated_states(container(COMPLETED, FAILED)) == [FAILED["terminated"], COMPLETED["terminated"]]
    assert terminated_states(container(RUNNING)) == []


@pytest.mark.parametrize(
    ("state", "last", "message"),
    [
        (FAILED, None, "No route."),
        (RUNNING, FAILED, "No route."),
        (COMPLETED, FAILED, "done"),
        (KILLED, FAILED, "No route."),
        (KILLED, None, ""),
        (RUNNING, None, ""),
    ],
)
def test_termination_message_is_the_last_line(
    state: dict[str, Any], last: dict[str, Any] | None, message: str
) -> None:
    assert termination_message(container(state, last)) == message
