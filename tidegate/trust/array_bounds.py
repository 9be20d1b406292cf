# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bounds of arrays that compiled code reads without a check: of clusters, neighbours, support vectors, texts.

Each check reads the attributes of one built object, and rejects those that contradict each other. It does not
judge what the object predicts. An estimator that is not fitted has nothing to read, and passes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.trust.tree_bounds import checked_width, reject, type_name

Array = NDArray[Any]

_KERNELS = frozenset({"linear", "poly", "rbf", "sigmoid"})
_MERSENNE_STATE = 624
_PHILOX_BUFFER = 4
_MAX_HASHED_WIDTH = 2**31 - 1


def _is_matrix(value: Any, width: int) -> bool:
    """Return whether a value is a matrix ``[rows, width]`` with rows, dense or sparse."""
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return len(shape) == 2 and shape[0] > 0 and shape[1] == width


def _are_indices(values: Any, count: int) -> bool:
    """Return whether all values are whole numbers from 0 to count - 1."""
    array = np.asarray(values)
    return array.dtype.kind in "iu" and (array.size == 0 or bool(array.min() >= 0 and array.max() < count))


def check_cluster_centers(estimator: Any) -> None:
    """Check that the centers of clusters have the width of the rows.

    Raises:
        BundleError: If they have another one, or the number of threads is not valid.
    """
    attributes = vars(estimator)
    if "cluster_centers_" not in attributes:
        return
    name, width = type(estimator).__name__, checked_width(estimator)
    reject(
        not _is_matrix(estimator.cluster_centers_, width),
        f"the centers of a {name} do not have {width} columns, the width that it checks for",
    )
    threads = attributes.get("_n_threads")
    reject(type(threads) is not int or threads < 1, f"a {name} has {threads} threads")


def check_subcluster_norms(estimator: Any) -> None:
    """Check that each subcluster of a Birch has one norm.

    Raises:
        BundleError: If there is another number of norms.
    """
    attributes = vars(estimator)
    if "subcluster_centers_" not in attributes:
        return
    centers, norms = estimator.subcluster_centers_, attributes.get("_subcluster_norms")
    reject(
        np.shape(norms) != (len(centers),),
        f"a Birch has {len(centers)} subclusters and norms of the shape {np.shape(norms)}",
    )


def check_bisecting_tree(estimator: Any) -> None:
    """Check that each center in a tree of clusters has the width of the rows.

    Raises:
        BundleError: If one has another width.
    """
    if "_bisecting_tree" not in vars(estimator):
        return
    width = checked_width(estimator)
    pending = [estimator._bisecting_tree]
    while pending:
        node = pending.pop()
        for child in (node.left, node.right) if node.left is not None else ():
            reject(
                np.shape(child.center) != (width,),
                f"a center of a BisectingKMeans has the shape {np.shape(child.center)}, expected ({width},)",
            )
            pending.append(child)


def check_neighbors(estimator: Any) -> None:
    """Check the points that neighbours are searched among, and the metric.

    Raises:
        BundleError: If the points do not have the width of the rows, or the metric has an array of another
            size.
    """
    attributes = vars(estimator)
    if "_fit_X" not in attributes:
        return
    name, points = type(estimator).__name__, estimator._fit_X
    width = checked_width(estimator)
    reject(not _is_matrix(points, width), f"the points of a {name} do not have {width} columns")
    reject(
        attributes.get("n_samples_fit_") != points.shape[0],
        f"a {name} has {points.shape[0]} points and declares {attributes.get('n_samples_fit_')}",
    )
    for metric in ("metric", "effective_metric_"):
        reject(
            not isinstance(attributes.get(metric), str),
            f"the {metric} of a {name} is a {type_name(attributes.get(metric))}; use the name of a metric",
        )
    for parameters in ("metric_params", "effective_metric_params_"):
        _check_metric_parameters(attributes.get(parameters), name, width)


def _check_metric_parameters(parameters: Any, name: str, width: int) -> None:
    if parameters is None:
        return
    reject(not isinstance(parameters, Mapping), f"the metric of a {name} has no dictionary of parameters")
    shapes = {"w": (width,), "V": (width,), "VI": (width, width)}
    for key, value in parameters.items():
        is_number = value is None or isinstance(value, int | float | np.number)
        reject(
            not is_number and np.shape(value) != shapes.get(key),
            f"the metric of a {name} has a {key} of the shape {np.shape(value)}, expected "
            f"{shapes.get(key, 'a number')}",
        )


def check_neighbor_classes(estimator: Any) -> None:
    """Check that each point's class is one of the classes, and that there are enough points.

    Raises:
        BundleError: If a class or a point would be read or counted outside of its array.
    """
    attributes = vars(estimator)
    if "_y" not in attributes:
        return
    name, labels, n_points = type(estimator).__name__, estimator._y, estimator._fit_X.shape[0]
    several = isinstance(estimator.classes_, list)
    classes = estimator.classes_ if several else [estimator.classes_]
    columns = labels if labels.ndim == 2 else labels.reshape(-1, 1)
    reject(
        labels.shape != (n_points, len(classes)) if several else labels.size != n_points,
        f"a {name} has {n_points} points and classes of the shape {labels.shape}",
    )
    for column, known in zip(columns.T, classes, strict=False):
        reject(not _are_indices(column, len(known)), f"a point of a {name} has a class that does not exist")
    neighbors = attributes.get("n_neighbors")
    is_valid = isinstance(neighbors, int | np.integer) and 1 <= neighbors <= n_points
    reject(
        neighbors is not None and not is_valid,
        f"a {name} looks for {neighbors} neighbours among {n_points} points",
    )


def rebuild_neighbors_tree(tree: Any) -> None:
    """Compute the nodes of a ``KDTree`` or ``BallTree`` again from its points.

    Its nodes and the order of its points are indices that queries follow without a check. Those of the
    archive are therefore replaced. The constructor checks the points, the leaf size and the metric.

    Raises:
        BundleError: If the points have another number of weights.
        ValueError: If the constructor rejects the rest.
    """
    points, _, _, _, leaf_size, *_, metric, weights = tree.__getstate__()
    reject(
        weights is not None and np.shape(weights) != (len(points),),
        f"a {type(tree).__name__} has {len(points)} points and weights of the shape {np.shape(weights)}",
    )
    rebuilt = type(tree)(points, leaf_size=leaf_size, metric=metric, sample_weight=weights)
    tree.__setstate__(rebuilt.__getstate__())


def check_support_vectors(estimator: Any) -> None:
    """Check the arrays that libsvm reads: support vectors, their coefficients and numbers per class.

    Raises:
        BundleError: If they do not fit each other, or the kernel is not one that libsvm computes.
    """
    attributes = vars(estimator)
    if "support_vectors_" not in attributes:
        return
    name, width = type(estimator).__name__, checked_width(estimator)
    reject(
        not isinstance(estimator.kernel, str) or estimator.kernel not in _KERNELS,
        f"the kernel of a {name} is not one of {', '.join(sorted(_KERNELS))}",
    )
    is_classifier = estimator._impl in ("c_svc", "nu_svc")
    vectors, per_class = estimator.support_vectors_, np.asarray(estimator._n_support)
    n_vectors, n_classes = vectors.shape[0], len(estimator.classes_) if is_classifier else 2
    pairs = n_classes * (n_classes - 1) // 2
    expected = {
        "support_": (n_vectors,),
        "support_vectors_": (n_vectors, width),
        "_n_support": (n_classes,),
        "_dual_coef_": (n_classes - 1, n_vectors),
        "_intercept_": (pairs,),
    }
    for attribute, shape in expected.items():
        actual = np.shape(attributes.get(attribute))
        reject(actual != shape, f"the {attribute} of a {name} has the shape {actual}, expected {shape}")
    for attribute in ("_probA", "_probB"):
        size = np.size(attributes.get(attribute))
        reject(size not in (0, pairs), f"the {attribute} of a {name} has {size} values, expected {pairs}")
    counted = per_class.sum() if is_classifier else per_class.min()
    reject(
        n_classes < 2 or not _are_indices(per_class, n_vectors + 1) or counted != n_vectors,
        f"a {name} has {n_vectors} support vectors, and its classes have {per_class.tolist()}",
    )
    if estimator._sparse:
        coefficients = estimator._dual_coef_.data.size
        reject(
            coefficients != (n_classes - 1) * n_vectors,
            f"a {name} has {coefficients} coefficients for {n_vectors} support vectors",
        )


def check_vocabulary(estimator: Any) -> None:
    """Check that the words of a vocabulary have the columns from 0 on, each once.

    Raises:
        BundleError: If a word has a column that the matrix does not have.
    """
    vocabulary = vars(estimator).get("vocabulary_")
    if vocabulary is None:
        return
    columns = sorted(vocabulary.values())
    reject(
        columns != list(range(len(columns))),
        f"the words of a {type(estimator).__name__} do not have the columns 0 to {len(columns) - 1}",
    )


def check_hashed_width(estimator: Any) -> None:
    """Check the number of columns that words are hashed to, which is a divisor in compiled code.

    Raises:
        BundleError: If it is not a positive 32-bit number.
    """
    width = estimator.n_features
    reject(
        not isinstance(width, int | np.integer) or not 1 <= width <= _MAX_HASHED_WIDTH,
        f"a {type(estimator).__name__} hashes to {width} columns",
    )


def check_encoded_width(estimator: Any) -> None:
    """Check that each category's column exists in the matrix of a one-hot encoder.

    Raises:
        BundleError: If the recorded numbers of columns are not those of the categories.
    """
    attributes = vars(estimator)
    if "categories_" not in attributes:
        return
    n_features = len(estimator.categories_)
    grouped: Any = [None] * n_features
    infrequent: Any = [None] * n_features
    if attributes.get("_infrequent_enabled"):
        grouped, infrequent = estimator._default_to_infrequent_mappings, estimator._infrequent_indices
    dropped = attributes.get("_drop_idx_after_grouping")
    dropped = [None] * n_features if dropped is None else list(dropped)
    recorded = list(attributes.get("_n_features_outs", ()))
    reject(
        not len(grouped) == len(infrequent) == len(dropped) == len(recorded) == n_features,
        f"a OneHotEncoder has {n_features} features, and columns of {len(recorded)}",
    )
    for known, mapping, rare, drop, columns in zip(
        estimator.categories_, grouped, infrequent, dropped, recorded, strict=True
    ):
        _check_order(known)
        expected = len(known)
        reject(
            (mapping is None) != (rare is None)
            or (
                mapping is not None
                and (np.shape(mapping) != (len(known),) or not _are_indices([*mapping, *rare], len(known)))
            ),
            "a category of a OneHotEncoder is grouped into one that does not exist",
        )
        if mapping is not None:
            expected = int(np.max(mapping)) + 1
        if drop is not None:
            reject(not _are_indices(drop, expected), "a OneHotEncoder drops a category that does not exist")
            expected -= 1
        reject(
            not isinstance(columns, int | np.integer) or columns != expected,
            f"a OneHotEncoder has {columns} columns for a feature of {expected}",
        )


def _check_order(categories: Any) -> None:
    """Check that numbers are in order: a binary search among others finds columns that do not exist."""
    if categories.dtype.kind in "OSU":
        return
    known = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
    is_ordered = bool((known[:-1] < known[1:]).all()) and len(known) >= len(categories) - 1
    reject(
        not is_ordered or not np.array_equal(known, categories[: len(known)]),
        "the categories of a OneHotEncoder are not in order",
    )


def check_label_cache(estimator: Any) -> None:
    """Check that the columns that a binarizer of labels has cached are those of its classes.

    Raises:
        BundleError: If they are not.
    """
    cached = vars(estimator).get("_cached_dict")
    reject(
        cached is not None and cached != {label: index for index, label in enumerate(estimator.classes_)},
        "the columns of a MultiLabelBinarizer are not those of its classes",
    )


def check_sparse_matrix(matrix: Any) -> None:
    """Check every index of a sparse matrix; SciPy checks only some of them when it loads one.

    Raises:
        ValueError: If an index is outside of the matrix.
    """
    check = getattr(matrix, "check_format", None)
    if check is not None:
        check(full_check=True)
    else:
        matrix.tocoo()._check()


def check_random_state(state: Any) -> None:
    """Check the position in the buffer of a random state, which draws read without a check.

    Raises:
        BundleError: If the position is outside of the buffer.
    """
    _check_position(state.get_state(legacy=False))


def check_random_generator(generator: Any) -> None:
    """Check the position in the buffer of a random generator, which draws read without a check.

    Raises:
        BundleError: If the position is outside of the buffer.
    """
    _check_position(generator.bit_generator.state)


def _check_position(state: Mapping[str, Any]) -> None:
    position = state["state"].get("pos", 0)
    buffered = state.get("buffer_pos", 0)
    reject(
        not 0 <= position <= _MERSENNE_STATE or not 0 <= buffered <= _PHILOX_BUFFER,
        f"a random state reads at the position {max(position, buffered, key=abs)} of its buffer",
    )
