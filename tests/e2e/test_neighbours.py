# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Independence of releases in one namespace, and complete removal by `helm uninstall`."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.kube import Namespace, run
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import StartTraffic

TRANSIENT_KINDS = {"events", "events.events.k8s.io", "pods.metrics.k8s.io"}
"""Kinds of records that belong to no release and expire."""


def kinds() -> list[str]:
    """Return all namespaced kinds of the cluster."""
    text = run(["kubectl", "api-resources", "--verbs=list", "--namespaced", "--output=name"])
    return sorted(set(text.split()) - TRANSIENT_KINDS)


def object_uids(namespace: Namespace) -> dict[str, str]:
    """Return the uid of each object of a namespace, by kind and name."""
    text = namespace.kubectl("get", ",".join(kinds()), "--ignore-not-found", "--output=json")
    items = json.loads(text)["items"] if text.strip() else []
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"] for item in items}


def object_versions(namespace: Namespace, release: str) -> dict[str, tuple[str, Any]]:
    """Return uid, generation and restarts of each object of a release, which change with the object."""
    versions = {}
    for item in json.loads(namespace.kubectl("get", ",".join(kinds()), "--output=json"))["items"]:
        name = item["metadata"]["name"]
        if name == release or name.startswith(f"{release}-") or f".{release}." in name:
            restarts = [
                entry["restartCount"] for entry in item.get("status", {}).get("containerStatuses", []) or []
            ]
            versions[f"{item['kind']}/{name}"] = (
                item["metadata"]["uid"],
                (item["metadata"].get("generation"), restarts),
            )
    return versions


def test_two_releases(
    release: Release,
    namespace: Namespace,
    target: Target,
    start_traffic: StartTraffic,
    v1: Model,
    v2: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    neighbour = Release("neighbour", namespace, target, tmp_path)
    release.install(v1, wait=False)
    neighbour.install(v1)
    release.wait()
    before = object_versions(namespace, release.name)
    assert {key.partition("/")[0] for key in before} >= {"InferenceService", "Deployment", "Pod", "HTTPRoute"}
    with start_traffic(release) as traffic:
        traffic.phase("the neighbour is updated")
        neighbour.upgrade({"model.digest": v2.digest})
        traffic.phase("the neighbour has a canary")
        neighbour.upgrade({"canary.digest": v1.digest})
        traffic.phase("the neighbour is uninstalled")
        neighbour.uninstall()
        namespace.wait(
            "the end of the neighbour's pods",
            lambda: "pods remain" if neighbour.pods() + neighbour.pods("canary") else None,
            timeout=120,
        )
        traffic.run_for(2)

    evidence["objects"] = sorted(before)
    evidence["clients"] = traffic.report.evidence()
    assert object_versions(namespace, release.name) == before
    traffic.report.assert_nothing_lost(at_least=200)


def test_uninstall(
    release: Release, namespace: Namespace, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    # Kubernetes creates these objects in each new namespace after some time.
    namespace.wait(
        "the namespace's own objects",
        lambda: (
            None
            if {"ServiceAccount/default", "ConfigMap/kube-root-ca.crt"} <= set(object_uids(namespace))
            else "they do not exist yet"
        ),
        timeout=30,
    )
    before = object_uids(namespace)
    release.install(v1, {"canary": {"digest": v2.digest}})
    release.namespace.helm("test", release.name, "--timeout=2m")
    installed = set(object_uids(namespace)) - set(before)
    release.uninstall()
    remaining: dict[str, str] = {}

    def not_removed() -> str | None:
        nonlocal remaining
        remaining = {key: uid for key, uid in object_uids(namespace).items() if key not in before}
        return f"remaining: {', '.join(remaining)}" if remaining else None

    evidence["seconds_until_removed"] = namespace.wait("the end of all objects", not_removed, timeout=120)
    evidence["objects_while_installed"] = sorted(installed)
    evidence["objects_remaining"] = sorted(remaining)
    evidence["kinds_compared"] = len(kinds())
    assert {key: object_uids(namespace)[key] for key in before} == before
    assert installed
