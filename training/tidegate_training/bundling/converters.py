# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of preprocessing to ONNX so that every bit is scikit-learn's.

skl2onnx's own converters scale by the reciprocal and always in 32 bits; the last bits then differ, and a tree
behind the scaler takes another branch. Its imputer has no form in 64 bits that ONNX Runtime runs. Estimators
are left to skl2onnx.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_PROTO = {np.dtype(np.float32): 1, np.dtype(np.float64): 11}
"""The numbers of the types in ``onnx.TensorProto.DataType``."""


def exact_converters() -> Mapping[type, Callable[..., None]]:
    """By scikit-learn class, the converter to use instead of skl2onnx's."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    return {
        SimpleImputer: convert_imputer,
        StandardScaler: convert_scaler,
        MinMaxScaler: convert_scaler,
        RobustScaler: convert_scaler,
    }


def steps_of(scaler: Any, dtype: np.dtype[Any]) -> list[tuple[str, Array]]:
    """What a fitted scaler's ``transform`` does to numbers of a type, as ONNX operators with their operand.

    From the source of scikit-learn 1.9: ``StandardScaler`` rounds its constants to the data's type first,
    the others do not.
    """
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    if isinstance(scaler, MinMaxScaler):
        return [("Mul", scaler.scale_), ("Add", scaler.min_)]
    if isinstance(scaler, StandardScaler):
        return [("Sub", scaler.mean_.astype(dtype)), ("Div", scaler.scale_.astype(dtype))]
    return [("Sub", scaler.center_), ("Div", scaler.scale_)]


def convert_scaler(scope: Any, operator: Any, container: Any) -> None:
    """Add a scaler to a graph, as skl2onnx calls its converters.

    numpy computes ``x -= c`` in the wider of the two types and stores it in that of x; so does this.
    """
    graph = _Graph(scope, operator, container)
    # scikit-learn turns anything that is no float into float64 before it scales.
    kept = graph.dtype if graph.dtype in _PROTO else np.dtype(np.float64)
    for kind, constant in steps_of(operator.raw_operator, kept):
        wider = np.result_type(kept, constant)
        graph.cast(wider)
        graph.apply(kind, graph.current, graph.constant(constant.astype(wider)))
        graph.cast(kept)
    graph.finish()


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Add an imputer of floats to a graph: where a value is NaN, its column's statistic."""
    graph = _Graph(scope, operator, container)
    values = graph.current
    fill = graph.constant(operator.raw_operator.statistics_.astype(graph.dtype))
    graph.apply("IsNaN", values)
    graph.apply("Where", graph.current, fill, values)
    graph.finish()


class _Graph:
    """One operator's part of a graph while it grows: the tensor that it has come to, and its type."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common.data_types import guess_numpy_type
        from skl2onnx.operator_converters.common import concatenate_variables

        self.scope, self.container = scope, container
        self.output = operator.outputs[0]
        self.dtype = np.dtype(guess_numpy_type(operator.inputs[0].type))
        several = len(operator.inputs) > 1
        self.current: str = (
            concatenate_variables(scope, operator.inputs, container)
            if several
            else operator.inputs[0].full_name
        )

    def apply(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """Add a node, and go on from what it gives."""
        self.current = self.scope.get_unique_variable_name(kind.lower())
        self.container.add_node(kind, list(inputs), [self.current], op_version=13, **attributes)

    def cast(self, dtype: np.dtype[Any]) -> None:
        """Go on in another type, if it is another."""
        if dtype != self.dtype:
            self.apply("Cast", self.current, to=_PROTO[dtype])
            self.dtype = dtype

    def constant(self, values: Array) -> str:
        """Add a row of numbers."""
        name: str = self.scope.get_unique_variable_name("constant")
        self.container.add_initializer(name, _PROTO[values.dtype], [1, values.size], values.ravel())
        return name

    def finish(self) -> None:
        """End in the operator's output, in the type that skl2onnx has declared to what follows."""
        from skl2onnx.common.data_types import guess_proto_type

        to = guess_proto_type(self.output.type)
        self.container.add_node("Cast", [self.current], [self.output.full_name], op_version=13, to=to)
