# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A graph that another tool has written, with scikit-learn's interface and in the form of a bundle.

The estimators run the graph as it is. :func:`adapt_graph` gives the same graph the inputs and outputs of a
contract; the parity report compares both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from tidegate.batch import graph_input
from tidegate.contract import MATRIX, Datatype
from tidegate_training.bundling.parity import BATCH_SIZES

Array = NDArray[Any]

_PROBABILITY_MARGIN = 1e-3
"""Largest accepted distance of a row's probabilities from 0, 1 and the sum 1."""


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A graph, and which of its inputs and outputs mean what.

    Attributes:
        content: The serialized graph.
        datatype_by_input: By input, its type. One input is a matrix ``[rows, features]``; several inputs are
            columns ``[rows, 1]``, named like the features.
        n_features: The number of features.
        values: The output of probabilities or values.
        width: The number of its columns.
        label: The output of labels, if there is one.
        classes: The classes in the order of the probabilities; None for a regression.
    """

    content: bytes
    datatype_by_input: Mapping[str, Datatype]
    n_features: int
    values: str
    width: int
    label: str | None = None
    classes: tuple[int | str, ...] | None = None


class OnnxEstimator(BaseEstimator):
    """An estimator that runs a graph.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        from tidegate_training.bundling.compile import open_session

        self.graph = graph
        self.n_features_in_ = graph.n_features
        if len(graph.datatype_by_input) > 1:
            self.feature_names_in_ = np.array(list(graph.datatype_by_input), dtype=object)
        self._session = open_session(graph.content)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing: the graph is fitted already."""
        return self

    def _run(self, output: str, X: Any) -> Any:
        """Compute an output for rows ``[rows, features]``, at the batch size of the comparison."""
        types = self.graph.datatype_by_input
        if len(types) == 1:
            [(name, datatype)] = types.items()
            inputs = {name: np.asarray(X).astype(datatype.dtype)}
        else:
            inputs = {
                name: np.asarray(X[name]).astype(datatype.dtype).reshape(-1, 1)
                for name, datatype in types.items()
            }
        size = BATCH_SIZES[-1]
        results = [
            self._session.run([output], {name: array[start : start + size] for name, array in inputs.items()})
            for start in range(0, len(X), size)
        ]
        first = results[0][0]
        if isinstance(first, list):  # a dictionary per row
            return [row for [rows] in results for row in rows]
        return np.concatenate([rows for [rows] in results])


class OnnxRegressor(RegressorMixin, OnnxEstimator):
    """A graph that computes values."""

    def predict(self, X: Any) -> Array:
        """Compute the values, ``[rows]``, or ``[rows, targets]`` of several targets."""
        values = np.asarray(self._run(self.graph.values, X))
        return values.reshape(-1) if self.graph.width == 1 else values


class OnnxClassifier(ClassifierMixin, OnnxEstimator):
    """A graph that computes probabilities."""

    @property
    def classes_(self) -> Array:
        """The classes, ``[classes]``, in the order of their probabilities."""
        return np.array(self.graph.classes)

    def predict_proba(self, X: Any) -> Array:
        """Compute the probabilities of the classes, ``[rows, classes]``.

        Raises:
            ValueError: If a row's values are not probabilities.
        """
        values = self._run(self.graph.values, X)
        if isinstance(values, list):
            values = [[row[label] for label in self.graph.classes or ()] for row in values]
        probabilities = np.asarray(values, np.float32).reshape(len(values), -1)
        if probabilities.shape[1] == 1:
            probabilities = np.hstack([1 - probabilities, probabilities])
        sums = np.abs(probabilities.sum(axis=1) - 1)
        if probabilities.min() < -_PROBABILITY_MARGIN or sums.max() > _PROBABILITY_MARGIN:
            raise ValueError(f"the values of the output '{self.graph.values}' are not probabilities")
        return probabilities

    def predict(self, X: Any) -> Array:
        """Compute the classes, ``[rows]``."""
        if self.graph.label is not None:
            return np.asarray(self._run(self.graph.label, X)).reshape(-1)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def variable_inputs(graph: Any) -> list[Any]:
    """Return a graph's inputs without its constants, which old files have among them."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def adapt_graph(source: OnnxGraph, name: str, datatypes: Mapping[str, Datatype]) -> Any:
    """Return a graph with the inputs of a contract, and its outputs in the contract's order.

    Args:
        source: The graph as it was read.
        name: The graph's name.
        datatypes: The features' types by name, in the order of a row.

    Returns:
        The graph in its file format. Its outputs still have names and types of their own.
    """
    import onnx
    from onnx import compose, helper

    # A prefix, because a tensor may be called like an input or output of the contract.
    model = compose.add_prefix(onnx.load_from_string(source.content), "file/")
    graph, values = model.graph, f"file/{source.values}"
    graph.name = name
    _replace_inputs(graph, datatypes)
    zipmap = next((node for node in graph.node if node.op_type == "ZipMap" and values in node.output), None)
    if zipmap is not None:
        graph.node.remove(zipmap)
        values = zipmap.input[0]
    outputs = [f"file/{source.label}"] if source.label is not None else []
    if source.classes is not None and source.width == 1:
        one = helper.make_tensor("contract/one", onnx.TensorProto.FLOAT, [1], [1.0])
        column = helper.make_tensor("contract/column", onnx.TensorProto.INT64, [2], [-1, 1])
        graph.initializer.extend([one, column])
        graph.node.append(helper.make_node("Reshape", [values, column.name], ["contract/values"]))
        graph.node.append(helper.make_node("Cast", ["contract/values"], ["contract/positive"], to=1))
        graph.node.append(helper.make_node("Sub", [one.name, "contract/positive"], ["contract/negative"]))
        pair = ["contract/negative", "contract/positive"]
        graph.node.append(helper.make_node("Concat", pair, ["contract/both"], axis=1))
        values = "contract/both"
    if source.classes is not None and source.label is None:
        graph.node.append(helper.make_node("ArgMax", [values], ["contract/largest"], axis=1, keepdims=0))
        classes = helper.make_tensor("contract/classes", 7, [len(source.classes)], source.classes)
        graph.initializer.append(classes)
        graph.node.append(helper.make_node("Gather", [classes.name, "contract/largest"], ["contract/chosen"]))
        outputs = ["contract/chosen"]
    del graph.output[:]
    for number, output in enumerate([*outputs, values]):
        graph.node.append(helper.make_node("Identity", [output], [f"contract/{number}"]))
        graph.output.append(helper.make_empty_tensor_value_info(f"contract/{number}"))
    return model


def _replace_inputs(graph: Any, datatypes: Mapping[str, Datatype]) -> None:
    """Give a graph one matrix per data type, and select the columns that it had as inputs."""
    from onnx import TensorProto, helper

    element_types = {value.name: value.type.tensor_type.elem_type for value in variable_inputs(graph)}
    is_matrix = len(set(datatypes.values())) == 1 and Datatype.BYTES not in datatypes.values()
    matrices: dict[str, list[str]] = {}
    for feature, datatype in datatypes.items():
        matrices.setdefault(MATRIX if is_matrix else graph_input(datatype), []).append(feature)
    nodes = []
    if len(element_types) == 1:
        [(column, element_type)] = element_types.items()
        nodes.append(helper.make_node("Identity", [next(iter(matrices))], [column]))
        types = {next(iter(matrices)): element_type}
    else:
        types = {matrix: element_types[f"file/{names[0]}"] for matrix, names in matrices.items()}
        for matrix, names in matrices.items():
            for number, feature in enumerate(names):
                index = helper.make_tensor(f"contract/{matrix}/{number}", TensorProto.INT64, [1], [number])
                graph.initializer.append(index)
                nodes.append(helper.make_node("Gather", [matrix, index.name], [f"file/{feature}"], axis=1))
    inputs = [
        helper.make_tensor_value_info(matrix, types[matrix], [None, len(names)])
        for matrix, names in matrices.items()
    ]
    for field, content in ((graph.input, inputs), (graph.node, [*nodes, *graph.node])):
        content = list(content)
        del field[:]
        field.extend(content)
