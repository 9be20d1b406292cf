# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Crafted copies of skops archives."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np

SCHEMA = "schema.json"

Change = Callable[[dict[str, Any]], object]


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the members of an archive by name."""
    with ZipFile(io.BytesIO(archive)) as source:
        return {name: source.read(name) for name in source.namelist()}


def packed(members: Mapping[str, bytes], compression: int = ZIP_STORED) -> bytes:
    """Return an archive of members."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", compression) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return buffer.getvalue()


def saved(array: Any) -> bytes:
    """Return an array in the format of numpy's files."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def altered_nodes(archive: bytes, field: str, change: Callable[[np.ndarray], None]) -> bytes:
    """Return an archive in which one field of every tree's node array is changed."""
    members = unpacked(archive)
    changed = 0
    for name, content in members.items():
        if name.endswith(".npy"):
            array = np.load(io.BytesIO(content))
            if array.dtype.names and field in array.dtype.names:
                change(array[field])
                members[name] = saved(array)
                changed += 1
    assert changed
    return packed(members)


def altered_root(archive: bytes, change: Change) -> bytes:
    """Return an archive in which the schema's root is changed."""
    members = unpacked(archive)
    schema = json.loads(members[SCHEMA])
    change(schema)
    return packed(members | {SCHEMA: json.dumps(schema).encode()})


def altered_schema(archive: bytes, change: Change) -> bytes:
    """Return an archive in which each dictionary of the schema is changed."""

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            change(node)
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            visit(child)

    return altered_root(archive, visit)


def set_number(node: dict[str, Any], name: str, value: int) -> None:
    """Replace a number among an object's attributes."""
    content = node.get("content")
    if isinstance(content, dict) and name in content and "content" in content[name]:
        content[name]["content"] = json.dumps(value)
