# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rejected bundles and pods, signatures, an outage of the store, and a server without credentials."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import obstore
import pytest

from tests.e2e.confinement import assert_confined, inspect_container
from tests.e2e.kube import (
    CommandError,
    Namespace,
    Object,
    last_termination_message,
    termination_messages,
    tidegate,
)
from tests.e2e.model import Model, push
from tests.e2e.release import Release
from tests.e2e.store import bucket, outage
from tests.e2e.target import Target
from tests.e2e.traffic import StartTraffic
from tests.support.signing import new_key, public_pem, write_private
from tidegate.bundle import ATTESTATIONS
from tidegate.errors import ExitCode
from tidegate.trust.signing_key import SigningKey

PREFIX = "tampered"


def deploy_rejected_canary(release: Release, digest: str) -> dict[str, Any]:
    """Set a digest as canary, wait until its pods reject it, and return the reason from each source."""
    release.upgrade({"canary.digest": digest, "canary.weight": 0}, wait=False)
    with pytest.raises(CommandError) as caught:
        release.status("--wait", "--timeout=90")
    command = caught.value
    assert command.code == 2, command

    def pods() -> list[Object]:
        return [pod for pod in release.pods("canary") if digest in json.dumps(pod["spec"])]

    def no_message() -> str | None:
        return (
            None if any(termination_messages(pod) for pod in pods()) else "no pod has a termination message"
        )

    release.namespace.wait("the reason in the pod's status", no_message, timeout=60)
    pod = next(pod for pod in pods() if termination_messages(pod))
    log = ""

    def not_logged() -> str | None:
        """Return why the log lacks the reason; the log of a running attempt is empty."""
        nonlocal log
        log = release.namespace.logs(pod["metadata"]["name"], "--container=storage-initializer")
        return None if "error: " in log else f"the log is {log!r}"

    release.namespace.wait("the reason in the log", not_logged, timeout=60)
    service = release.namespace.get(f"inferenceservice/{release.name}-canary")
    reasons = {
        "tidegate_status": command.last_line,
        "pod_status": last_termination_message(pod),
        "log": log.strip().splitlines()[-1],
        "inferenceservice": service["status"]["modelStatus"].get("lastFailureInfo", {}).get("message", ""),
    }
    assert not release.ready_pods("canary")
    # The serving container has never started.
    [server] = [c for c in pod["status"]["containerStatuses"] if c["name"] == "kserve-container"]
    assert server["started"] is False
    assert server["restartCount"] == 0
    assert "Traceback" not in log
    return reasons


def test_tampered_bundle(
    release: Release,
    start_traffic: StartTraffic,
    target: Target,
    models: tuple[Model, Model],
    evidence: dict[str, Any],
) -> None:
    v1, v2 = (push(model.bundle, target, PREFIX) for model in models)
    objects = bucket(target, target.models)
    folder = f"{PREFIX}/{v2.name}/{v2.digest}"
    unknown_digest = "0" * 64
    release.install(v1)
    with start_traffic(release) as traffic:
        traffic.phase("a digest that no bundle has")
        evidence["wrong_digest"] = deploy_rejected_canary(release, unknown_digest)
        assert unknown_digest in evidence["wrong_digest"]["pod_status"]

        traffic.phase("an object was changed")
        key = f"{folder}/model.onnx"
        content = bytearray(obstore.get(objects, key).bytes())
        content[len(content) // 2] ^= 1
        obstore.put(objects, key, bytes(content))
        evidence["tampered_object"] = deploy_rejected_canary(release, v2.digest)
        assert "model.onnx" in evidence["tampered_object"]["pod_status"]
        push(v2.bundle, target, PREFIX)

        remove_canary(release)
        traffic.phase("an object is missing")
        obstore.delete(objects, f"{folder}/contract.json")
        evidence["missing_object"] = deploy_rejected_canary(release, v2.digest)
        assert "contract.json" in evidence["missing_object"]["pod_status"]
        push(v2.bundle, target, PREFIX)

    evidence["stable"] = traffic.report.evidence()
    assert len(release.ready_pods()) == 2
    assert all(
        entry["restartCount"] == 0 for pod in release.pods() for entry in pod["status"]["containerStatuses"]
    )
    traffic.report.assert_nothing_lost(at_least=200)
    for client, stats in traffic.report.clients.items():
        for phase in stats["versions"]:
            assert set(traffic.report.versions(client, phase)) == {v1.version}


def remove_canary(release: Release) -> None:
    """Remove the canary, so that its next pods start from the beginning."""
    release.upgrade({"canary.digest": ""}, wait=False)
    release.namespace.wait(
        "the canary's end", lambda: "it has pods" if release.pods("canary") else None, timeout=60
    )


def test_signed_bundles(
    release: Release,
    start_traffic: StartTraffic,
    target: Target,
    models: tuple[Model, Model],
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    v1, v2 = (push(model.bundle, target, "signed") for model in models)
    trusted, unknown = new_key(), new_key()

    def sign(model: Model, key: SigningKey) -> None:
        file = write_private(key, tmp_path / f"{key.fingerprint}.pem")
        tidegate("sign", model.reference, f"--key={file}", env=target.store_environment())

    for name in ATTESTATIONS:  # of an earlier run
        with suppress(FileNotFoundError):
            obstore.delete(bucket(target, target.models), f"signed/{v2.name}/{v2.digest}/{name}")
    sign(v1, trusted)
    signers = [{"name": "training", "publicKey": public_pem(trusted)}]
    evidence["seconds_until_signed_stable_serves"] = release.install(v1, {"trust": {"signers": signers}})
    with start_traffic(release) as traffic:
        traffic.phase("the canary is not signed")
        evidence["unsigned"] = deploy_rejected_canary(release, v2.digest)
        assert "is not signed: it has no bundle.sig" in evidence["unsigned"]["pod_status"]

        remove_canary(release)
        traffic.phase("an unknown key has signed the canary")
        sign(v2, unknown)
        evidence["unknown_key"] = deploy_rejected_canary(release, v2.digest)
        assert "training: it is by another key" in evidence["unknown_key"]["pod_status"]

        remove_canary(release)
        traffic.phase("the trusted key has signed the canary")
        sign(v2, trusted)
        release.upgrade({"canary.digest": v2.digest})
        assert release.ready_pods("canary")

        remove_canary(release)
        traffic.phase("the canary's digest is revoked")
        release.upgrade({"trust.revoked": [v2.digest]})
        evidence["revoked"] = deploy_rejected_canary(release, v2.digest)
        assert "is revoked by the policy" in evidence["revoked"]["pod_status"]

    evidence["stable"] = traffic.report.evidence()
    traffic.report.assert_nothing_lost(at_least=200)


def test_store_down(
    release: Release, start_traffic: StartTraffic, target: Target, v1: Model, evidence: dict[str, Any]
) -> None:
    release.install(v1)
    old = {pod["metadata"]["name"] for pod in release.pods()}

    def new_pods() -> list[Object]:
        return [pod for pod in release.pods() if pod["metadata"]["name"] not in old]

    def no_message() -> str | None:
        pods = new_pods()
        if any(termination_messages(pod) for pod in pods):
            return None
        return f"none of {len(pods)} new pods has a termination message"

    def reason_not_in_status() -> str | None:
        """Return why the command's reason is not the pod's; during an attempt it only counts the pods."""
        error = status_error(release)
        output = evidence["tidegate_status"] = error.last_line
        [pod] = new_pods()
        reason = last_termination_message(pod).removeprefix("error: ").strip()
        named = pod["metadata"]["name"] in output and reason in output
        return None if error.code == ExitCode.CRASH and named else str(error)

    with start_traffic(release) as traffic:
        traffic.phase("the store is down")
        with outage(target):
            release.upgrade({"autoscaling.minReplicas": 3, "autoscaling.maxReplicas": 3}, wait=False)
            waited = release.namespace.wait("the new pod's reason", no_message, timeout=120)
            evidence["seconds_until_reason_in_pod"] = round(waited, 1)
            [pod] = new_pods()
            evidence["pod_status"] = last_termination_message(pod)
            assert "store" in evidence["pod_status"]
            assert not [pod for pod in release.ready_pods() if pod["metadata"]["name"] not in old]
            waited = release.namespace.wait(
                "the reason in `tidegate status`", reason_not_in_status, timeout=90
            )
            evidence["seconds_until_reason_in_status"] = round(waited, 1)
            traffic.run_for(5)
        traffic.phase("the store is up")
        # The next pull may begin only after a pause of 160 s: pauses double up to 5 minutes.
        evidence["seconds_until_three_serve"] = release.wait(timeout=360)

    evidence["clients"] = traffic.report.evidence()
    assert len(release.ready_pods()) == 3
    traffic.report.assert_nothing_lost(at_least=200)


def status_error(release: Release) -> CommandError:
    """Return the error of `tidegate status` for a release that is not ready.

    Its code is `ExitCode.CRASH` if the release may become ready: a retry can overcome that.
    """
    with pytest.raises(CommandError) as caught:
        release.status()
    return caught.value


def test_quota_refused(release: Release, namespace: Namespace, v1: Model, evidence: dict[str, Any]) -> None:
    def set_quota(limit: str) -> None:
        spec = {"hard": {"limits.memory": limit}}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": spec}
        namespace.apply(quota)

    def reason_that_waiting_does_not_change() -> str:
        with pytest.raises(CommandError) as caught:
            release.status("--wait", "--timeout=60")
        assert caught.value.code == 2, caught.value
        return caught.value.last_line

    set_quota("512Mi")
    release.install(v1, {"autoscaling": {"type": "none"}}, wait=False)
    evidence["quota_below_one_pod"] = reason_that_waiting_does_not_change()
    assert "exceeded quota: team" in evidence["quota_below_one_pod"]
    assert "raise the quota" in evidence["quota_below_one_pod"]
    assert not release.pods()

    # A new template, because the ReplicaSet's controller may retry only after minutes.
    release.upgrade({"priorityClassName": "absent"}, wait=False)
    evidence["priority_class"] = reason_that_waiting_does_not_change()
    assert "no PriorityClass with name absent" in evidence["priority_class"]

    set_quota("1Gi")
    release.upgrade({"priorityClassName": ""}, wait=False)

    def second_pod_not_named() -> str | None:
        error = status_error(release)
        output = evidence["quota_below_two_pods"] = error.last_line
        named = "exceeded quota: team" in output and len(release.pods()) == 1
        return None if error.code == ExitCode.CRASH and named else str(error)

    namespace.wait("the second pod's reason", second_pod_not_named, timeout=60)


def test_no_credentials(release: Release, v1: Model, evidence: dict[str, Any]) -> None:
    release.install(v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}})
    [pod] = release.ready_pods()
    result = inspect_container(release.namespace, pod["metadata"]["name"])
    evidence.update(result)
    assert_confined(result)
    [server] = [entry for entry in pod["spec"]["containers"] if entry["name"] == "kserve-container"]
    assert "envFrom" not in server
    assert pod["spec"].get("automountServiceAccountToken") is False
