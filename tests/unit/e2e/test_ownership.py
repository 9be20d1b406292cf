# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Mapping, Sequence

import pytest

from tests.e2e import kube
from tests.e2e.ownership import LABEL, Object, add_label, parse_objects, reject_foreign_objects


def namespace(**labels: str) -> Object:
    return {"kind": "Namespace", "metadata": {"name": "e2e-a", "labels": labels}}


def test_reject_foreign_objects_accepts_labelled_objects() -> None:
    reject_foreign_objects(
        [add_label(namespace()), add_label({"kind": "Namespace", "metadata": {"name": "x"}})]
    )


@pytest.mark.parametrize("item", [namespace(), namespace(other="true"), namespace(**{LABEL: "false"})])
def test_reject_foreign_objects_names_objects_without_label(item: Object) -> None:
    with pytest.raises(AssertionError, match=f"Namespace e2e-a without the label {LABEL}=true"):
        reject_foreign_objects([add_label(namespace()), item])


@pytest.mark.parametrize("kind", ["List", "ClusterServingRuntimeList"])
def test_parse_objects_reads_any_kind_of_list(kind: str) -> None:
    assert parse_objects(json.dumps({"kind": kind, "items": [namespace()]})) == [namespace()]


class FakeKubectl:
    """A kubectl for a cluster with at most one namespace; it records its calls."""

    def __init__(self, existing: Object | None) -> None:
        self.existing = existing
        self.calls: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 0,
    ) -> str:
        self.calls.append(list(argv))
        return json.dumps(self.existing) if "get" in argv and self.existing else ""

    @property
    def changes(self) -> list[list[str]]:
        return [argv for argv in self.calls if {"delete", "apply"} & set(argv)]


def test_create_foreign_namespace_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = FakeKubectl(namespace())
    monkeypatch.setattr(kube, "run", kubectl)
    with pytest.raises(AssertionError, match="left unchanged"):
        kube.Namespace("e2e-a").create()
    assert kubectl.changes == []


@pytest.mark.parametrize("existing", [None, add_label(namespace())])
def test_create_deletes_by_both_name_and_label(
    monkeypatch: pytest.MonkeyPatch, existing: Object | None
) -> None:
    kubectl = FakeKubectl(existing)
    monkeypatch.setattr(kube, "run", kubectl)
    kube.Namespace("e2e-a").create()
    delete, apply = kubectl.changes
    assert {"--field-selector=metadata.name=e2e-a", f"--selector={LABEL}=true"} <= set(delete)
    assert "apply" in apply
