# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import copy

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


def summed(checksum):
    return {} if checksum is None else {"annotations": {CHECKSUM: checksum}}


def pod(checksum="1", name="iris-predictor-1", **status):
    return {"metadata": {"name": name} | summed(checksum), "spec": {}, "status": status}


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
                "predictor": {"minReplicas": 1, "containers": [container(digest)]} | summed(checksum),
            },
        },
        deployment={
            "metadata": {"name": f"{isvc}-predictor", "generation": 3},
            "spec": {
                "replicas": 2,
                "template": {"metadata": summed(checksum)},
            },
            "status": {
                "observedGeneration": 3,
                "replicas": 2,
                "updatedReplicas": 2,
                "availableReplicas": 2,
            },
        },
        autoscaler={"spec": {"minReplicas": minimum}},
        pods=tuple(pods),
    )


def changed(original, path, value):
    deployment = copy.deepcopy(original.deployment)
    *parents, last = path.split(".")
    part = deployment
    for parent in parents:
        part = part[parent]
    part[last] = value
    return Track(original.name, original.service, deployment, original.autoscaler, original.pods)


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


def test_a_track_in_both_places_of_the_route_has_their_sum():
    given = route(weights=(99, 1))
    for backend in given["spec"]["rules"][0]["backendRefs"]:
        backend["name"] = "iris-predictor"
    (seen,) = assess(release(track(), route=given)).tracks
    assert seen.weight == 100


def test_a_release_whose_pods_are_new_and_available_is_ready():
    seen = assess(release(track(), track("canary", digest=OTHER), route=route()))
    assert seen.waiting == ()
    assert seen.refusal is None
    assert [(t.track, t.digest, t.replicas, t.wanted, t.weight) for t in seen.tracks] == [
        ("stable", DIGEST, 2, 2, 80),
        ("canary", OTHER, 2, 2, 20),
    ]


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("spec.template.metadata", summed("0"), "new pod template"),
        ("spec.template", {}, "new pod template"),
        ("metadata.generation", 4, "has not seen the newest Deployment"),
        ("spec.replicas", 1, "has not raised it to 2 replicas"),
        ("status.updatedReplicas", 1, "1 of 2 pods are new"),
        ("status.replicas", 3, "1 old pods are still there"),
        ("status.availableReplicas", 0, "0 of 2 pods are available"),
    ],
)
def test_what_is_missing_is_said(path, value, reason):
    (seen,) = assess(release(changed(track(), path, value))).tracks
    assert any(reason in waiting for waiting in seen.waiting)


def test_a_track_without_a_deployment_waits_for_kserve():
    bare = Track("stable", track().service, None, None, ())
    assert assess(release(bare)).waiting == ("stable: KServe has not made its Deployment yet",)


def test_a_track_whose_autoscaler_is_still_to_be_made_waits_for_it():
    made = changed(track(), "spec.replicas", 1)
    bare = Track("stable", made.service, made.deployment, None, ())
    assert "stable: its autoscaler is not there yet" in assess(release(bare)).waiting


def test_a_track_that_kserve_keeps_at_a_fixed_number_needs_no_autoscaler():
    service = copy.deepcopy(track().service)
    service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "none"
    fixed = Track("stable", service, track().deployment, None, ())
    assert assess(release(fixed)).waiting == ()


def test_a_release_of_a_chart_without_the_checksum_is_never_taken_for_ready():
    (reason,) = assess(release(track(checksum=None))).waiting
    assert "upgrade the release" in reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (route(accepted="False"), "Accepted by gateway: No such port"),
        (route(observed=4), "Accepted by gateway: not seen yet"),
        (route() | {"status": {}}, "no Gateway has taken it yet"),
    ],
)
def test_a_route_that_is_not_accepted_is_waited_for(given, reason):
    assert any(reason in waiting for waiting in assess(release(track(), route=given)).waiting)


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


def test_a_refused_bundle_is_told_in_the_words_of_the_puller():
    seen = assess(release(track(pods=[pod(**terminated(2, "error: It has another digest.\n"))])))
    assert seen.refusal == "stable: It has another digest."
    assert "CrashLoopBackOff: It has another digest." in seen.waiting[0]


def test_a_puller_between_two_tries_says_why_the_last_one_ended():
    ended = {"name": "storage-initializer", "state": {"terminated": {"exitCode": 1, "message": "No answer."}}}
    seen = assess(release(track(pods=[pod(initContainerStatuses=[ended])])))
    assert seen.waiting == ("stable: iris-predictor-1: storage-initializer: ended with 1: No answer.",)


def test_a_store_that_is_away_is_no_refusal():
    seen = assess(release(track(pods=[pod(**terminated(1, "error: The store does not answer."))])))
    assert seen.refusal is None
    assert "The store does not answer." in seen.waiting[0]


def test_pods_of_an_older_template_are_not_listened_to():
    seen = assess(release(track(pods=[pod("0", **terminated(2, "error: It has another digest."))])))
    assert seen.refusal is None
    assert seen.waiting == ()


def test_a_pod_without_a_node_says_why():
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}
    seen = assess(release(track(pods=[pod(conditions=[condition])])))
    assert seen.waiting == ("stable: iris-predictor-1 is not scheduled: 0/1 nodes: Insufficient cpu.",)
