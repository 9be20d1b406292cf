# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The objects of a pipeline, checked after they are built and before the first prediction.

Type names say which code runs, and this module holds what that code reads. It visits each object that a
pipeline reaches, rejects attributes that replace a method, and calls the bounds check of each type whose
compiled code trusts its arrays. The archive's description of its objects plays no part here.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np

from tidegate.trust import array_bounds, tree_bounds
from tidegate.trust.tree_bounds import PREDICTOR, TREE, reject, type_name

CHECKS: Mapping[str, Callable[[Any], None]] = {
    "numpy.random._generator.Generator": array_bounds.check_random_generator,
    "numpy.random.mtrand.RandomState": array_bounds.check_random_state,
    "scipy.sparse._base._spbase": array_bounds.check_sparse_matrix,
    "sklearn.cluster._birch.Birch": array_bounds.check_subcluster_norms,
    "sklearn.cluster._bisect_k_means.BisectingKMeans": array_bounds.check_bisecting_tree,
    "sklearn.cluster._kmeans._BaseKMeans": array_bounds.check_cluster_centers,
    "sklearn.ensemble._gb.BaseGradientBoosting": tree_bounds.check_gradient_boosting,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": (
        tree_bounds.check_histogram_boosting
    ),
    "sklearn.feature_extraction._dict_vectorizer.DictVectorizer": array_bounds.check_vocabulary,
    "sklearn.feature_extraction._hash.FeatureHasher": array_bounds.check_hashed_width,
    "sklearn.feature_extraction.text.CountVectorizer": array_bounds.check_vocabulary,
    "sklearn.feature_extraction.text.HashingVectorizer": array_bounds.check_hashed_width,
    "sklearn.neighbors._ball_tree.BallTree": array_bounds.rebuild_neighbors_tree,
    "sklearn.neighbors._base.NeighborsBase": array_bounds.check_neighbors,
    "sklearn.neighbors._classification.KNeighborsClassifier": array_bounds.check_neighbor_classes,
    "sklearn.neighbors._classification.RadiusNeighborsClassifier": array_bounds.check_neighbor_classes,
    "sklearn.neighbors._kd_tree.KDTree": array_bounds.rebuild_neighbors_tree,
    "sklearn.preprocessing._encoders.OneHotEncoder": array_bounds.check_encoded_width,
    "sklearn.preprocessing._label.MultiLabelBinarizer": array_bounds.check_label_cache,
    "sklearn.svm._base.BaseLibSVM": array_bounds.check_support_vectors,
    "sklearn.tree._classes.BaseDecisionTree": tree_bounds.check_decision_tree,
}
"""By the name of a type or of a base class, the check of its objects."""

_TREE_OWNERS = {
    TREE: ("sklearn.tree._classes.BaseDecisionTree", "tree_"),
    PREDICTOR: (
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting",
        "_predictors",
    ),
}
"""By type of tree, the only attribute that may hold it: its owner's check covers the rows' width as well."""


def check_objects(root: Any) -> None:
    """Check every object that is reachable from a pipeline.

    Args:
        root: The pipeline. All its types are trusted.

    Raises:
        BundleError: If an attribute replaces a method, or compiled code could leave an object's arrays.
    """
    visited: dict[int, Any] = {}
    pending: list[tuple[Any, Any, str]] = [(root, None, "")]
    while pending:
        value, owner, attribute = pending.pop()
        if (name := type_name(value)) in _TREE_OWNERS:
            owner_type, owner_attribute = _TREE_OWNERS[name]
            reject(
                attribute != owner_attribute or owner_type not in _bases(owner),
                f"the owner of a {type(value).__name__} does not check a row's width",
            )
        if isinstance(value, dict | list | tuple | set | frozenset | partial | np.ndarray):
            pending.extend((item, owner, attribute) for item in _items(value))
            continue
        if id(value) in visited or isinstance(value, str | bytes | type):
            continue
        visited[id(value)] = value
        attributes = _attributes(value)
        for check in (CHECKS[base] for base in _bases(value) if base in CHECKS):
            check(value)
        pending.extend((item, value, name) for name, item in attributes.items())


def _items(container: Any) -> Iterator[Any]:
    if isinstance(container, dict):
        yield from container.keys()
        yield from container.values()
    elif isinstance(container, partial):
        yield from (container.func, container.args, container.keywords)
    elif isinstance(container, np.ndarray):
        yield from container.ravel() if container.dtype.hasobject else ()
    else:
        yield from container


def _attributes(value: Any) -> dict[str, Any]:
    """Return an object's own attributes, none of which may replace a method, property or constant."""
    if inspect.isroutine(value) or type(value).__module__.startswith("numpy"):
        return {}  # not built from the archive
    attributes = getattr(value, "__dict__", {})
    is_estimator = type(value).__module__.startswith("sklearn.")
    parameters = type(value)._get_param_names() if hasattr(type(value), "_get_param_names") else ()
    for name in attributes:
        replaced = inspect.getattr_static(type(value), name, None)
        is_method = hasattr(replaced, "__get__") and not isinstance(replaced, cached_property)
        is_constant = is_estimator and replaced is not None and name not in parameters
        reject(
            is_method or is_constant,
            f"the attribute '{name}' of a {type(value).__name__} replaces that of its class",
        )
    return dict(attributes)


def _bases(value: Any) -> list[str]:
    return [f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__]
