# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Whose objects they are: the scenarios' namespaces, and what they make outside of them, carry a label.

On a cluster that others use too, a name alone proves nothing. So nothing is deleted, and nothing changed,
that has a name of ours and not the label: the scenario is refused with a sentence.
"""

import json
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

LABEL = "tidegate.test/e2e"
SELECTOR = f"{LABEL}=true"


def marked(thing: Object) -> Object:
    """Copy an object with the label on it.

    >>> marked({"kind": "Namespace", "metadata": {"name": "a", "labels": {"b": "c"}}})["metadata"]["labels"]
    {'b': 'c', 'tidegate.test/e2e': 'true'}
    """
    metadata = thing["metadata"]
    return thing | {"metadata": metadata | {"labels": metadata.get("labels", {}) | {LABEL: "true"}}}


def listed(text: str) -> list[Object]:
    """Read what `kubectl get --output=json` prints: nothing, an object, or a List of them.

    >>> listed(""), listed('{"kind": "Pod"}'), listed('{"kind": "List", "items": []}')
    ([], [{'kind': 'Pod'}], [])
    """
    if not text.strip():
        return []
    document: Object = json.loads(text)
    return list(document["items"]) if document["kind"].endswith("List") else [document]


def refuse_strangers(found: Iterable[Object]) -> None:
    """Hold that objects, as the cluster has them, are ours.

    Raises:
        AssertionError: with those that are not.
    """
    strangers = [
        f"{thing['kind']} {thing['metadata']['name']}"
        for thing in found
        if thing["metadata"].get("labels", {}).get(LABEL) != "true"
    ]
    if strangers:
        raise AssertionError(
            f"The cluster has {', '.join(strangers)} without the label {SELECTOR}, so no run of the "
            "scenarios made that: it is left as it is; remove it, or take another cluster."
        )
