# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the trees of XGBoost, LightGBM and CatBoost to ONNX, so that a server needs none of the libraries.

Each library describes its model in JSON: trees, objective, and the value before the first tree. The graph
compares as the library does: XGBoost rounds rows to 32 bits and compares with ``<``, LightGBM compares 64-bit
thresholds with ``<=``, CatBoost rounds rows and compares with ``>``. It adds the leaves in 64 bits. An
objective or a tree of another kind is rejected, and the model is not compiled.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.classifiers import LabelEncodedClassifier
from tidegate_training.bundling.catboost_trees import read_catboost
from tidegate_training.bundling.graph_builder import GraphBuilder, operator_parser
from tidegate_training.bundling.tree_model import Link, Node, TreeModel, add_trees, find_link

Array = NDArray[Any]

ESTIMATORS = {
    "xgboost": ("XGBClassifier", "XGBRegressor"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
    "catboost": ("CatBoostClassifier", "CatBoostRegressor"),
}
"""By library, the estimators that are compiled."""

LIBRARY_TYPES = frozenset(
    {
        "catboost.core.CatBoostClassifier",
        "catboost.core.CatBoostRegressor",
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
)
"""The types in the archives of fitted models. Training builds them. Servers do not trust them by default,
because a library reads its booster's bytes in C++; they need them only for a model that is not compiled."""

_XGBOOST_LINKS: Mapping[str, Link] = {
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:quantileerror": "identity",
    "reg:logistic": "sigmoid",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "count:poisson": "exp",
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
}

_LIGHTGBM_LINKS: Mapping[str, Link] = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "cross_entropy": "sigmoid",
    "binary": "sigmoid",
    "multiclass": "softmax",
}


def booster_converters() -> Mapping[type, Callable[..., None]]:
    """Return, by class, the converters of the libraries that this process has imported."""
    return dict.fromkeys(_imported_classes(), convert_booster)


def booster_shape_calculators() -> Mapping[type, Callable[..., None]]:
    """Return, by class, the functions that declare the outputs of :func:`convert_booster`."""
    return dict.fromkeys(_imported_classes(), declare_booster_outputs)


def booster_parsers() -> Mapping[type, Callable[..., Any]]:
    """Return, by class, the functions that declare a classifier where skl2onnx does not see one.

    CatBoost's does not derive from scikit-learn's.
    """
    parse = operator_parser("label", "probabilities")
    return {kind: parse for kind in _imported_classes() if kind.__name__ == "CatBoostClassifier"}


def _imported_classes() -> Iterator[type]:
    """Return the estimators of the imported libraries, without an import of a library that is not in use."""
    for library, names in ESTIMATORS.items():
        if library in sys.modules:
            yield from (getattr(sys.modules[library], name) for name in names)
            yield LabelEncodedClassifier


def used_libraries(pipeline: Any) -> dict[str, str]:
    """Return the library of a pipeline's last step with its version; nothing for scikit-learn's own."""
    estimator = getattr(pipeline[-1], "estimator_", pipeline[-1])
    library = type(estimator).__module__.partition(".")[0]
    return {library: sys.modules[library].__version__} if library in ESTIMATORS else {}


def declare_booster_outputs(operator: Any) -> None:
    """Declare the outputs: a classifier's label ``[rows]``, and probabilities or values ``[rows, width]``."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    rows, estimator = operator.inputs[0].get_first_dimension(), operator.raw_operator
    *labels, scores = operator.outputs
    for label in labels:
        is_text = np.asarray(estimator.classes_).dtype.kind in "UO"
        label.type = (StringTensorType if is_text else Int64TensorType)([rows])
    scores.type = FloatTensorType([rows, len(estimator.classes_) if labels else None])


def convert_booster(scope: Any, operator: Any, container: Any) -> None:
    """Add a model of XGBoost, LightGBM or CatBoost to a graph.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted estimator.
        container: skl2onnx's container of the graph's nodes.

    Raises:
        NotImplementedError: If the model has another objective or other trees than the graph computes.
    """
    graph = GraphBuilder(scope, operator, container)
    classes = getattr(operator.raw_operator, "classes_", None)
    estimator = getattr(operator.raw_operator, "estimator_", operator.raw_operator)
    library = type(estimator).__module__.partition(".")[0]
    if library not in ESTIMATORS:
        raise NotImplementedError(f"{type(estimator).__name__} is not a booster")
    model = _READERS[library](estimator)
    # XGBoost and CatBoost round all rows to 32 bits, and LightGBM those of other types than 64-bit floats.
    if library != "lightgbm" or graph.dtype != np.float64:
        graph.cast(np.dtype(np.float32))
    add_trees(graph, model)
    if len(operator.outputs) == 1:
        if model.link != "identity":
            graph.add_node(
                model.link.title(), graph.current, **({"axis": 1} if model.link == "softmax" else {})
            )
        graph.finish()
        return
    if model.link == "sigmoid":
        graph.add_node("Sigmoid", graph.current)
        graph.add_complement()
    else:
        graph.add_node("Softmax", graph.current, axis=1)
    graph.finish_classifier(operator.outputs, np.asarray(classes))


def read_xgboost(estimator: Any) -> TreeModel:
    """Read a fitted estimator of XGBoost.

    Raises:
        NotImplementedError: If the graph cannot compute the model.
    """
    if not np.isnan(estimator.missing):
        raise NotImplementedError(f"the number {estimator.missing} stands for a missing value")
    booster = estimator.get_booster()
    if (best := getattr(estimator, "best_iteration", None)) is not None:
        booster = booster[: best + 1]
    learner = json.loads(booster.save_raw("json"))["learner"]
    parameters, kind = learner["learner_model_param"], learner["gradient_booster"]["name"]
    if kind != "gbtree":
        raise NotImplementedError(f"the booster {kind} has no ONNX form")
    link = find_link(learner["objective"]["name"], _XGBOOST_LINKS)
    ensemble = learner["gradient_booster"]["model"]
    base = np.atleast_1d(np.asarray(json.loads(parameters["base_score"]), np.float32))
    # The base score has the unit of the prediction.
    if link == "sigmoid":
        base = -np.log(1 / base - 1)
    elif link == "exp":
        base = np.log(base)
    n_margins = max(int(parameters["num_class"]), int(parameters["num_target"]), 1)
    return TreeModel(
        [_read_xgboost_tree(tree) for tree in ensemble["trees"]],
        ensemble["tree_info"],
        np.resize(base, n_margins),
        link,
        "BRANCH_LT",
    )


def _read_xgboost_tree(tree: Mapping[str, Any]) -> list[Node]:
    if any(tree["split_type"]):
        raise NotImplementedError("the trees divide categories, which the graph does not compute")
    if tree["tree_param"]["size_leaf_vector"] not in ("0", "1"):
        raise NotImplementedError("a leaf has a value for each target, which the graph does not compute")
    # JSON has the shortest decimals that are rounded to the 32 bits of a threshold.
    conditions = np.asarray(tree["split_conditions"], np.float32).tolist()
    nodes, numbers = [], deque([0])
    # Pruned nodes stay in the arrays, and no node leads to them.
    while numbers:
        number = numbers.popleft()
        left, right = tree["left_children"][number], tree["right_children"][number]
        condition = conditions[number]
        if left == -1:
            nodes.append(Node(number, values=(condition,)))
            continue
        feature, missing_left = tree["split_indices"][number], bool(tree["default_left"][number])
        nodes.append(Node(number, feature, condition, left, right, missing_left))
        numbers += left, right
    return nodes


def read_lightgbm(estimator: Any) -> TreeModel:
    """Read a fitted estimator of LightGBM.

    Raises:
        NotImplementedError: If the graph cannot compute the model.
    """
    model = estimator.booster_.dump_model()
    objective, *options = (model.get("objective") or "none").split()
    if "sqrt" in options:
        raise NotImplementedError("the objective has the option reg_sqrt, which the graph does not compute")
    link = find_link(objective, _LIGHTGBM_LINKS)
    n_margins = model["num_tree_per_iteration"]
    scale = 1.0
    if model["average_output"]:
        scale = n_margins / len(model["tree_info"])
    for option in options:
        if option.startswith("sigmoid:"):
            scale *= float(option.removeprefix("sigmoid:"))
    trees = [_read_lightgbm_tree(tree["tree_structure"], scale) for tree in model["tree_info"]]
    targets = [number % n_margins for number in range(len(trees))]
    return TreeModel(trees, targets, np.zeros(n_margins), link, "BRANCH_LEQ")


def _read_lightgbm_tree(root: Mapping[str, Any], scale: float) -> list[Node]:
    nodes, waiting, count = [], deque([(0, root)]), 1
    while waiting:
        number, node = waiting.popleft()
        if "leaf_value" in node:
            if "leaf_coeff" in node:
                raise NotImplementedError("the leaves are linear models, which the graph does not compute")
            nodes.append(Node(number, values=(node["leaf_value"] * scale,)))
            continue
        if node["decision_type"] != "<=":
            raise NotImplementedError("the trees divide categories, which the graph does not compute")
        if node["missing_type"] == "Zero":
            raise NotImplementedError("zero stands for a missing value, which the graph does not compute")
        threshold = node["threshold"]
        # Without missing values in the training rows, a missing value counts as zero.
        missing_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
        nodes.append(Node(number, node["split_feature"], threshold, count, count + 1, missing_left))
        waiting += (count, node["left_child"]), (count + 1, node["right_child"])
        count += 2
    return nodes


_READERS: Mapping[str, Callable[[Any], TreeModel]] = {
    "xgboost": read_xgboost,
    "lightgbm": read_lightgbm,
    "catboost": read_catboost,
}
