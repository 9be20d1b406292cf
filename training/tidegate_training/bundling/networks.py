# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the networks of :mod:`tidegate.networks` to ONNX, in 64 bits, as numpy computes them.

ONNX Runtime has some operators in 32 bits alone, so those are composed of others; only ``Erf`` is rounded.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate_training.bundling.boosters import declare_booster_outputs
from tidegate_training.bundling.graph_builder import GraphBuilder

Array = NDArray[Any]


def declare_network_outputs(operator: Any) -> None:
    """Declare the outputs of :func:`convert_network`: those of a booster, in 64 bits."""
    from skl2onnx.common.data_types import DoubleTensorType

    declare_booster_outputs(operator)
    values = operator.outputs[-1]
    values.type = DoubleTensorType(values.type.shape)


def convert_network(scope: Any, operator: Any, container: Any) -> None:
    """Add a network to a graph.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the network.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = GraphBuilder(scope, operator, container)
    # Keras rounds rows to 32 bits.
    graph.cast(np.dtype(np.float32))
    graph.cast(np.dtype(np.float64))
    for layer in operator.raw_operator.layers:
        parameters = {name: value for name, value in layer.items() if name != "kind"}
        _NODES[layer["kind"]](graph, **parameters)
    if len(operator.outputs) == 1:
        graph.finish()
        return
    graph.finish_classifier(operator.outputs, operator.raw_operator.classes_)


def _affine(graph: GraphBuilder, scale: Array, offset: Array) -> None:
    graph.add_node("Mul", graph.current, graph.add_constant(scale))
    graph.add_node("Add", graph.current, graph.add_constant(offset))


def _clip(graph: GraphBuilder, low: float, high: float) -> None:
    graph.add_node("Max", graph.current, _constant(graph, low))
    graph.add_node("Min", graph.current, _constant(graph, high))


def _dense(graph: GraphBuilder, kernel: Array, bias: Array) -> None:
    graph.add_linear(kernel, bias)


def _relu(graph: GraphBuilder, slope: Any, maximum: float | None, threshold: float) -> None:
    rows, zero, limit = graph.current, _constant(graph, 0.0), _constant(graph, threshold)
    if threshold:
        graph.add_node("Greater", rows, limit)
        graph.add_node("Where", graph.current, rows, zero)
    else:
        graph.add_node("Max", rows, zero)
    if maximum is not None:
        _clip(graph, 0.0, maximum)
    if np.any(slope):
        positive = graph.current
        graph.add_node("Sub", limit, rows)
        graph.add_node("Max", graph.current, zero)
        graph.add_node("Mul", graph.current, graph.add_constant(np.atleast_1d(np.float64(slope))))
        graph.add_node("Sub", positive, graph.current)


def _elu(graph: GraphBuilder, alpha: float) -> None:
    rows, zero = graph.current, _constant(graph, 0.0)
    graph.add_node("Min", rows, zero)
    graph.add_node("Exp", graph.current)
    graph.add_node("Sub", graph.current, _constant(graph, 1.0))
    graph.add_node("Mul", graph.current, _constant(graph, alpha))
    negative = graph.current
    graph.add_node("Greater", rows, zero)
    graph.add_node("Where", graph.current, rows, negative)


def _gelu(graph: GraphBuilder) -> None:
    rows = graph.current
    graph.add_node("Mul", rows, _constant(graph, np.sqrt(0.5)))
    graph.cast(np.dtype(np.float32))
    graph.add_node("Erf", graph.current)
    graph.cast(np.dtype(np.float64))
    graph.add_node("Add", graph.current, _constant(graph, 1.0))
    graph.add_node("Mul", graph.current, _constant(graph, 0.5))
    graph.add_node("Mul", graph.current, rows)


def _softplus(graph: GraphBuilder) -> None:
    """Add ``log(1 + exp(x))`` as ``max(x, 0) + log(1 + exp(-|x|))``, which does not overflow."""
    rows = graph.current
    graph.add_node("Abs", rows)
    graph.add_node("Neg", graph.current)
    graph.add_node("Exp", graph.current)
    graph.add_node("Add", graph.current, _constant(graph, 1.0))
    graph.add_node("Log", graph.current)
    logarithm = graph.current
    graph.add_node("Max", rows, _constant(graph, 0.0))
    graph.add_node("Add", graph.current, logarithm)


def _softsign(graph: GraphBuilder) -> None:
    rows = graph.current
    graph.add_node("Abs", rows)
    graph.add_node("Add", graph.current, _constant(graph, 1.0))
    graph.add_node("Div", rows, graph.current)


def _layer_normalization(graph: GraphBuilder, epsilon: float) -> None:
    rows = graph.current
    graph.add_node("ReduceMean", rows, axes=[1], keepdims=1)
    graph.add_node("Sub", rows, graph.current)
    centered = graph.current
    graph.add_node("Mul", centered, centered)
    graph.add_node("ReduceMean", graph.current, axes=[1], keepdims=1)
    graph.add_node("Add", graph.current, _constant(graph, epsilon))
    graph.add_node("Sqrt", graph.current)
    graph.add_node("Div", centered, graph.current)


def _gate(add_nodes: Callable[[GraphBuilder], None]) -> Callable[[GraphBuilder], None]:
    """Return the function that multiplies rows by what other nodes compute of them."""

    def add_gate(graph: GraphBuilder) -> None:
        rows = graph.current
        add_nodes(graph)
        graph.add_node("Mul", rows, graph.current)

    return add_gate


def _node(kind: str, **attributes: Any) -> Callable[[GraphBuilder], None]:
    """Return the function that adds one node."""
    return lambda graph: graph.add_node(kind, graph.current, **attributes)


def _tanh_softplus(graph: GraphBuilder) -> None:
    _softplus(graph)
    graph.add_node("Tanh", graph.current)


def _hard_sigmoid(graph: GraphBuilder) -> None:
    _affine(graph, np.full(1, 1 / 6), np.full(1, 0.5))
    _clip(graph, 0.0, 1.0)


def _constant(graph: GraphBuilder, value: float) -> str:
    return graph.add_constant(np.full(1, value, np.float64))


_NODES: Mapping[str, Callable[..., None]] = {
    "affine": _affine,
    "clip": _clip,
    "complement": GraphBuilder.add_complement,
    "dense": _dense,
    "elu": _elu,
    "exponential": _node("Exp"),
    "gelu": _gelu,
    "hard_silu": _gate(_hard_sigmoid),
    "layer_normalization": _layer_normalization,
    "mish": _gate(_tanh_softplus),
    "relu": _relu,
    "sigmoid": _node("Sigmoid"),
    "silu": _gate(_node("Sigmoid")),
    "softmax": _node("Softmax", axis=1),
    "softplus": _softplus,
    "softsign": _softsign,
    "tanh": _node("Tanh"),
}
"""By operation, the functions that add its nodes."""
