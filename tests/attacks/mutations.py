# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes of an archive that keep its form, so that they reach the objects that are built."""

import io
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

from tests.support.archives import SCHEMA, packed, saved, unpacked

Node = dict[str, Any]

_NUMBERS = (
    None,
    0,
    -1,
    1,
    2,
    3,
    5,
    100,
    2**31,
    -(2**31),
    2**40,
    2**62,
    0.5,
    float("nan"),
    True,
    False,
    "auto",
    "x",
)
_INDICES = (0, -1, 1, 2, 7, 1000, 10**6, 2**31 - 1, -(2**31), 2**40, -(2**62))
_FLOATS = (0.0, -1.0, 1e-300, 1e30, -1e300, float("nan"), float("inf"))
_DTYPES = ("f4", "f8", "i4", "i8", "u1", "u4", "?", "O", "U3")


def mutate(archive: bytes, random: Random) -> bytes:
    """Return an archive with one to three changes."""
    members = unpacked(archive)
    root = json.loads(members[SCHEMA])
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice((_change_array, _change_array, _change_number, _move_attribute))(members, root, random)
    return packed(members | {SCHEMA: json.dumps(root).encode()})


def _change_array(members: dict[str, bytes], root: Node, random: Random) -> None:
    names = [name for name in members if name.endswith(".npy")]
    if not names:
        return
    name = random.choice(names)
    array = np.load(io.BytesIO(members[name]))
    change = random.choice((_set_value, _set_value, _resize, _reshape, _retype, _fill))
    if change is _set_value and random.random() < 0.2 and len(names) > 1:
        other = random.choice(names)
        members[name], members[other] = members[other], members[name]
        return
    changed = change(array, random)
    if not changed.dtype.hasobject:
        members[name] = saved(changed)


def _value(dtype: Any, random: Random) -> Any:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return min(max(random.choice(_INDICES), limits.min), limits.max)
    return random.choice(_FLOATS) if dtype.kind == "f" else random.choice((0, 1))


def _set_value(array: Any, random: Random) -> Any:
    """Set one value, in one field of an array of records."""
    array = array.copy()
    column = array[random.choice(array.dtype.names)] if array.dtype.names else array
    if column.size and column.dtype.kind in "iufb":
        column[tuple(random.randrange(size) for size in column.shape)] = _value(column.dtype, random)
    return array


def _fill(array: Any, random: Random) -> Any:
    array = array.copy()
    if array.dtype.kind in "iufb":
        array[...] = _value(array.dtype, random)
    return array


def _resize(array: Any, random: Random) -> Any:
    """Change the length of one axis, also to 0 and to many times its length."""
    if array.ndim == 0:
        return np.repeat(array, 3)
    axis = random.randrange(array.ndim)
    length = array.shape[axis]
    wanted = random.choice((0, 1, max(length - 1, 0), length + 1, 2 * length, 40 * length + 1000))
    return np.take(array, np.arange(wanted) % max(length, 1), axis, mode="clip") if length else array


def _reshape(array: Any, random: Random) -> Any:
    return random.choice((array.T, array.reshape(-1), array[None], array[..., None], array.reshape(-1, 1)))


def _retype(array: Any, random: Random) -> Any:
    if array.dtype.kind not in "iufb":
        return array
    with np.errstate(all="ignore"):
        return array.astype(random.choice(_DTYPES))


def _change_number(members: dict[str, bytes], root: Node, random: Random) -> None:
    nodes = [node for node in _nodes(root) if node["__loader__"] == "JsonNode"]
    if nodes:
        random.choice(nodes)["content"] = json.dumps(random.choice(_NUMBERS))


def _move_attribute(members: dict[str, bytes], root: Node, random: Random) -> None:
    """Drop an attribute, or replace it by another one of the same archive."""
    objects = [
        node["content"] for node in _nodes(root)
        if node["__loader__"] == "ObjectNode" and node.get("content", {}).get("__loader__") == "DictNode"
    ]  # fmt: skip
    state = random.choice(objects)
    names = list(state["content"])
    if not names:
        return
    name = random.choice(names)
    if random.random() < 0.4:
        del state["key_types"]["content"][names.index(name)], state["content"][name]
    else:
        other = random.choice(objects)["content"]
        if other:
            state["content"][name] = json.loads(json.dumps(other[random.choice(list(other))]))


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, dict):
        if isinstance(value.get("__loader__"), str):
            yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)
