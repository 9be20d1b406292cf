# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The scenarios change and delete what they made, and nothing else of the same name."""

import json

import pytest

from tests.e2e import kube
from tests.e2e.ownership import LABEL, listed, marked, refuse_strangers


def namespace(**labels: str) -> dict:
    return {"kind": "Namespace", "metadata": {"name": "e2e-a", "labels": labels}}


def test_what_a_run_made_passes():
    refuse_strangers([marked(namespace()), marked({"kind": "Namespace", "metadata": {"name": "x"}})])


@pytest.mark.parametrize("thing", [namespace(), namespace(other="true"), namespace(**{LABEL: "false"})])
def test_what_no_run_made_is_refused(thing):
    with pytest.raises(AssertionError, match=f"Namespace e2e-a without the label {LABEL}=true"):
        refuse_strangers([marked(namespace()), thing])


@pytest.mark.parametrize("kind", ["List", "ClusterServingRuntimeList"])
def test_any_list_is_read(kind):
    assert listed(json.dumps({"kind": kind, "items": [namespace()]})) == [namespace()]


class Kubectl:
    """A kubectl that knows one namespace, and what it was told."""

    def __init__(self, there: dict | None) -> None:
        self.there = there
        self.told: list[list[str]] = []

    def __call__(self, argv, *, stdin=None, env=None, timeout=0) -> str:
        self.told.append(list(argv))
        return json.dumps(self.there) if "get" in argv and self.there else ""

    @property
    def changes(self) -> list[list[str]]:
        return [argv for argv in self.told if {"delete", "apply"} & set(argv)]


def test_a_namespace_of_anothers_is_neither_deleted_nor_changed(monkeypatch):
    kubectl = Kubectl(namespace())
    monkeypatch.setattr(kube, "run", kubectl)
    with pytest.raises(AssertionError, match="left as it is"):
        kube.Namespace("e2e-a").create()
    assert kubectl.changes == []


@pytest.mark.parametrize("there", [None, marked(namespace())])
def test_a_namespace_is_deleted_by_name_and_label_together(monkeypatch, there):
    kubectl = Kubectl(there)
    monkeypatch.setattr(kube, "run", kubectl)
    kube.Namespace("e2e-a").create()
    delete, apply = kubectl.changes
    assert {"--field-selector=metadata.name=e2e-a", f"--selector={LABEL}=true"} <= set(delete)
    assert "apply" in apply
