# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bounds of decision trees: checks of the trees that were built, before they predict.

scikit-learn follows the indices of a tree's node array without checking them. A crafted archive that
contains only trusted types can therefore read outside of the array, end in a segmentation fault, or loop
forever. This module reads the arrays and the widths from the built objects, and rejects every tree whose
traversal could leave its arrays or the rows. It does not judge a tree's predictions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BundleError

Array = NDArray[Any]

TREE = "sklearn.tree._tree.Tree"
PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"

_DECISION_TREE = "sklearn.tree._classes.DecisionTreeRegressor"
_INITIAL = frozenset({"sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor"})
_LEAF = -1  # sklearn.tree._tree.TREE_LEAF


def type_name(value: Any) -> str:
    """Return the full name of a value's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def reject(condition: Any, problem: str) -> None:
    """Reject the archive if a condition holds.

    Raises:
        BundleError: If the condition is true.
    """
    if condition:
        raise BundleError(f"model.skops: {problem}.")


def checked_width(estimator: Any) -> int:
    """Return the number of columns that an estimator checks each batch for.

    Raises:
        BundleError: If it has none: scikit-learn then skips the check.
    """
    width = vars(estimator).get("n_features_in_")
    reject(type(width) is not int, f"a {type(estimator).__name__} does not check a row's width")
    return int(width)


def check_tree_arguments(arguments: Any, state: Any) -> None:
    """Check the parts of a ``Tree``, whose sizes its constructor does not check.

    Args:
        arguments: The number of features, the numbers of classes ``[outputs]``, and the number of outputs.
        state: The tree's arrays and numbers by name.

    Raises:
        BundleError: If they contradict each other.
    """
    n_features, n_classes, n_outputs = arguments
    classes = np.asarray(n_classes)
    is_valid = type(n_features) is int and type(n_outputs) is int and classes.shape == (n_outputs,)
    reject(
        not is_valid or n_outputs < 1 or classes.dtype.kind not in "iu" or classes.min() < 1,
        "a tree's numbers of classes contradict its number of outputs",
    )
    count, nodes = state["node_count"], state["nodes"]
    reject(
        np.shape(nodes) != (count,), f"a tree of {count} nodes has an array of the shape {np.shape(nodes)}"
    )


def check_decision_tree(estimator: Any) -> None:
    """Check the tree of a fitted decision tree, which checks the width of its rows.

    Raises:
        BundleError: If a traversal could leave the tree's arrays or the row.
    """
    if "tree_" not in vars(estimator):
        return  # not fitted, such as the template that an ensemble keeps
    tree, width = estimator.tree_, checked_width(estimator)
    reject(type_name(tree) != TREE, f"the tree of a {type(estimator).__name__} is a {type_name(tree)}")
    reject(
        tree.n_features != width,
        f"a tree reads {tree.n_features} features in an estimator that checks for {width}",
    )
    reject(tree.node_count < 1, "a tree has no nodes")
    nodes = tree.__getstate__()["nodes"]
    left, right = nodes["left_child"], nodes["right_child"]
    depth = _check_traversal(left, right, left == _LEAF, nodes["feature"], width)
    reject(tree.max_depth < depth, f"a tree of depth {depth} declares the depth {tree.max_depth}")


def check_gradient_boosting(estimator: Any) -> None:
    """Check the shapes inside gradient boosting, which adds each stage to its columns without a check.

    Raises:
        BundleError: If a stage could read or write outside of a row.
    """
    if "estimators_" not in vars(estimator):
        return
    trees, width = estimator.estimators_, checked_width(estimator)
    reject(
        type(trees) is not np.ndarray or trees.ndim != 2 or trees.size == 0,
        "gradient boosting has no table of trees",
    )
    for tree in trees.ravel():
        reject(
            type_name(tree) != _DECISION_TREE or checked_width(tree) != width,
            f"a stage of gradient boosting is not a decision tree for {width} features",
        )
    initial = estimator.init_
    if type_name(initial) in _INITIAL:
        # One row shows the number of columns, because these estimators do not look at the row.
        n_columns = estimator._raw_predict_init(np.zeros((1, width), np.float32)).shape[1]
    else:
        reject(
            not isinstance(initial, str),
            f"gradient boosting starts with a {type_name(initial)}, whose number of columns cannot be "
            "checked; use the default init",
        )
        n_columns = estimator.n_trees_per_iteration_
    reject(
        type(n_columns) is not int or n_columns != trees.shape[1],
        f"gradient boosting starts with {n_columns} columns and has {trees.shape[1]} trees per stage",
    )


def check_histogram_boosting(estimator: Any) -> None:
    """Check each predictor of histogram gradient boosting against the width that its owner checks for.

    Raises:
        BundleError: If a predictor could leave its arrays, or has categorical splits, whose bit sets are not
            checked.
    """
    attributes = vars(estimator)
    if "_predictors" not in attributes:
        return
    width = checked_width(estimator)
    reject(
        attributes.get("_preprocessor") is not None,
        f"a {type(estimator).__name__} has native categorical features, whose bounds cannot be checked; "
        "encode categories in the pipeline instead",
    )
    reject(attributes.get("_in_fit", False) is not False, "gradient boosting reads rows as binned already")
    for stage in estimator._predictors:
        for predictor in stage:
            reject(type_name(predictor) != PREDICTOR, f"a stage of boosting is a {type_name(predictor)}")
            nodes = predictor.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            reject(
                nodes["is_categorical"][~is_leaf].any(),
                "a TreePredictor has categorical splits, whose bounds cannot be checked; encode categories "
                "in the pipeline instead",
            )
            _check_traversal(nodes["left"], nodes["right"], is_leaf, nodes["feature_idx"], width)


def _check_traversal(left: Array, right: Array, is_leaf: Array, feature: Array, width: int) -> int:
    """Check that nodes form one tree, from the first to later ones, and compare existing features.

    Args:
        left: The index of each node's left child, shape ``[nodes]``.
        right: The index of each node's right child, shape ``[nodes]``.
        is_leaf: Whether each node is a leaf, shape ``[nodes]``.
        feature: The index of the feature that each node compares, shape ``[nodes]``.
        width: The number of features.

    Returns:
        The number of steps to the deepest leaf.
    """
    reject(left.ndim != 1 or left.size == 0, "a tree has no list of nodes")
    count = len(left)
    inner = np.flatnonzero(~is_leaf)
    # Signed, because unsigned indices would wrap around in the comparison.
    children = np.stack([left, right]).astype(np.int64)[:, inner]
    invalid = ((children <= inner) | (children >= count)).any(axis=0)
    _reject_first(
        invalid,
        lambda first: (
            f"node {inner[first]} of a tree of {count} has the children {children[0, first]} and "
            f"{children[1, first]}, which are not both later nodes of it"
        ),
    )
    compared = feature[inner].astype(np.int64)
    invalid = (compared < 0) | (compared >= width)
    _reject_first(
        invalid,
        lambda first: (
            f"node {inner[first]} of a tree compares feature {compared[first]}, but its estimator checks "
            f"for {width} features"
        ),
    )
    parents = np.bincount(children.ravel(), minlength=count)
    reject((parents[1:] != 1).any(), "a node of a tree is the child of none or of several others")
    depth, level = 0, np.zeros(1, np.int64)
    while (level := level[~is_leaf[level]]).size:
        level = np.concatenate([left[level], right[level]]).astype(np.int64)
        depth += 1
    return depth


def _reject_first(invalid: Any, describe: Callable[[int], str]) -> None:
    """Reject the archive if a condition, ``[nodes]``, holds for a node; its position describes it."""
    if invalid.any():
        reject(True, describe(int(invalid.argmax())))
