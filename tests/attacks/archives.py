# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Crafted archives: pickles, smuggled types, and descriptions that differ from what is built."""

import io
import json
import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.cluster import Birch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from tests.attacks.attack import Attack, with_archive
from tests.support.archives import SCHEMA, altered_nodes, altered_root, packed, saved, unpacked
from tidegate_training.bundling.persistence import to_skops

X = np.random.default_rng(0).normal(size=(60, 2))
Y = np.arange(60) % 2
WIDE = 2_000_000_000


def _ridge() -> bytes:
    return to_skops(Ridge().fit(X, Y))


def _tree() -> bytes:
    return to_skops(DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, Y))


def _root(change: Callable[[dict[str, Any]], object]) -> Callable[[], bytes]:
    """Return a ridge regression's archive whose schema is changed."""
    return lambda: altered_root(_ridge(), change)


def _number(value: Any) -> dict[str, Any]:
    node = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True}
    return node | {"content": json.dumps(value)}


def _width_that_is_not_built() -> bytes:
    """Return a tree whose owner's width has no type of its key, so skops does not build it."""

    def describe(root: dict[str, Any]) -> None:
        attributes = root["content"]["content"]
        del attributes["n_features_in_"]
        attributes["n_features_in_"] = _number(WIDE)
        root["content"]["key_types"]["content"].pop()
        attributes["tree_"]["__reduce__"]["args"]["content"][0] = _number(WIDE)

    def compare(column: Any) -> None:
        column[0] = WIDE - 100_000_000

    return altered_nodes(altered_root(_tree(), describe), "feature", compare)


def _member(change: Callable[[bytes], bytes]) -> bytes:
    """Return a ridge regression's archive with its first array replaced."""
    members = unpacked(_ridge())
    name = next(name for name in members if name.endswith(".npy"))
    return packed(members | {name: change(members[name])})


def _sparse_bomb() -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as target:
        target.writestr("data.npy", bytes(50_000_000))
    members = unpacked(to_skops({"matrix": csr_matrix(np.eye(2))}))
    name = next(name for name in members if name.endswith(".npz"))
    return packed(members | {name: buffer.getvalue()})


def _two_members() -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the second member of the name
        for name, content in (*unpacked(_ridge()).items(), (SCHEMA, b"{}")):
            target.writestr(name, content)
    return buffer.getvalue()


def _field_twice() -> bytes:
    members = unpacked(_ridge())
    schema = members[SCHEMA].replace(b'"protocol"', b'"__class__": "Ridge", "protocol"')
    return packed(members | {SCHEMA: schema})


def _attribute(name: str, node: Mapping[str, Any]) -> Callable[[dict[str, Any]], object]:
    """Return the change that sets an attribute's description."""
    return lambda root: root["content"]["content"].__setitem__(name, dict(node))


def _described_twice(root: dict[str, Any]) -> None:
    attributes = root["content"]["content"]
    attributes["alpha"] = attributes["coef_"] | {"__class__": "matrix"}


def _cycle(root: dict[str, Any]) -> None:
    _attribute("alpha", {**_list([]), "__id__": root["__id__"]})(root)


def _list(items: list[Any]) -> dict[str, Any]:
    return {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": items}


def _shared_member(root: dict[str, Any]) -> None:
    coefficients = root["content"]["content"]["coef_"]
    copies = [{**coefficients, "__id__": root["__id__"] + number} for number in range(1, 4)]
    _attribute("alpha", _list(copies))(root)


def _key_of_two_types(root: dict[str, Any]) -> None:
    root["content"]["key_types"]["content"][0]["__class__"] = "int"


def _equal_keys(root: dict[str, Any]) -> None:
    keys = {"1": _number(1), "01": _number(2)}
    kind = {"__class__": "int", "__module__": "builtins", "__loader__": "TypeNode"}
    node = {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode", "content": keys}
    _attribute("alpha", node | {"key_types": _list([kind, kind])})(root)


def _typed(module: str, name: str, loader: str, **fields: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, **fields}


def _method(root: dict[str, Any]) -> None:
    inner = _typed("sklearn.linear_model._ridge", "Ridge", "ObjectNode")
    kind = ("sklearn.linear_model._ridge", "Ridge", "MethodNode")
    _attribute("alpha", _typed(*kind, content={"func": "fit", "obj": inner}))(root)


def _tree_of_too_many_outputs() -> bytes:
    def change(root: dict[str, Any]) -> None:
        root["content"]["content"]["tree_"]["__reduce__"]["args"]["content"][2] = _number(WIDE // 100)

    return altered_root(_tree(), change)


def _disguised_tree() -> bytes:
    def change(root: dict[str, Any]) -> None:
        tree = root["content"]["content"]["tree_"]
        tree["__loader__"] = "ObjectNode"
        del tree["__reduce__"]

    return altered_root(_tree(), change)


def _birch() -> bytes:
    """Return a Birch with too few norms; skops saves none, and reads it."""
    fitted = Birch(n_clusters=2).fit(X)
    model = Ridge()
    for name in ("n_features_in_", "subcluster_centers_", "subcluster_labels_"):
        setattr(model, name, getattr(fitted, name))
    model._subcluster_norms = np.ones(1)
    kind = {"__module__": "sklearn.cluster._birch", "__class__": "Birch"}
    return altered_root(to_skops(model), lambda root: root.update(kind))


class _Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


def _pickled_array(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Command()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _nested() -> bytes:
    """Return an archive with more levels than Python's stack has."""
    members = unpacked(altered_root(_ridge(), _attribute("alpha", _list([]))))
    inner = json.dumps(_list([])).encode()
    before, after = json.dumps(_list(["?"])).encode().split(b'"?"')
    nested = before * 50_000 + inner + after * 50_000
    return packed(members | {SCHEMA: members[SCHEMA].replace(inner, nested)})


def _special() -> Any:
    from scipy.special import expit

    return expit


ATTACKS: Mapping[str, Attack] = {
    name: with_archive(build)
    for name, build in {
        "width that is described and not built": _width_that_is_not_built,
        "pickle: in place of the archive": lambda: pickle.dumps(_Command()),
        "pickle: as a member": lambda: packed(unpacked(_ridge()) | {"model.pkl": pickle.dumps(_Command())}),
        "pickle: in place of an array": lambda: _member(lambda _: pickle.dumps(_Command())),
        "pickle: inside an array of objects": lambda: _member(_pickled_array),
        "type: function that runs commands": lambda: to_skops(FunctionTransformer(os.system)),
        "type: function of scipy.special": lambda: to_skops(FunctionTransformer(_special())),
        "type: class replaced by a function": _root(
            lambda root: root.update({"__module__": "os", "__class__": "system"})
        ),
        "type: bound method": _root(_method),
        "type: constructor with arguments": _root(
            _attribute(
                "alpha",
                _typed(
                    "sklearn.linear_model._ridge", "Ridge", "ConstructorFromReduceNode", content=_list([])
                ),
            )
        ),
        "type: numpy.dtype with a state": _root(
            _attribute("alpha", _typed("numpy", "dtype", "ObjectNode", content=_list([_number(1)])))
        ),
        "type: function of an old format": _root(lambda root: root.update(protocol=0)),
        "type: tree built as a plain object": _disguised_tree,
        "tree: more outputs than numbers of classes": _tree_of_too_many_outputs,
        "clusters: one norm for all subclusters": _birch,
        "keys: a name that is a number": _root(_key_of_two_types),
        "keys: two that become equal": _root(_equal_keys),
        "keys: a field written twice": _field_twice,
        "parts: object described twice, with a difference": _root(_described_twice),
        "parts: object that contains itself": _root(_cycle),
        "parts: unknown field": _root(lambda root: root.update(trusted=["os.system"])),
        "parts: list inside a number": _root(_attribute("alpha", _number([1]))),
        "parts: two members of one name": _two_members,
        "parts: archive inside an array": lambda: _member(lambda _: packed({"a.npy": saved(np.eye(2))})),
        "bomb: compressed member": lambda: packed(
            unpacked(_ridge()) | {"zeros.npy": bytes(50_000_000)}, ZIP_DEFLATED
        ),
        "bomb: compressed sparse matrix": _sparse_bomb,
        "bomb: array with a header of terabytes": lambda: _member(
            lambda content: content.replace(b"(2,), }", b"(1000000000000,), }").replace(b"v\x00", b"v\x00", 1)
        ),
        "bomb: one member of many objects": _root(_shared_member),
        "bomb: deep nesting": _nested,
    }.items()
}
