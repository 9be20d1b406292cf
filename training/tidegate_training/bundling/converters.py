# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Converters of preprocessing to ONNX whose results equal scikit-learn's bit by bit.

skl2onnx's own converters multiply by the reciprocal, always in 32 bits. The last bits then differ, and a tree
behind the scaler takes another branch. ONNX Runtime cannot run skl2onnx's imputer in 64 bits. Estimators are
left to skl2onnx.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_ONNX_TYPES = {np.dtype(np.float32): 1, np.dtype(np.float64): 11}
"""Types by their number in ``onnx.TensorProto.DataType``."""


def exact_converters() -> Mapping[type, Callable[..., None]]:
    """Return, by scikit-learn class, the converters that replace skl2onnx's."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    return {
        SimpleImputer: convert_imputer,
        StandardScaler: convert_scaler,
        MinMaxScaler: convert_scaler,
        RobustScaler: convert_scaler,
    }


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


def convert_scaler(scope: Any, operator: Any, container: Any) -> None:
    """Add a scaler to a graph.

    numpy computes ``x -= c`` in the wider of the two types and stores the result in the type of x. The graph
    does the same.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted scaler.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = _GraphBuilder(scope, operator, container)
    # scikit-learn converts every other type to float64 before it scales.
    data_type = graph.dtype if graph.dtype in _ONNX_TYPES else np.dtype(np.float64)
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
    graph = _GraphBuilder(scope, operator, container)
    values = graph.current
    fill = graph.add_constant(operator.raw_operator.statistics_.astype(graph.dtype))
    graph.add_node("IsNaN", values)
    graph.add_node("Where", graph.current, fill, values)
    graph.finish()


class _GraphBuilder:
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
        self.container.add_node(kind, list(inputs), [self.current], op_version=13, **attributes)

    def cast(self, dtype: np.dtype[Any]) -> None:
        """Convert the current tensor to another type."""
        if dtype != self.dtype:
            self.add_node("Cast", self.current, to=_ONNX_TYPES[dtype])
            self.dtype = dtype

    def add_constant(self, values: Array) -> str:
        """Add a row of numbers, ``[features]``, and return its name."""
        name: str = self.scope.get_unique_variable_name("constant")
        self.container.add_initializer(name, _ONNX_TYPES[values.dtype], [1, values.size], values.ravel())
        return name

    def finish(self) -> None:
        """Convert the current tensor to the operator's output, in the type that skl2onnx declared for it."""
        from skl2onnx.common.data_types import guess_proto_type

        to = guess_proto_type(self.output.type)
        self.container.add_node("Cast", [self.current], [self.output.full_name], op_version=13, to=to)
