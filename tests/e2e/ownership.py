# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Ownership of cluster objects: the scenarios label their namespaces and all objects outside of them.

A cluster may have other users, so a name proves nothing. The scenarios neither change nor delete an object
without the label, even if it has one of their names; the scenario fails instead.
"""

import json
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

LABEL = "tidegate.test/e2e"
SELECTOR = f"{LABEL}=true"


def add_label(item: Object) -> Object:
    """Return a copy of an object with the label.

    >>> add_label({"kind": "Pod", "metadata": {"name": "a", "labels": {"b": "c"}}})["metadata"]["labels"]
    {'b': 'c', 'tidegate.test/e2e': 'true'}
    """
    metadata = item["metadata"]
    return item | {"metadata": metadata | {"labels": metadata.get("labels", {}) | {LABEL: "true"}}}


def parse_objects(text: str) -> list[Object]:
    """Parse the output of `kubectl get --output=json`: empty, one object, or a List.

    >>> parse_objects(""), parse_objects('{"kind": "Pod"}'), parse_objects('{"kind": "List", "items": []}')
    ([], [{'kind': 'Pod'}], [])
    """
    if not text.strip():
        return []
    document: Object = json.loads(text)
    return list(document["items"]) if document["kind"].endswith("List") else [document]


def reject_foreign_objects(existing: Iterable[Object]) -> None:
    """Check that existing objects have the label.

    Raises:
        AssertionError: If one has not.
    """
    foreign = [
        f"{item['kind']} {item['metadata']['name']}"
        for item in existing
        if item["metadata"].get("labels", {}).get(LABEL) != "true"
    ]
    if foreign:
        raise AssertionError(
            f"The cluster has {', '.join(foreign)} without the label {SELECTOR}, so the scenarios did not "
            "create it. It is left unchanged: remove it, or use another cluster."
        )
