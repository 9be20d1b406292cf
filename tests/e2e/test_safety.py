# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What must not be served is not, and says why; what is served goes on; and a server holds no secrets."""

import json
from collections.abc import Callable
from typing import Any

import obstore
import pytest

from tests.e2e.confinement import assert_confined, look
from tests.e2e.kube import CommandError, Object, said
from tests.e2e.model import Model, push
from tests.e2e.release import Release
from tests.e2e.store import bucket, stopped
from tests.e2e.target import Target
from tests.e2e.traffic import Traffic

Start = Callable[..., Traffic]

PREFIX = "tampered"


def refused(release: Release, digest: str) -> dict[str, Any]:
    """Offer a digest as canary, wait until it is refused, and tell who says so and how."""
    release.upgrade({"canary.digest": digest, "canary.weight": 0}, wait=False)
    with pytest.raises(CommandError) as caught:
        release.status("--wait", "--timeout=90")
    command = caught.value
    assert command.code == 2, command

    def pods() -> list[Object]:
        return [pod for pod in release.pods("canary") if digest in json.dumps(pod["spec"])]

    def not_said() -> str | None:
        return None if any(said(pod) for pod in pods()) else "no pod has said why"

    release.namespace.wait("the reason in the pod's status", not_said, timeout=60)
    pod = next(pod for pod in pods() if said(pod))
    log = ""

    def not_logged() -> str | None:
        """A try that is under way has an empty log."""
        nonlocal log
        log = release.namespace.logs(pod["metadata"]["name"], "--container=storage-initializer")
        return None if "error: " in log else f"the log is {log!r}"

    release.namespace.wait("the reason in the log", not_logged, timeout=60)
    service = release.namespace.get(f"inferenceservice/{release.name}-canary")
    found = {
        "tidegate_status": command.said.strip().splitlines()[-1],
        "pod_status": said(pod).strip().splitlines()[-1],
        "log": log.strip().splitlines()[-1],
        "inferenceservice": service["status"]["modelStatus"].get("lastFailureInfo", {}).get("message", ""),
    }
    assert not release.ready_pods("canary")
    # Nothing was started: the serving container never ran.
    [server] = [c for c in pod["status"]["containerStatuses"] if c["name"] == "kserve-container"]
    assert server["started"] is False
    assert server["restartCount"] == 0
    assert "Traceback" not in log
    return found


def test_tampered_bundle(
    release: Release, traffic: Start, target: Target, models: tuple[Model, Model], evidence: dict[str, Any]
) -> None:
    v1, v2 = (push(model.bundle, target, PREFIX) for model in models)
    objects = bucket(target, target.models)
    folder = f"{PREFIX}/{v2.name}/{v2.digest}"
    wrong = "0" * 64
    release.install(v1)
    with traffic(release) as asking:
        asking.phase("a digest that no bundle has")
        evidence["wrong_digest"] = refused(release, wrong)
        assert wrong in evidence["wrong_digest"]["pod_status"]

        asking.phase("an object was changed")
        key = f"{folder}/model.onnx"
        content = bytearray(obstore.get(objects, key).bytes())
        content[len(content) // 2] ^= 1
        obstore.put(objects, key, bytes(content))
        evidence["tampered_object"] = refused(release, v2.digest)
        assert "model.onnx" in evidence["tampered_object"]["pod_status"]
        push(v2.bundle, target, PREFIX)

        # Away and back, so that it is tried anew.
        release.upgrade({"canary.digest": ""}, wait=False)
        release.namespace.wait(
            "the canary's end", lambda: "it has pods" if release.pods("canary") else None, timeout=60
        )
        asking.phase("an object is missing")
        obstore.delete(objects, f"{folder}/contract.json")
        evidence["missing_object"] = refused(release, v2.digest)
        assert "contract.json" in evidence["missing_object"]["pod_status"]
        push(v2.bundle, target, PREFIX)

    evidence["stable"] = asking.report.evidence()
    assert len(release.ready_pods()) == 2
    assert all(
        entry["restartCount"] == 0 for pod in release.pods() for entry in pod["status"]["containerStatuses"]
    )
    asking.report.assert_nothing_lost(at_least=200)
    for client, seen in asking.report.clients.items():
        for phase in seen["versions"]:
            assert set(asking.report.versions(client, phase)) == {v1.version}


def test_store_down(
    release: Release, traffic: Start, target: Target, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    old = {pod["metadata"]["name"] for pod in release.pods()}

    def new() -> list[Object]:
        return [pod for pod in release.pods() if pod["metadata"]["name"] not in old]

    def not_said() -> str | None:
        return None if any(said(pod) for pod in new()) else f"{len(new())} new pods, and none has said why"

    def not_told() -> str | None:
        """The command tells why between two tries; while one is under way it only counts the pods."""
        told = evidence["tidegate_status"] = release_status(release)
        [pod] = new()
        reason = said(pod).strip().splitlines()[-1].removeprefix("error: ").strip()
        return None if pod["metadata"]["name"] in told and reason in told else told

    with traffic(release) as asking:
        asking.phase("the store is down")
        with stopped(target):
            release.upgrade({"autoscaling.minReplicas": 3, "autoscaling.maxReplicas": 3}, wait=False)
            waited = release.namespace.wait("the new pod's reason", not_said, timeout=120)
            evidence["seconds_until_said"] = round(waited, 1)
            [pod] = new()
            evidence["new_pod_says"] = said(pod).strip().splitlines()[-1]
            assert "store" in evidence["new_pod_says"]
            assert not [pod for pod in release.ready_pods() if pod["metadata"]["name"] not in old]
            waited = release.namespace.wait("the reason in `tidegate status`", not_told, timeout=90)
            evidence["seconds_until_status_told"] = round(waited, 1)
            asking.go_on(5)
        asking.phase("the store is back")
        evidence["seconds_until_three_serve"] = release.wait()

    evidence["clients"] = asking.report.evidence()
    assert len(release.ready_pods()) == 3
    asking.report.assert_nothing_lost(at_least=200)


def release_status(release: Release) -> str:
    """What `tidegate status` says of a release that is not ready, which is no refusal for ever."""
    with pytest.raises(CommandError) as caught:
        release.status()
    assert caught.value.code == 1
    return str(caught.value.said.strip().splitlines()[-1])


def test_no_credentials(release: Release, v1: Model, evidence: dict[str, Any]) -> None:
    release.install(v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}})
    [pod] = release.ready_pods()
    found = look(release.namespace, pod["metadata"]["name"])
    evidence.update(found)
    assert_confined(found)
    [server] = [entry for entry in pod["spec"]["containers"] if entry["name"] == "kserve-container"]
    assert "envFrom" not in server
    assert pod["spec"].get("automountServiceAccountToken") is False
