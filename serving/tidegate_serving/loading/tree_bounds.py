# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Trees: the bounds of decision trees' node arrays, checked before a tree is built.

scikit-learn walks a tree by the indices in its node array without looking at them, so that a crafted
archive of nothing but trusted types can read outside the array, end in a segmentation fault, or never end.
This module reads the arrays in skops' audited form and refuses every tree whose walk could leave them. It
does
not judge whether the tree predicts well, and it knows no other compiled code: the threat model says so.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidegate.errors import BundleError

_TREE = ("sklearn.tree._tree", "Tree")
_PREDICTOR = ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")

_HOLDERS = frozenset(
    {
        "sklearn.tree._classes",
        "sklearn.ensemble._forest",
        "sklearn.ensemble._gb",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
    }
)
"""Modules of the estimators that hand rows to a tree. Some check the rows' width for all their trees at
once, so
each tree inside must be of exactly that width."""

_CONTAINERS = frozenset({"builtins", "numpy", "collections"})
_LEAF = -1  # sklearn.tree._tree.TREE_LEAF


def check(root: Any) -> None:
    """Check every tree below a node of skops' audit tree.

    Only plain arrays and numbers are built for it, by the nodes that will hand the same ones to the tree.

    Args:
        root: The archive's root, a ``skops.io._audit.Node`` whose types have been found trusted.

    Raises:
        BundleError: A tree is out of bounds, or held by something that does not check a row's width.
    """
    from skops.io._general import TypeNode  # skops imports scikit-learn, which the compiled path does without

    seen: set[tuple[int, int | None]] = set()
    waiting: list[tuple[Any, int | None]] = [(root, None)]
    while waiting:
        node, width = waiting.pop()
        node = getattr(node, "cached", node)
        if isinstance(node, TypeNode) or (id(node), width) in seen:
            continue
        seen.add((id(node), width))
        kind = (getattr(node, "module_name", ""), getattr(node, "class_name", ""))
        if kind in (_TREE, _PREDICTOR):
            if width is None:
                raise BundleError(
                    "model.skops: a tree is held by something that does not check a row's width."
                )
            (_check_tree if kind == _TREE else _check_predictor)(node, width)
        elif kind[0] in _HOLDERS:
            width = _width(node, kind[1], width)
        elif kind[0] not in _CONTAINERS:
            width = None
        waiting.extend((child, width) for child in _children(node))


def _children(node: Any) -> Iterator[Any]:
    for child in getattr(node, "children", {}).values():
        if isinstance(child, list):
            yield from child
        elif isinstance(child, dict):
            yield from child.values()
        elif hasattr(child, "children"):
            yield child


def _attributes(node: Any, name: str) -> dict[str, Any]:
    """The attributes that an object will have, by name, not yet built."""
    content = getattr(getattr(node, "attrs", None), "content", None)
    if not isinstance(content, dict):
        raise BundleError(
            f"model.skops: the state of a {name} is not a plain dictionary, so it cannot be checked."
        )
    return content


def _width(node: Any, name: str, outer: int | None) -> int | None:
    """How many columns this estimator demands of a row, and so each tree in it may count on."""
    attributes = _attributes(node, name)
    if "n_features_in_" not in attributes:
        return None  # not fitted, like the template that an ensemble keeps
    width = int(attributes["n_features_in_"].construct())
    if outer is not None and width != outer:
        raise BundleError(f"model.skops: a {name} expects {width} features inside an estimator of {outer}.")
    if "_preprocessor" in attributes and attributes["_preprocessor"].construct() is not None:
        raise BundleError(
            f"model.skops: a {name} has native categorical features, whose bounds are not checked here; "
            "encode categories in the pipeline instead."
        )
    return width


def _check_tree(node: Any, width: int) -> None:
    if not hasattr(node, "args"):
        raise BundleError(
            "model.skops: a Tree is stored in another form than skops writes, so it cannot be checked."
        )
    features, classes, outputs = node.args.construct()
    state = node.attrs.construct()
    nodes, values, count = state["nodes"], state["values"], state["node_count"]
    classes = np.asarray(classes)
    if features != width:
        raise BundleError(
            f"model.skops: a tree reads {features} features in an estimator that checks for {width}."
        )
    if classes.shape != (outputs,) or outputs < 1 or classes.min() < 1:
        raise BundleError("model.skops: a tree's numbers of classes and outputs do not agree.")
    if nodes.shape != (count,) or values.shape != (count, outputs, classes.max()):
        raise BundleError(
            f"model.skops: a tree of {count} nodes, {outputs} outputs and up to {classes.max()} classes has "
            f"node and value arrays of the shapes {nodes.shape} and {values.shape}."
        )
    left, right = nodes["left_child"], nodes["right_child"]
    leaf = left == _LEAF
    _check_walk(left, right, leaf, nodes["feature"], features)


def _check_predictor(node: Any, width: int) -> None:
    attributes = _attributes(node, "TreePredictor")
    nodes = attributes["nodes"].construct()
    leaf = nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"][~leaf].any():
        raise BundleError(
            "model.skops: a TreePredictor has categorical splits, whose bounds are not checked here; "
            "encode categories in the pipeline instead."
        )
    _check_walk(nodes["left"], nodes["right"], leaf, nodes["feature_idx"], width)


def _check_walk(left: Any, right: Any, leaf: Any, feature: Any, features: int) -> None:
    """That every step goes to a later node, so that each walk ends, and compares a feature there is."""
    count = len(leaf)
    if left.ndim != 1 or count == 0:
        raise BundleError("model.skops: a tree has no list of nodes.")
    inner = ~leaf
    index = np.arange(count)
    # Unsigned children would wrap around when compared as they are.
    children = np.stack([left, right]).astype(np.int64)
    astray = inner & ((children <= index) | (children >= count)).any(axis=0)
    if astray.any():
        where = int(np.flatnonzero(astray)[0])
        raise BundleError(
            f"model.skops: node {where} of a tree of {count} has the children {children[0, where]} and "
            f"{children[1, where]}, which are not both later nodes of it."
        )
    foreign = inner & ((feature < 0) | (feature.astype(np.int64) >= features))
    if foreign.any():
        where = int(np.flatnonzero(foreign)[0])
        raise BundleError(
            f"model.skops: node {where} of a tree compares feature {int(feature[where])}, where there are "
            f"{features}."
        )
