# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the nodes of one step of a pipeline in an ONNX graph, for the converters."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ONNX_TYPES = {np.dtype(np.float32): 1, np.dtype(np.float64): 11}
"""Types by their number in ``onnx.TensorProto.DataType``."""


def operator_parser(labels: str, numbers: str) -> Callable[..., Any]:
    """Return skl2onnx's parser of an estimator that is one operator of a graph with two outputs.

    The estimator's shape calculator sets the outputs' types.

    Args:
        labels: The name of the output of labels.
        numbers: The name of the output of numbers.
    """

    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
        from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

        operator = scope.declare_local_operator(type(model).__name__, model)
        operator.inputs = inputs
        for name, kind in ((labels, Int64TensorType), (numbers, FloatTensorType)):
            operator.outputs.append(scope.declare_local_variable(name, kind()))
        return operator.outputs

    return parse


class GraphBuilder:
    """Nodes of one operator, added in sequence; ``current`` is the last node's tensor, ``dtype`` its type."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common.data_types import guess_numpy_type
        from skl2onnx.operator_converters.common import concatenate_variables

        self.scope, self.container = scope, container
        self.output = operator.outputs[0]
        self.dtype = np.dtype(guess_numpy_type(operator.inputs[0].type))
        self.current: str = (
            concatenate_variables(scope, operator.inputs, container)
            if len(operator.inputs) > 1
            else operator.inputs[0].full_name
        )

    def add_node(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """Add a node and make its output the current tensor."""
        self.current = self.scope.get_unique_variable_name(kind.lower())
        self.container.add_node(kind, list(inputs), [self.current], **{"op_version": 13, **attributes})

    def cast(self, dtype: np.dtype[Any]) -> None:
        """Convert the current tensor to another type."""
        if dtype != self.dtype:
            self.add_node("Cast", self.current, to=ONNX_TYPES[dtype])
            self.dtype = dtype

    def add_linear(self, coefficients: Array, intercepts: Array) -> str:
        """Multiply the rows by a matrix ``[features, columns]`` and add ``[columns]``, in 64 bits."""
        self.cast(np.dtype(np.float64))
        weights = self.add_matrix(coefficients.astype(np.float64))
        self.add_node("Gemm", self.current, weights, self.add_constant(intercepts.astype(np.float64)))
        return self.current

    def add_complement(self) -> None:
        """Put ``1 - x`` before the one column ``x``, the probability of the second of two classes."""
        positive = self.current
        self.add_node("Sub", self.add_constant(np.ones(1, self.dtype)), positive)
        self.add_node("Concat", self.current, positive, axis=1)

    def add_nearest(self, estimator: Any) -> tuple[str, str]:
        """Add the search for neighbors; return distances and numbers of rows, ``[rows, neighbors]`` each."""
        from skl2onnx.algebra.complex_functions import onnx_cdist
        from skl2onnx.algebra.onnx_ops import OnnxIdentity
        from skl2onnx.common._topology import Variable
        from skl2onnx.common.data_types import DoubleTensorType

        self.cast(np.dtype(np.float64))
        fitted = estimator._fit_X.astype(np.float64)
        count, width = fitted.shape
        rows = Variable(self.current, self.current, self.scope.name, DoubleTensorType([None, width]))
        metric, parameters, opset = estimator.effective_metric_, {}, self.container.target_opset
        if metric == "minkowski":
            parameters["p"] = estimator.effective_metric_params_["p"]
        distances = onnx_cdist(
            rows, fitted, metric, np.float64, opset, dim_in=width, dim_out=count, **parameters
        )
        self.current = self.scope.get_unique_variable_name("distances")
        OnnxIdentity(distances, op_version=opset, output_names=[self.current]).add_to(
            self.scope, self.container
        )
        nearest, numbers = (self.scope.get_unique_variable_name(name) for name in ("nearest", "numbers"))
        inputs = [self.current, self.add_indices([estimator.n_neighbors])]
        self.container.add_node(
            "TopK", inputs, [nearest, numbers], op_version=11, axis=1, largest=0, sorted=1
        )
        return nearest, numbers

    def add_trees(
        self, *, thresholds: Sequence[float], weights: Sequence[float], base: Array, **attributes: Any
    ) -> None:
        """Add trees that compare and sum in 64 bits. The sums, ``[rows, targets]``, are rounded to 32 bits.

        Args:
            thresholds: ``[nodes]``, the values that rows are compared with.
            weights: ``[leaves]``, the values of the leaves.
            base: ``[targets]``, the values before the first tree.
            **attributes: The other attributes of ONNX's ``TreeEnsembleRegressor``.
        """
        from onnx import numpy_helper

        self.cast(np.dtype(np.float64))
        numbers = {"nodes_values": thresholds, "target_weights": weights, "base_values": base}
        for name, values in numbers.items():
            tensor = numpy_helper.from_array(np.asarray(values, np.float64), name)
            attributes[f"{name}_as_tensor"] = tensor
        rows, self.current = self.current, self.scope.get_unique_variable_name("sums")
        self.container.add_node(
            "TreeEnsembleRegressor",
            [rows],
            [self.current],
            op_domain="ai.onnx.ml",
            op_version=3,
            n_targets=len(base),
            **attributes,
        )
        self.dtype = np.dtype(np.float32)

    def add_matrix(self, values: Array) -> str:
        """Add numbers, ``[rows, columns]``, and return their name."""
        return self._add_initializer(ONNX_TYPES[values.dtype], values.shape, values)

    def add_classes(self, classes: Array) -> str:
        """Add a classifier's classes, ``[classes]``, and return their name."""
        if classes.dtype.kind in "UO":
            return self._add_initializer(8, classes.shape, np.array([str(name).encode() for name in classes]))
        return self.add_indices(classes)

    def add_indices(self, values: Sequence[int] | Array) -> str:
        """Add 64-bit integers, ``[values]``, and return their name."""
        return self._add_initializer(7, (len(values),), np.asarray(values, np.int64))

    def add_scalar(self, value: int) -> str:
        """Add a 64-bit integer without a shape, and return its name."""
        return self._add_initializer(7, (), np.array(value, np.int64))

    def add_constant(self, values: Array) -> str:
        """Add a row of numbers, ``[features]``, and return its name."""
        return self._add_initializer(ONNX_TYPES[values.dtype], (1, values.size), values)

    def _add_initializer(self, onnx_type: int, shape: tuple[int, ...], values: Array) -> str:
        name: str = self.scope.get_unique_variable_name("constant")
        self.container.add_initializer(name, onnx_type, shape, values.ravel().tolist())
        return name

    def finish_classifier(self, outputs: Sequence[Any], classes: Array) -> None:
        """Make the current probabilities, ``[rows, classes]``, and the label of the largest the outputs."""
        probabilities = self.current
        self.add_node("ArgMax", probabilities, axis=1, keepdims=0)
        self.add_node("Gather", self.add_classes(classes), self.current)
        self.finish(outputs[0], cast=False)
        self.current = probabilities
        self.finish(outputs[1])

    def finish(self, output: Any = None, cast: bool = True) -> None:
        """Make the current tensor an output of the operator, by default its first.

        Args:
            output: The output.
            cast: Whether to convert the tensor to the type that skl2onnx declared for the output.
        """
        from skl2onnx.common.data_types import guess_proto_type

        output = output or self.output
        kind, attributes = ("Cast", {"to": guess_proto_type(output.type)}) if cast else ("Identity", {})
        self.container.add_node(kind, [self.current], [output.full_name], op_version=13, **attributes)
