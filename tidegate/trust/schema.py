# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The form of a skops archive: each part of the description is used, once, as skops writes it.

skops reads a description leniently: it drops the keys of a dictionary that have no type, ignores the second
description of an object that it has built already, and leaves unnamed members of the archive unread. A check
of such a description would therefore see another object than the one that is built. This module rejects
every archive in which two readers could differ, and every compressed member, before any object exists. It
judges neither types nor values, except that the functions of SciPy need the deployer's trust.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from tidegate.errors import BundleError

SCHEMA = "schema.json"

_CONTENT = frozenset({"content"})
_FILE = frozenset({"file"})

FIELDS: Mapping[str, frozenset[str]] = {
    "BytearrayNode": _FILE,
    "BytesNode": _FILE,
    "DTypeNode": _CONTENT,
    "DefaultDictNode": _CONTENT,
    "DictNode": _CONTENT | {"key_types"},
    "FunctionNode": frozenset(),
    "JsonNode": _CONTENT | {"is_json"},
    "ListNode": _CONTENT,
    "LossNode": _CONTENT | {"__reduce__"},
    "MaskedArrayNode": _CONTENT,
    "NdArrayNode": _CONTENT | _FILE | {"type", "shape"},
    "ObjectNode": _CONTENT,
    "RandomGeneratorNode": _CONTENT,
    "RandomStateNode": _CONTENT,
    "SetNode": _CONTENT,
    "SliceNode": _CONTENT,
    "SparseMatrixNode": _FILE | {"type"},
    "TreeNode": _CONTENT | {"__reduce__"},
    "TupleNode": _CONTENT,
    "TypeNode": frozenset(),
}
"""By kind of node, its own fields. The kinds that are missing call what the archive names: bound methods,
partial functions, and constructors with arguments."""

_COMMON_FIELDS = frozenset({"__class__", "__module__", "__loader__", "__id__"})
_ROOT_FIELDS = frozenset({"protocol", "_skops_version"})

_LOADERS = {"numpy.dtype": "DTypeNode", "sklearn.tree._tree.Tree": "TreeNode"}
"""Types whose constructor trusts its arguments: only the node that skops writes for them may build them."""

_NUMBERS = frozenset({"builtins.int", "builtins.float", "numpy.int32", "numpy.int64", "numpy.float64"})
_NAME = "builtins.str"
_TEXTS = frozenset({_NAME, "numpy.str_"})

_MAX_EXPANSION = 100
"""The largest ratio of a sparse matrix to its compressed member. Stored members do not expand."""
_ALWAYS_ALLOWED_BYTES = 1 << 20


def check_archive_form(archive: ZipFile, protocol: int, own_types: Collection[str]) -> None:
    """Check that a description and its members fit each other.

    Args:
        archive: The archive.
        protocol: The version of the format that skops writes.
        own_types: The types that the deployer trusts in addition to the default policy. The archive may build
            them by any kind of node.

    Raises:
        BundleError: If a part is missing, repeated, unused, compressed, or not as skops writes it.
    """
    names = [member.filename for member in archive.infolist()]
    if len(set(names)) < len(names):
        raise _malformed("two members of the archive have the same name")
    if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
        raise _malformed("a member is compressed; save it with skops.io.dump, whose default is uncompressed")
    root = json.loads(archive.read(SCHEMA), object_pairs_hook=_unique_fields)
    if root.get("protocol") != protocol:
        raise _malformed(f"its format is {root.get('protocol')}, and this version of skops writes {protocol}")
    owners: dict[str, Any] = {}
    described: dict[Any, Any] = {}
    pending = [{name: value for name, value in root.items() if name not in _ROOT_FIELDS}]
    while pending:
        node = pending.pop()
        _check_node(node, own_types)
        if "__id__" in node:
            first = described.setdefault(node["__id__"], node)
            if first is not node and not _are_equal(archive, first, node):
                raise _malformed(f"the object {node['__id__']} is described twice, with a difference")
        if "file" in node:
            # Each identity builds an object of its own, so a shared member would expand without a bound.
            identity = node.get("__id__")
            if node["file"] not in owners:
                _check_member(archive, node)
            if identity is None or owners.setdefault(node["file"], identity) != identity:
                raise _malformed(f"the member {node['file']} belongs to two objects")
        pending.extend(_children(node))
    if unused := set(names) - {SCHEMA, *owners}:
        raise _malformed(f"the schema does not use {', '.join(sorted(unused))}")


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _malformed("a field of the schema is written twice")
    return fields


def _are_equal(archive: ZipFile, one: Any, other: Any) -> bool:
    """Compare two descriptions. skops gives new identities and members to the parts of a repeated object.

    An object that contains itself has no finite description that is equal to its part's, so no cycle passes.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        names = one.keys() - {"__id__"}
        return names == other.keys() - {"__id__"} and all(
            _are_equal(archive, one[name], other[name])
            if name != "file" or not isinstance(one[name], str) or one[name] == other[name]
            else archive.read(one[name]) == archive.read(other[name])
            for name in names
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _are_equal(archive, *pair) for pair in zip(one, other, strict=True)
        )
    return bool(one == other)


def _check_node(node: Mapping[str, Any], own_types: Collection[str]) -> None:
    loader, kind = node["__loader__"], f"{node['__module__']}.{node['__class__']}"
    if _LOADERS.get(kind, loader) != loader:
        raise _malformed(f"{kind} is built by {loader}, and skops writes {_LOADERS[kind]}")
    if loader not in FIELDS:
        if kind not in own_types:
            raise _malformed(f"{kind} is built by {loader}, which runs what the archive names")
        return
    if loader == "FunctionNode" and kind.startswith("scipy.") and kind not in own_types:
        raise BundleError(
            f"model.skops contains the function {kind}, whose compiled code trusts its arguments; if you "
            "trust it, add it with --trusted-type."
        )
    if unknown := node.keys() - _COMMON_FIELDS - FIELDS[loader]:
        raise _malformed(f"a {loader} has the field {min(unknown)}, which skops does not write")
    if loader == "DictNode":
        _check_keys(node)
    elif loader == "JsonNode" and isinstance(json.loads(node["content"]), dict | list):
        raise _malformed("a JsonNode holds a list or a dictionary, which skops writes as a node")
    elif loader in ("ObjectNode", "TreeNode") and node.get("content", {}).get("__loader__") == "DictNode":
        types = {f"{key['__module__']}.{key['__class__']}" for key in node["content"]["key_types"]["content"]}
        if types - {_NAME}:
            raise _malformed(f"an attribute of {kind} has a name of the type {min(types - {_NAME})}")


def _check_keys(node: Mapping[str, Any]) -> None:
    """Check that each key of a dictionary has one type, and stays different from the others."""
    types = [f"{key['__module__']}.{key['__class__']}" for key in node["key_types"]["content"]]
    keys = list(node["content"])
    if len(types) != len(keys):
        raise _malformed(f"a dictionary has {len(keys)} keys, and the types of {len(types)}")
    if unknown := set(types) - _NUMBERS - _TEXTS:
        raise _malformed(f"a key of a dictionary has the type {min(unknown)}, neither a text nor a number")
    converted = {key if kind in _TEXTS else float(key) for kind, key in zip(types, keys, strict=True)}
    if len(converted) < len(keys):
        raise _malformed("two keys of a dictionary are equal")


def _check_member(archive: ZipFile, node: Mapping[str, Any]) -> None:
    """Check that a member has the kind of content that its node reads, and that it cannot expand."""
    content = archive.read(node["file"])
    if node["__loader__"] == "NdArrayNode" and not content.startswith(b"\x93NUMPY"):
        raise _malformed(f"the member {node['file']} is not an array")
    if node["__loader__"] == "SparseMatrixNode":
        with ZipFile(BytesIO(content)) as matrix:
            size = sum(member.file_size for member in matrix.infolist())
        if size > max(_MAX_EXPANSION * len(content), _ALWAYS_ALLOWED_BYTES):
            raise _malformed(
                f"the member {node['file']} expands from {len(content)} to {size} bytes: expected at most "
                f"{_MAX_EXPANSION} times its size"
            )


def _children(node: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the nodes in a node. A dictionary's keys are data, so only its values can be nodes."""
    loader, content = node["__loader__"], node.get("content")
    if "key_types" in node:
        yield node["key_types"]
    if "shape" in node:
        yield node["shape"]
    if "__reduce__" in node:
        yield node["__reduce__"]["args"]
    if loader in ("JsonNode", "SliceNode") or content is None:
        return
    if isinstance(content, list):
        yield from content
    elif loader in ("DTypeNode", "LossNode", "ObjectNode", "RandomStateNode", "TreeNode"):
        yield content
    elif loader in FIELDS or "__loader__" not in content:
        yield from (value for value in content.values() if loader in FIELDS or isinstance(value, dict))
    else:
        yield content


def _malformed(reason: str) -> BundleError:
    return BundleError(f"model.skops does not have the form that skops writes: {reason}.")
