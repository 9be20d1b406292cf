# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rewrites a graph with one input per feature to a graph with one matrix per data type.

Converters need one input per feature, because a pipeline selects columns by name. ONNX Runtime needs few
inputs, because the time to bind them grows with the square of their number.
"""

from collections.abc import Mapping
from typing import Any

from tidegate.batch import graph_input
from tidegate.contract import Datatype


def merge_inputs(graph: Any, datatypes: Mapping[str, Datatype]) -> None:
    """Replace a graph's inputs, one column ``[rows, 1]`` per feature, by one matrix per data type.

    A concatenation of columns becomes a selection from the matrix, or the matrix itself if it has exactly
    these columns.

    Args:
        graph: The graph. Its inputs have the order of the features.
        datatypes: The features' types by name, in the order of a row.
    """
    from onnx import helper

    places: dict[str, tuple[str, int]] = {}
    element_types: dict[str, int] = {}
    widths: dict[str, int] = {}
    for column, datatype in zip(graph.input, datatypes.values(), strict=True):
        matrix = graph_input(datatype)
        places[column.name] = matrix, widths.get(matrix, 0)
        widths[matrix] = widths.get(matrix, 0) + 1
        element_types[matrix] = column.type.tensor_type.elem_type
    selection = _Selection(widths)
    nodes, renamed = [], {}
    for node in graph.node:
        columns = [places[name] for name in node.input if name in places]
        if columns and _is_concatenation(node) and len(columns) == len(node.input):
            renamed[node.output[0]] = selection.select(columns)
            continue
        for index, name in enumerate(node.input):
            if name in places:
                node.input[index] = selection.select([places[name]])
            elif name in renamed:
                node.input[index] = renamed[name]
        nodes.append(node)
    inputs = [
        helper.make_tensor_value_info(matrix, element_types[matrix], [None, width])
        for matrix, width in widths.items()
    ]
    for field, content in ((graph.input, inputs), (graph.node, [*selection.nodes, *nodes])):
        del field[:]
        field.extend(content)
    graph.initializer.extend(selection.initializers)


def _is_concatenation(node: Any) -> bool:
    """Return whether a node joins columns side by side."""
    return node.op_type == "Concat" and [attribute.i for attribute in node.attribute] in ([1], [-1])


class _Selection:
    """Nodes that select columns of the matrices, one node per distinct selection.

    Args:
        widths: The number of columns by matrix.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._widths = widths
        self._selected: dict[tuple[str, tuple[int, ...]], str] = {}

    def select(self, columns: list[tuple[str, int]]) -> str:
        """Return the name of a tensor with columns of one matrix, each its name and the column's number."""
        from onnx import TensorProto, helper

        matrix, numbers = columns[0][0], tuple(number for _, number in columns)
        if numbers == tuple(range(self._widths[matrix])):
            return matrix
        name = self._selected.get((matrix, numbers))
        if name is None:
            name = self._selected[matrix, numbers] = f"{matrix}/selected{len(self.nodes)}"
            indices = f"{name}/columns"
            self.initializers.append(helper.make_tensor(indices, TensorProto.INT64, [len(numbers)], numbers))
            self.nodes.append(helper.make_node("Gather", [matrix, indices], [name], axis=1))
        return name
