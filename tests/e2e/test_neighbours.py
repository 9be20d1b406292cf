# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Releases do not touch each other, and one that goes leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.kube import Namespace, run
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import Traffic

Start = Callable[..., Traffic]

PASSING = {"events", "events.events.k8s.io", "pods.metrics.k8s.io"}
"""Kinds that tell what happened and are nobody's objects."""


def kinds() -> list[str]:
    """List every namespaced kind that the cluster has."""
    text = run(["kubectl", "api-resources", "--verbs=list", "--namespaced", "--output=name"])
    return sorted(set(text.split()) - PASSING)


def everything(namespace: Namespace) -> dict[str, str]:
    """List all objects of a namespace, each with its uid."""
    text = namespace.kubectl("get", ",".join(kinds()), "--ignore-not-found", "--output=json")
    items = json.loads(text)["items"] if text.strip() else []
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"] for item in items}


def described(namespace: Namespace, release: str) -> dict[str, tuple[str, Any]]:
    """Tell a release's objects with what would change if they were touched: uid and generation."""
    found = {}
    for item in json.loads(namespace.kubectl("get", ",".join(kinds()), "--output=json"))["items"]:
        name = item["metadata"]["name"]
        if name == release or name.startswith(f"{release}-") or f".{release}." in name:
            restarts = [
                entry["restartCount"] for entry in item.get("status", {}).get("containerStatuses", []) or []
            ]
            found[f"{item['kind']}/{name}"] = (
                item["metadata"]["uid"],
                (item["metadata"].get("generation"), restarts),
            )
    return found


def test_two_releases(
    release: Release,
    namespace: Namespace,
    target: Target,
    traffic: Start,
    v1: Model,
    v2: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    neighbour = Release("neighbour", namespace, target, tmp_path)
    release.install(v1, wait=False)
    neighbour.install(v1)
    release.wait()
    before = described(namespace, release.name)
    assert {key.partition("/")[0] for key in before} >= {"InferenceService", "Deployment", "Pod", "HTTPRoute"}
    with traffic(release) as asking:
        asking.phase("the neighbour is updated")
        neighbour.upgrade({"model.digest": v2.digest})
        asking.phase("the neighbour has a canary")
        neighbour.upgrade({"canary.digest": v1.digest})
        asking.phase("the neighbour goes")
        neighbour.uninstall()
        namespace.wait(
            "the end of the neighbour's pods",
            lambda: "pods are left" if neighbour.pods() + neighbour.pods("canary") else None,
            timeout=120,
        )
        asking.go_on(2)

    evidence["objects"] = sorted(before)
    evidence["clients"] = asking.report.evidence()
    assert described(namespace, release.name) == before
    asking.report.assert_nothing_lost(at_least=200)


def test_uninstall(
    release: Release, namespace: Namespace, v1: Model, v2: Model, evidence: dict[str, Any]
) -> None:
    # What every namespace gets by itself is there only after a moment.
    namespace.wait(
        "the namespace's own objects",
        lambda: (
            None
            if {"ServiceAccount/default", "ConfigMap/kube-root-ca.crt"} <= set(everything(namespace))
            else ""
        ),
        timeout=30,
    )
    before = everything(namespace)
    release.install(v1, {"canary": {"digest": v2.digest}})
    release.namespace.helm("test", release.name, "--timeout=2m")
    there = set(everything(namespace)) - set(before)
    release.uninstall()
    left: dict[str, str] = {}

    def not_gone() -> str | None:
        nonlocal left
        left = {key: uid for key, uid in everything(namespace).items() if key not in before}
        return f"left: {', '.join(left)}" if left else None

    evidence["seconds_until_all_gone"] = namespace.wait("the end of all objects", not_gone, timeout=120)
    evidence["objects_while_installed"] = sorted(there)
    evidence["objects_left"] = sorted(left)
    evidence["kinds_looked_at"] = len(kinds())
    assert {key: everything(namespace)[key] for key in before} == before
    assert there
