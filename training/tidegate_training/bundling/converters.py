# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Converters to ONNX that compute in the types in which scikit-learn computes.

skl2onnx's own converters of scalers multiply by the reciprocal, always in 32 bits. The last bits then differ,
and a tree behind the scaler takes another branch. ONNX Runtime cannot run skl2onnx's imputer in 64 bits. The
converters of preprocessing here give scikit-learn's result bit by bit.

Linear models, neighbors, naive Bayes and neural networks compute in 64 bits, as scikit-learn does with 64-bit
parameters (:func:`with_float64_parameters`). In 32 bits a sum of large terms loses the digits that a near-tie
of two distances, or a small margin, depends on.

Trees compare in the type in which scikit-learn compares. Every other step is left to skl2onnx.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate_training.bundling.boosters import (
    booster_converters,
    booster_parsers,
    booster_shape_calculators,
)
from tidegate_training.bundling.graph_builder import ONNX_TYPES, GraphBuilder
from tidegate_training.bundling.networks import convert_network, declare_network_outputs
from tidegate_training.bundling.recommender_graph import (
    convert_recommender,
    declare_recommender_outputs,
    parse_recommender,
)

Array = NDArray[Any]


def exact_converters() -> Mapping[type, Callable[..., None]]:
    """Return, by scikit-learn class, the converters that replace skl2onnx's."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    from tidegate.networks import NetworkClassifier, NetworkRegressor
    from tidegate.recommenders import ImplicitALS

    converters = {
        "SklearnLinearClassifier": convert_linear_classifier,
        "SklearnLinearSVC": convert_linear_classifier,
        "SklearnLinearRegressor": convert_linear_regressor,
        "SklearnLinearSVR": convert_linear_regressor,
        "SklearnSVR": convert_kernel_regressor,
        "SklearnGaussianNB": convert_in_float64,
        "SklearnMultinomialNB": convert_in_float64,
        "SklearnComplementNB": convert_in_float64,
        "SklearnQuadraticDiscriminantAnalysis": convert_in_float64,
        "SklearnSGDClassifier": convert_in_float64,
        "SklearnGaussianProcessRegressor": convert_in_float64,
        "SklearnKMeans": convert_in_float64,
        "SklearnMiniBatchKMeans": convert_in_float64,
        "SklearnGaussianMixture": convert_in_float64,
        "SklearnBayesianGaussianMixture": convert_in_float64,
        "SklearnLocalOutlierFactor": convert_in_float64,
        "SklearnIsolationForest": convert_in_float32,
        "SklearnOneClassSVM": convert_in_float32,
        "SklearnKNeighborsClassifier": convert_neighbors,
        "SklearnKNeighborsRegressor": convert_neighbors,
        "SklearnMLPClassifier": convert_in_float64,
        "SklearnMLPRegressor": convert_in_float64,
        "SklearnDecisionTreeClassifier": convert_in_float32,
        "SklearnDecisionTreeRegressor": convert_in_float32,
        "SklearnExtraTreeClassifier": convert_in_float32,
        "SklearnExtraTreeRegressor": convert_in_float32,
        "SklearnExtraTreesClassifier": convert_in_float32,
        "SklearnExtraTreesRegressor": convert_in_float32,
        "SklearnGradientBoostingClassifier": convert_in_float32,
        "SklearnGradientBoostingRegressor": convert_in_float32,
        "SklearnRandomForestClassifier": convert_in_float32,
        "SklearnRandomForestRegressor": convert_in_float32,
        "SklearnHistGradientBoostingClassifier": convert_histogram_boosting,
        "SklearnHistGradientBoostingRegressor": convert_histogram_boosting,
    }
    return {
        SimpleImputer: convert_imputer,
        StandardScaler: convert_scaler,
        MinMaxScaler: convert_scaler,
        RobustScaler: convert_scaler,
        NetworkClassifier: convert_network,
        NetworkRegressor: convert_network,
        ImplicitALS: convert_recommender,
        **booster_converters(),
    } | {
        estimator: converters[alias]
        for estimator, alias in sklearn_operator_name_map.items()
        if alias in converters
    }


def exact_shape_calculators() -> Mapping[type, Callable[..., None]]:
    """Return, by scikit-learn class, the functions that replace skl2onnx's declaration of the output."""
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    from tidegate.networks import NetworkClassifier, NetworkRegressor
    from tidegate.recommenders import ImplicitALS

    return {
        **dict.fromkeys((StandardScaler, MinMaxScaler, RobustScaler), declare_scaler_output),
        **dict.fromkeys((NetworkClassifier, NetworkRegressor), declare_network_outputs),
        ImplicitALS: declare_recommender_outputs,
        **booster_shape_calculators(),
    }


def exact_parsers() -> Mapping[type, Callable[..., Any]]:
    """Return, by class, the functions that tell skl2onnx the outputs of an estimator that it cannot know."""
    from tidegate.recommenders import ImplicitALS

    return {ImplicitALS: parse_recommender, **booster_parsers()}


def with_float64_parameters(pipeline: Any) -> Any:
    """Return a fitted pipeline whose linear model, naive Bayes or neural network computes in 64 bits.

    scikit-learn fits such an estimator to 32-bit rows with 32-bit parameters, and then sums in 32 bits. With
    the same parameters in 64 bits it sums in 64 bits, and so does the compiled model: both round far below
    the tolerance of the comparison. The pipeline itself stays as it was fitted.
    """
    from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron

    parameters = {
        LinearModel: ("coef_", "intercept_"),
        LinearClassifierMixin: ("coef_", "intercept_"),
        GaussianNB: ("theta_", "var_", "class_prior_"),
        BaseMultilayerPerceptron: ("coefs_", "intercepts_"),
    }
    names = [name for kind, names in parameters.items() if isinstance(pipeline[-1], kind) for name in names]
    if not names:
        return pipeline
    estimator = copy.copy(pipeline[-1])
    for name in filter(vars(estimator).__contains__, names):
        setattr(estimator, name, _to_float64(getattr(estimator, name)))
    pipeline = copy.copy(pipeline)
    pipeline.steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], estimator)]
    return pipeline


def _to_float64(parameter: Any) -> Any:
    """Return an array, or each array of a list, in 64 bits. A number without a shape stays."""
    if isinstance(parameter, list):
        return [_to_float64(item) for item in parameter]
    return parameter.astype(np.float64) if isinstance(parameter, np.ndarray) else parameter


def scaler_operations(scaler: Any, dtype: np.dtype[Any]) -> list[tuple[str, Array]]:
    """Return a fitted scaler's ``transform`` as ONNX operators, each with its operand ``[features]``.

    From the source of scikit-learn 1.9: ``StandardScaler`` rounds its constants to the data's type first, the
    other scalers do not.
    """
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    if isinstance(scaler, MinMaxScaler):
        return [("Mul", scaler.scale_), ("Add", scaler.min_)]
    if isinstance(scaler, StandardScaler):
        return [("Sub", scaler.mean_.astype(dtype)), ("Div", scaler.scale_.astype(dtype))]
    return [("Sub", scaler.center_), ("Div", scaler.scale_)]


def declare_scaler_output(operator: Any) -> None:
    """Declare a scaler's output, ``[rows, features]``: 64 bits unless all inputs have 32-bit floats."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    is_float32 = all(isinstance(variable.type, FloatTensorType) for variable in operator.inputs)
    rows, width = operator.inputs[0].get_first_dimension(), operator.raw_operator.n_features_in_
    operator.outputs[0].type = (FloatTensorType if is_float32 else DoubleTensorType)([rows, width])


def convert_scaler(scope: Any, operator: Any, container: Any) -> None:
    """Add a scaler to a graph.

    numpy computes ``x -= c`` in the wider of the two types and stores the result in the type of x. The graph
    does the same.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted scaler.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = GraphBuilder(scope, operator, container)
    # scikit-learn converts every other type to float64 before it scales.
    data_type = graph.dtype if graph.dtype in ONNX_TYPES else np.dtype(np.float64)
    for kind, constant in scaler_operations(operator.raw_operator, data_type):
        wider = np.result_type(data_type, constant)
        graph.cast(wider)
        graph.add_node(kind, graph.current, graph.add_constant(constant.astype(wider)))
        graph.cast(data_type)
    graph.finish()


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Add an imputer of floats to a graph: NaN becomes the column's statistic.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted imputer.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = GraphBuilder(scope, operator, container)
    values = graph.current
    fill = graph.add_constant(operator.raw_operator.statistics_.astype(graph.dtype))
    graph.add_node("IsNaN", values)
    graph.add_node("Where", graph.current, fill, values)
    graph.finish()


def convert_linear_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Add a linear regression to a graph, in 64 bits.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted regressor.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = GraphBuilder(scope, operator, container)
    regressor = operator.raw_operator
    coefficients = np.atleast_2d(regressor.coef_).T
    graph.add_linear(coefficients, np.resize(regressor.intercept_, coefficients.shape[1]))
    graph.finish()


def convert_linear_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Add a linear classifier to a graph, in 64 bits: label, and margins or probabilities.

    A binary classifier has the columns ``-margin`` and ``margin``, so that the label is the column of the
    largest value; for a margin of 0 it is the first class, as in scikit-learn. The logistic function of both
    columns is the probability of both classes.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted classifier.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = GraphBuilder(scope, operator, container)
    classifier = operator.raw_operator
    coefficients = np.atleast_2d(classifier.coef_).T
    intercepts = np.resize(classifier.intercept_, coefficients.shape[1])
    if binary := coefficients.shape[1] == 1:
        coefficients = np.hstack([-coefficients, coefficients])
        intercepts = np.hstack([-intercepts, intercepts])
    margins = graph.add_linear(coefficients, intercepts)
    graph.add_node("ArgMax", margins, axis=1, keepdims=0)
    graph.add_node("Gather", graph.add_classes(classifier.classes_), graph.current)
    graph.finish(operator.outputs[0], cast=False)
    graph.current = margins
    if not container.get_options(classifier, {"raw_scores": False})["raw_scores"]:
        if hasattr(classifier, "predict_proba"):
            graph.add_node("Sigmoid" if binary else "Softmax", margins, **({} if binary else {"axis": 1}))
        elif binary:
            graph.add_node("Gather", margins, graph.add_indices([1]), axis=1)
    graph.finish(operator.outputs[1])


def convert_kernel_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Add a support vector regression to a graph, in 64 bits; ONNX Runtime's own operator has 32.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted regressor.
        container: skl2onnx's container of the graph's nodes.

    Raises:
        NotImplementedError: If the kernel is a function or a matrix of the user's.
    """
    graph = GraphBuilder(scope, operator, container)
    regressor = operator.raw_operator
    vectors, gamma = regressor.support_vectors_, regressor._gamma
    if regressor.kernel == "rbf":
        # Distances from the center of the vectors: their squares cancel less than those from zero.
        center = vectors.mean(axis=0)
        vectors = vectors - center
        graph.cast(np.dtype(np.float64))
        graph.add_node("Sub", graph.current, graph.add_constant(center))
        rows = graph.current
        graph.add_node("ReduceSumSquare", rows, axes=[1], keepdims=1)
        squares, graph.current = graph.current, rows
        products = graph.add_linear(-2 * vectors.T, (vectors**2).sum(axis=1))
        graph.add_node("Add", products, squares)
        graph.add_node("Max", graph.current, graph.add_constant(np.zeros(1)))
        graph.add_node("Mul", graph.current, graph.add_constant(np.full(1, -gamma)))
        graph.add_node("Exp", graph.current)
    elif regressor.kernel == "linear":
        graph.add_linear(vectors.T, np.zeros(len(vectors)))
    elif regressor.kernel in ("poly", "sigmoid"):
        graph.add_linear(gamma * vectors.T, np.full(len(vectors), float(regressor.coef0)))
        if regressor.kernel == "poly":
            graph.add_node("Pow", graph.current, graph.add_constant(np.full(1, float(regressor.degree))))
        else:
            graph.add_node("Tanh", graph.current)
    else:
        raise NotImplementedError(f"the kernel {regressor.kernel!r} has no ONNX form")
    graph.add_linear(regressor.dual_coef_.T, regressor.intercept_)
    graph.finish()


def convert_neighbors(scope: Any, operator: Any, container: Any) -> None:
    """Add nearest neighbors to a graph, in 64 bits.

    skl2onnx weighs all neighbors alike, so weights by distance are computed here: the reciprocal of the
    distance, or 1 for the neighbors at a distance of 0 and 0 for the others if there are such neighbors.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted estimator.
        container: skl2onnx's container of the graph's nodes.
    """
    estimator = operator.raw_operator
    if estimator.weights != "distance" or estimator._y.ndim > 1:
        convert_in_float64(scope, operator, container)
        return
    graph = GraphBuilder(scope, operator, container)
    distances, neighbors = graph.add_nearest(estimator)
    graph.add_node("Reciprocal", distances)
    reciprocals = graph.current
    graph.add_node("IsInf", reciprocals)
    graph.add_node("Cast", graph.current, to=ONNX_TYPES[np.dtype(np.float64)])
    at_zero = graph.current
    graph.add_node("ReduceMax", at_zero, axes=[1], keepdims=1)
    graph.add_node("Greater", graph.current, graph.add_constant(np.zeros(1)))
    graph.add_node("Where", graph.current, at_zero, reciprocals)
    weights = graph.current
    graph.add_node("ReduceSum", weights, graph.add_indices([1]), keepdims=1)
    total = graph.current
    graph.add_node("Unsqueeze", weights, graph.add_indices([2]))
    weights = graph.current
    is_classifier = hasattr(estimator, "classes_")
    values = np.eye(len(estimator.classes_))[estimator._y] if is_classifier else estimator._y[:, np.newaxis]
    graph.add_node("Gather", graph.add_matrix(values.astype(np.float64)), neighbors)
    graph.add_node("Mul", graph.current, weights)
    graph.add_node("ReduceSum", graph.current, graph.add_indices([1]), keepdims=0)
    sums = graph.current
    if is_classifier:
        graph.add_node("ArgMax", sums, axis=1, keepdims=0)
        graph.add_node("Gather", graph.add_classes(estimator.classes_), graph.current)
        graph.finish(operator.outputs[0], cast=False)
    graph.add_node("Div", sums, total)
    graph.finish(operator.outputs[-1])


def convert_in_float64(scope: Any, operator: Any, container: Any) -> None:
    """Add an estimator to a graph by skl2onnx's own converter, in 64 bits.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted estimator.
        container: skl2onnx's container of the graph's nodes.
    """
    _convert_by_skl2onnx(scope, operator, container, np.dtype(np.float64))


def convert_in_float32(scope: Any, operator: Any, container: Any) -> None:
    """Add an estimator to a graph by skl2onnx's own converter, in 32 bits.

    scikit-learn's trees round rows to 32 bits, and ONNX Runtime has its one-class SVM in no other type.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted estimator.
        container: skl2onnx's container of the graph's nodes.
    """
    _convert_by_skl2onnx(scope, operator, container, np.dtype(np.float32))


def convert_histogram_boosting(scope: Any, operator: Any, container: Any) -> None:
    """Add histogram boosting to a graph, with thresholds that divide rows as scikit-learn's do.

    The thresholds have 64 bits and are halfway between two values. skl2onnx rounds them to the nearest 32
    bits. A threshold that is rounded down divides 32-bit numbers as before; any other number is compared in
    64 bits.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted estimator.
        container: skl2onnx's container of the graph's nodes.
    """
    from onnx import helper, numpy_helper

    graph = GraphBuilder(scope, operator, container)
    dtype = np.dtype(np.float32 if graph.dtype == np.float32 else np.float64)
    first = len(container.nodes)
    _convert_by_skl2onnx(scope, operator, container, dtype)
    trees = [tree.nodes for iteration in operator.raw_operator._predictors for tree in iteration]
    thresholds = np.concatenate([np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"]) for nodes in trees])
    node = next(node for node in container.nodes[first:] if node.op_type.startswith("TreeEnsemble"))
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if dtype == np.float32:
        rounded = thresholds.astype(np.float32)
        lower = np.nextafter(rounded, np.float32(-np.inf))
        attributes["nodes_values"].floats[:] = np.where(rounded > thresholds, lower, rounded).tolist()
        return
    for name in ("nodes_values", "nodes_hitrates", "class_weights", "target_weights", "base_values"):
        if name in attributes:
            values = thresholds if name == "nodes_values" else np.array(attributes[name].floats, np.float64)
            node.attribute.remove(attributes[name])
            node.attribute.append(helper.make_attribute(f"{name}_as_tensor", numpy_helper.from_array(values)))
    container.node_domain_version_pair_sets.add(("ai.onnx.ml", 3))


def _convert_by_skl2onnx(scope: Any, operator: Any, container: Any, dtype: np.dtype[Any]) -> None:
    """Convert an operator's input to a type, and call skl2onnx's own converter as if that were the input."""
    from skl2onnx.common._registration import get_converter
    from skl2onnx.common._topology import Operator, Variable
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    def add_variable(variables: Any, name: str, tensor_type: Any) -> None:
        variables.append(Variable(name, name, scope.name, tensor_type))

    graph = GraphBuilder(scope, operator, container)
    graph.cast(dtype)
    tensor_type = FloatTensorType if dtype == np.float32 else DoubleTensorType
    estimator, (*labels, scores) = operator.raw_operator, operator.outputs
    inner = Operator(operator.onnx_name, scope.name, operator.type, estimator, container.target_opset, scope)
    add_variable(inner.inputs, graph.current, tensor_type([None, estimator.n_features_in_]))
    for label in labels:
        add_variable(inner.outputs, label.full_name, label.type)
    graph.current = scope.get_unique_variable_name("scores")
    add_variable(inner.outputs, graph.current, tensor_type(scores.type.shape))
    get_converter(operator.type)(scope, inner, container)
    graph.finish(scores)
