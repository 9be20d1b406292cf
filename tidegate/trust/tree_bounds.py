# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bounds of decision trees: checks of their node arrays before a tree is built.

scikit-learn follows the indices of a tree's node array without checking them. A crafted archive that
contains only trusted types can therefore read outside of the array, end in a segmentation fault, or loop
forever. This module reads the arrays in skops' audited form, and rejects every tree whose traversal could
leave them. It does not judge a tree's predictions, and it does not check other compiled code: see the
threat model.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidegate.errors import BundleError

_TREE = ("sklearn.tree._tree", "Tree")
_PREDICTOR = ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")

_TREE_OWNERS = frozenset(
    {
        "sklearn.tree._classes",
        "sklearn.ensemble._forest",
        "sklearn.ensemble._gb",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
    }
)
"""Modules of the estimators that pass rows to a tree, after a check of the rows' width.

Some estimators check the width once for all their trees, so each tree inside must have exactly that width.
"""

_CONTAINERS = frozenset({"builtins", "numpy", "collections"})
_LEAF = -1  # sklearn.tree._tree.TREE_LEAF


def check_tree_bounds(root: Any) -> None:
    """Check every tree below a node of skops' audit tree.

    The check builds only plain arrays and numbers, by the same nodes that pass them to the tree later.

    Args:
        root: The archive's root, a ``skops.io._audit.Node``. All its types are trusted.

    Raises:
        BundleError: If a tree is out of bounds, or its owner does not check a row's width.
    """
    from skops.io._general import TypeNode  # not at the top: the compiled engine must not import scikit-learn

    visited: set[tuple[int, int | None]] = set()
    pending: list[tuple[Any, int | None]] = [(root, None)]
    while pending:
        node, width = pending.pop()
        node = getattr(node, "cached", node)
        if isinstance(node, TypeNode) or (id(node), width) in visited:
            continue
        visited.add((id(node), width))
        module, name = getattr(node, "module_name", ""), getattr(node, "class_name", "")
        if (module, name) in (_TREE, _PREDICTOR):
            if width is None:
                raise BundleError("model.skops: the owner of a tree does not check a row's width.")
            (_check_tree if name == _TREE[1] else _check_predictor)(node, width)
        elif module in _TREE_OWNERS:
            width = _checked_width(node, name, width)
        elif module not in _CONTAINERS:
            width = None
        pending.extend((child, width) for child in _children(node))


def _children(node: Any) -> Iterator[Any]:
    for child in getattr(node, "children", {}).values():
        if isinstance(child, list):
            yield from child
        elif isinstance(child, dict):
            yield from child.values()
        elif hasattr(child, "children"):
            yield child


def _attributes(node: Any, name: str) -> dict[str, Any]:
    """Return the nodes of an object's attributes, by name, without building them."""
    content = getattr(getattr(node, "attrs", None), "content", None)
    if not isinstance(content, dict):
        raise BundleError(
            f"model.skops: the state of a {name} is not a plain dictionary, so it cannot be checked."
        )
    return content


def _checked_width(node: Any, name: str, outer: int | None) -> int | None:
    """Return the number of columns that an estimator checks for, and that each tree in it may rely on."""
    attributes = _attributes(node, name)
    if "n_features_in_" not in attributes:
        return None  # not fitted, such as the template that an ensemble keeps
    width = int(attributes["n_features_in_"].construct())
    if outer is not None and width != outer:
        raise BundleError(f"model.skops: a {name} expects {width} features inside an estimator of {outer}.")
    if "_preprocessor" in attributes and attributes["_preprocessor"].construct() is not None:
        raise BundleError(
            f"model.skops: a {name} has native categorical features, whose bounds cannot be checked; encode "
            "categories in the pipeline instead."
        )
    return width


def _check_tree(node: Any, width: int) -> None:
    if not hasattr(node, "args"):
        raise BundleError(
            "model.skops: a Tree is stored in a form that skops does not write, so it cannot be checked."
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
        raise BundleError("model.skops: a tree's numbers of classes contradict its number of outputs.")
    if nodes.shape != (count,) or values.shape != (count, outputs, classes.max()):
        raise BundleError(
            f"model.skops: a tree of {count} nodes, {outputs} outputs and up to {classes.max()} classes has "
            f"node and value arrays of the shapes {nodes.shape} and {values.shape}."
        )
    left, right = nodes["left_child"], nodes["right_child"]
    _check_traversal(left, right, left == _LEAF, nodes["feature"], features)


def _check_predictor(node: Any, width: int) -> None:
    attributes = _attributes(node, "TreePredictor")
    nodes = attributes["nodes"].construct()
    is_leaf = nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"][~is_leaf].any():
        raise BundleError(
            "model.skops: a TreePredictor has categorical splits, whose bounds cannot be checked; encode "
            "categories in the pipeline instead."
        )
    _check_traversal(nodes["left"], nodes["right"], is_leaf, nodes["feature_idx"], width)


def _check_traversal(left: Any, right: Any, is_leaf: Any, feature: Any, features: int) -> None:
    """Check that each step leads to a later node, so that traversal ends, and compares an existing feature.

    Args:
        left: The index of each node's left child, shape ``[nodes]``.
        right: The index of each node's right child, shape ``[nodes]``.
        is_leaf: Whether each node is a leaf, shape ``[nodes]``.
        feature: The index of the feature that each node compares, shape ``[nodes]``.
        features: The number of features.
    """
    count = len(is_leaf)
    if left.ndim != 1 or count == 0:
        raise BundleError("model.skops: a tree has no list of nodes.")
    is_inner = ~is_leaf
    index = np.arange(count)
    # Signed, because unsigned indices would wrap around in the comparison.
    children = np.stack([left, right]).astype(np.int64)
    invalid_children = is_inner & ((children <= index) | (children >= count)).any(axis=0)
    if invalid_children.any():
        node = int(np.flatnonzero(invalid_children)[0])
        raise BundleError(
            f"model.skops: node {node} of a tree of {count} has the children {children[0, node]} and "
            f"{children[1, node]}, which are not both later nodes of it."
        )
    invalid_feature = is_inner & ((feature < 0) | (feature.astype(np.int64) >= features))
    if invalid_feature.any():
        node = int(np.flatnonzero(invalid_feature)[0])
        raise BundleError(
            f"model.skops: node {node} of a tree compares feature {int(feature[node])}, but its "
            f"estimator checks for {features} features."
        )
