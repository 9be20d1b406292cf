# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import copy
from dataclasses import replace

import pytest

from tidegate_rollout.release import Release, Track
from tidegate_rollout.status import CHECKSUM, assess

DIGEST = "a" * 64
OTHER = "b" * 64


def container(digest):
    return {
        "name": "kserve-container",
        "args": ["serve", "/mnt/models/bundle", "--digest", digest, "--name", "iris"],
    }


def annotated(checksum):
    return {} if checksum is None else {"annotations": {CHECKSUM: checksum}}


def pod(checksum="1", name="iris-predictor-1", **status):
    return {"metadata": {"name": name} | annotated(checksum), "spec": {}, "status": status}


def track(name="stable", *, pods=(), minimum=2, digest=DIGEST, checksum="1"):
    isvc = "iris" if name == "stable" else f"iris-{name}"
    return Track(
        name=name,
        service={
            "metadata": {
                "name": isvc,
                "labels": {"app.kubernetes.io/component": name},
                "annotations": {"serving.kserve.io/autoscalerClass": "external"},
            },
            "spec": {
                "predictor": {"minReplicas": 1, "containers": [container(digest)]} | annotated(checksum),
            },
        },
        deployment={
            "metadata": {"name": f"{isvc}-predictor", "generation": 3},
            "spec": {
                "replicas": 2,
                "template": {"metadata": annotated(checksum)},
            },
            "status": {
                "observedGeneration": 3,
                "replicas": 2,
                "updatedReplicas": 2,
                "availableReplicas": 2,
            },
        },
        autoscaler={"spec": {"minReplicas": minimum}},
        scaled_object=None,
        replica_sets=(),
        pods=tuple(pods),
    )


def rejected(message, checksum="1", status="True", replicas=0):
    """Return a track whose ReplicaSet reports why it creates no pod."""
    condition = {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": message}
    template = {"metadata": annotated(checksum)}
    state = {"replicas": replicas, "conditions": [condition]}
    replica_set = {"spec": {"template": template}, "status": state}
    return replace(changed(track(), "status.updatedReplicas", 0), replica_sets=(replica_set,))


def unreconciled(message):
    """Return a track whose Deployment KServe could not create."""
    condition = {
        "type": "PredictorReady",
        "status": "False",
        "reason": "ReconcileFailed",
        "message": message,
    }
    service = track().service | {"status": {"conditions": [condition]}}
    return replace(track(), service=service, deployment=None)


def changed(original, path, value):
    deployment = copy.deepcopy(original.deployment)
    *parents, last = path.split(".")
    target = deployment
    for parent in parents:
        target = target[parent]
    target[last] = value
    return replace(original, deployment=deployment)


def route(accepted="True", observed=5, weights=(80, 20)):
    backends = [
        {"name": f"{isvc}-predictor", "weight": weight}
        for isvc, weight in zip(("iris", "iris-canary"), weights, strict=True)
    ]
    conditions = [
        {"type": "Accepted", "status": accepted, "observedGeneration": observed, "message": "No such port."},
        {"type": "ResolvedRefs", "status": "True", "observedGeneration": observed, "message": ""},
    ]
    return {
        "metadata": {"generation": 5},
        "spec": {"rules": [{"backendRefs": backends}]},
        "status": {"parents": [{"parentRef": {"name": "gateway"}, "conditions": conditions}]},
    }


def release(*tracks, route=None):
    return Release("iris", "models", tracks, route)


def test_assess_track_with_two_backends_sums_their_weights():
    same_backends = route(weights=(99, 1))
    for backend in same_backends["spec"]["rules"][0]["backendRefs"]:
        backend["name"] = "iris-predictor"
    (status,) = assess(release(track(), route=same_backends)).tracks
    assert status.weight == 100


def test_assess_release_with_new_available_pods_is_ready():
    status = assess(release(track(), track("canary", digest=OTHER), route=route()))
    assert status.pending == ()
    assert status.error is None
    assert [(t.track, t.digest, t.replicas, t.desired, t.weight) for t in status.tracks] == [
        ("stable", DIGEST, 2, 2, 80),
        ("canary", OTHER, 2, 2, 20),
    ]


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("spec.template.metadata", annotated("0"), "new pod template"),
        ("spec.template", {}, "new pod template"),
        ("metadata.generation", 4, "has not observed the newest Deployment"),
        ("spec.replicas", 1, "has not scaled it to 2 replicas"),
        ("status.updatedReplicas", 1, "1 of 2 pods are new"),
        ("status.replicas", 3, "1 old pods still exist"),
        ("status.availableReplicas", 0, "0 of 2 pods are available"),
    ],
)
def test_assess_incomplete_deployment_has_a_pending_reason(path, value, reason):
    (status,) = assess(release(changed(track(), path, value))).tracks
    assert any(reason in pending for pending in status.pending)


def test_assess_track_without_deployment_is_pending():
    bare = replace(track(), deployment=None, autoscaler=None)
    assert assess(release(bare)).pending == ("stable: KServe has not created its Deployment yet",)


def test_assess_track_without_its_autoscaler_is_pending():
    scaled = changed(track(), "spec.replicas", 1)
    bare = replace(scaled, autoscaler=None)
    assert "stable: its autoscaler does not exist yet" in assess(release(bare)).pending


def test_assess_track_of_fixed_size_needs_no_autoscaler():
    service = copy.deepcopy(track().service)
    service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "none"
    fixed = replace(track(), service=service, autoscaler=None)
    assert assess(release(fixed)).pending == ()


def test_assess_release_without_checksum_is_never_ready():
    (reason,) = assess(release(track(checksum=None))).pending
    assert "upgrade the release" in reason


@pytest.mark.parametrize(
    ("httproute", "reason"),
    [
        (route(accepted="False"), "Accepted by gateway: No such port"),
        (route(observed=4), "Accepted by gateway: not observed yet"),
        (route() | {"status": {}}, "no Gateway has accepted it yet"),
    ],
)
def test_assess_unaccepted_route_is_pending(httproute, reason):
    assert any(reason in pending for pending in assess(release(track(), route=httproute)).pending)


def terminated(code, message):
    return {
        "initContainerStatuses": [
            {
                "name": "storage-initializer",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"exitCode": code, "message": message}},
            }
        ]
    }


def test_assess_exit_code_2_is_an_error_with_its_message():
    status = assess(release(track(pods=[pod(**terminated(2, "error: The digest differs.\n"))])))
    assert status.error == "stable: The digest differs."
    assert "CrashLoopBackOff: The digest differs." in status.pending[0]


def test_assess_exit_code_of_an_added_container_is_no_error():
    ended = {"exitCode": 2, "message": "panic"}
    statuses = {"containerStatuses": [{"name": "agent", "state": {}, "lastState": {"terminated": ended}}]}
    assert assess(release(track(pods=[pod(**statuses)]))).error is None


def test_assess_container_before_its_restart_is_pending():
    state = {"terminated": {"exitCode": 1, "message": "No route."}}
    ended = {"name": "storage-initializer", "state": state}
    status = assess(release(track(pods=[pod(initContainerStatuses=[ended])])))
    assert status.pending == ("stable: iris-predictor-1: storage-initializer: exit code 1: No route.",)


def test_assess_exit_code_1_is_pending_but_no_error():
    status = assess(release(track(pods=[pod(**terminated(1, "error: The store is unreachable."))])))
    assert status.error is None
    assert "The store is unreachable." in status.pending[0]


def test_assess_ignores_pods_of_an_older_template():
    status = assess(release(track(pods=[pod("0", **terminated(2, "error: The digest differs."))])))
    assert status.error is None
    assert status.pending == ()


def test_assess_unscheduled_pod_is_pending():
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}
    status = assess(release(track(pods=[pod(conditions=[condition])])))
    assert status.pending == ("stable: iris-predictor-1: not scheduled: 0/1 nodes: Insufficient cpu.",)


QUOTA = (
    'pods "iris-predictor-5d4c-x2" is forbidden: exceeded quota: team, requested: {}, used: {}, limited: {}'
)


def test_assess_pods_above_the_quota_have_the_reason():
    status = assess(release(rejected(QUOTA.format("pods=1", "pods=4", "pods=4"))))
    assert status.pending[0] == (
        "stable: Kubernetes cannot create its pods: "
        "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4"
    )
    assert "stable: 0 of 2 pods are new" in status.pending
    assert status.error is None


def test_assess_pod_larger_than_the_quota_is_an_error():
    status = assess(release(rejected(QUOTA.format("limits.cpu=1", "limits.cpu=0", "limits.cpu=500m"))))
    assert status.error is not None
    assert status.error.startswith("stable: Kubernetes cannot create its pods: exceeded quota: team")
    assert status.error.endswith("; raise the quota, or request less")


def test_assess_rejection_before_the_first_pod_is_no_error_later():
    status = assess(release(rejected('pods "x" is forbidden: no PriorityClass with name a', replicas=1)))
    assert status.pending[0].endswith("all its pods, at first because of: no PriorityClass with name a")
    assert status.error is None


@pytest.mark.parametrize(("checksum", "state"), [("0", "True"), ("1", "False")])
def test_assess_ignores_rejections_that_have_ended(checksum, state):
    status = assess(release(rejected('pods "x" is forbidden: no', checksum, state)))
    assert status.pending == ("stable: 0 of 2 pods are new", "stable: 2 old pods still exist")
    assert status.error is None


def test_assess_reconciliation_that_failed_is_an_error():
    message = 'fails to reconcile predictor: services "iris-predictor" is forbidden: exceeded quota: team, '
    status = assess(
        release(
            unreconciled(
                f"{message}requested: count/services=1, used: count/services=0, limited: count/services=0"
            )
        )
    )
    assert status.pending[0].startswith(f"stable: KServe cannot create its objects: {message}")
    assert status.pending[1] == "stable: KServe has not created its Deployment yet"
    assert "raise the quota" in str(status.error)


def test_assess_reconciliation_conflict_is_pending():
    status = assess(
        release(unreconciled("Operation cannot be fulfilled on deployments.apps: it was modified."))
    )
    assert status.pending[0].endswith("cannot be fulfilled on deployments.apps: it was modified")
    assert status.error is None


def test_assess_scaled_object_of_an_old_keda_is_an_error():
    def scaled(**fallback):
        spec = {"fallback": {"replicas": 2} | fallback}
        return assess(release(replace(track(), scaled_object={"spec": spec})))

    assert scaled(behavior="currentReplicasIfHigher").pending == ()
    lost = scaled()
    assert "KEDA before 2.17" in lost.error
    assert "fall to 2" in lost.error
    assert lost.pending == (lost.error,)
