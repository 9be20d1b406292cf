# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the trees of CatBoost from its JSON.

An oblivious tree has the same comparison in all nodes of a level: the results are the bits of the number of a
row's leaf. In trees of other growing policies each node has its own. A model with categories, texts or
embeddings is rejected, because their values come from statistics of the training rows.
"""

import copy
import json
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate_training.bundling.tree_model import Link, Node, TreeModel, find_link

Array = NDArray[Any]

_LINKS: Mapping[str, Link] = {
    "RMSE": "identity",
    "MAE": "identity",
    "MAPE": "identity",
    "Quantile": "identity",
    "Expectile": "identity",
    "Huber": "identity",
    "LogCosh": "identity",
    "Lq": "identity",
    "MultiRMSE": "identity",
    "MultiQuantile": "identity",
    "Poisson": "exp",
    "Tweedie": "exp",
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "MultiClass": "softmax",
}

_FIT_METADATA = ("model_guid", "train_finish_time")
"""Metadata that differ between two equal fits."""


def read_catboost(estimator: Any) -> TreeModel:
    """Read a fitted estimator of CatBoost.

    Raises:
        NotImplementedError: If the graph cannot compute the model.
    """
    objective = estimator.get_all_params()["loss_function"].partition(":")[0]
    link = find_link(objective, _LINKS)
    model = _to_json(estimator)
    kinds = [kind for kind in model["features_info"] if kind != "float_features"]
    if kinds:
        raise NotImplementedError(
            f"the model has {kinds[0].replace('_', ' ')}, which the graph does not compute"
        )
    features = model["features_info"]["float_features"]
    scale, bias = model["scale_and_bias"]
    base = np.asarray(bias, np.float64)
    if "oblivious_trees" in model:
        trees = [_read_oblivious_tree(tree, features, len(base), scale) for tree in model["oblivious_trees"]]
    else:
        trees = [_read_tree(tree, features, scale) for tree in model["trees"]]
    return TreeModel(trees, [0] * len(trees), base, link, "BRANCH_GT")


def without_fit_metadata(pipeline: Any) -> Any:
    """Return a fitted pipeline whose model of CatBoost has no time and no random name of its fit."""
    name, estimator = pipeline.steps[-1]
    if type(estimator).__module__ != "catboost.core":
        return pipeline
    estimator = copy.copy(estimator)
    metadata = estimator.get_metadata()
    for key in _FIT_METADATA:
        metadata[key] = ""
    pipeline = copy.copy(pipeline)
    pipeline.steps = [*pipeline.steps[:-1], (name, estimator)]
    return pipeline


def _to_json(estimator: Any) -> Any:
    """Return a model in CatBoost's JSON, which the library writes to files alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        estimator.save_model(str(file), format="json")
        return json.loads(file.read_bytes())


def _compare(
    number: int, split: Mapping[str, Any], features: Sequence[Any], when_false: int, when_true: int
) -> Node:
    """Return a node that compares a feature with a border.

    Args:
        number: The node's number.
        split: The comparison in CatBoost's JSON.
        features: CatBoost's features.
        when_false: The number of the node for values up to the border.
        when_true: The number of the node for values above it.
    """
    feature = features[split["float_feature_index"]]
    missing_true = feature["nan_value_treatment"] == "AsTrue"
    return Node(number, feature["flat_feature_index"], split["border"], when_true, when_false, missing_true)


def _read_oblivious_tree(
    tree: Mapping[str, Any], features: Sequence[Any], n_margins: int, scale: float
) -> list[Node]:
    """Return a tree's nodes, numbered level by level from 0; the last comparison is the root's.

    Args:
        tree: The tree in CatBoost's JSON.
        features: CatBoost's features.
        n_margins: The number of values per leaf.
        scale: The factor of all values.
    """
    splits = tree["splits"] or []
    nodes = [
        _compare(number, split, features, 2 * number + 1, 2 * number + 2)
        for level, split in enumerate(reversed(splits))
        for number in range(2**level - 1, 2 ** (level + 1) - 1)
    ]
    values = (np.reshape(tree["leaf_values"], (-1, n_margins)) * scale).tolist()
    return [*nodes, *(Node(number, values=leaf) for number, leaf in enumerate(values, len(nodes)))]


def _read_tree(root: Mapping[str, Any], features: Sequence[Any], scale: float) -> list[Node]:
    """Return the nodes of a tree whose nodes have comparisons of their own."""
    nodes, waiting, count = [], deque([(0, root)]), 1
    while waiting:
        number, node = waiting.popleft()
        if "split" not in node:
            nodes.append(Node(number, values=(np.atleast_1d(node["value"]) * scale).tolist()))
            continue
        nodes.append(_compare(number, node["split"], features, count, count + 1))
        waiting += (count, node["left"]), (count + 1, node["right"])
        count += 2
    return nodes
